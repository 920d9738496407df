"""Scripts of `memhub compare`: what is a request, and what is named as none."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memhub.compare import ScriptError, known_script, parse_script

FRAME = "set -b 0xd0000000 -l 0x1000000 write-combine\n"


def test_both_kinds_of_lines_may_be_mixed() -> None:
    requests = parse_script(
        "# a comment\n"
        "memcontrol set -b 0xd0000000 -l 0x1000000 -o me write-combine  # and another\n"
        "\n"
        "set -b0 -l 010000 uncacheable force\n"
        "base=0xd0000000size=4096 type=write-back\n"
        'echo "disable=3" > /proc/mtrr\n'
        "echo base=4096 size=4096 type=uncachable >|/proc/mtrr\n"
        "clear -o me\n"
        "clear -b 0x1000 -l 4096\n"
    )

    assert [(it.source, it.text) for it in requests] == [
        (2, "set 0xd0000000/0x1000000 write-combine"),
        (4, "set 0x0/0x1000 uncacheable force"),
        (5, "set 0xd0000000/0x1000 write-back"),
        (6, "disable=3"),
        (7, "set 0x1000/0x1000 uncacheable"),
        (8, "clear owner me"),
        (9, "clear 0x1000/0x1000"),
    ]


@pytest.mark.parametrize("base", [1 << 63, (1 << 64) - 0x1000, (1 << 64) - 1])
def test_a_range_that_wraps_is_asked_as_any_other(base: int) -> None:
    lines = (
        f"set -b {base:#x} -l {1 << 63:#x} write-back",
        f"clear -b {base:#x} -l {1 << 63:#x}",
        f"base={base:#x} size={1 << 63:#x} type=write-back",
    )
    asked = parse_script("\n".join(lines))
    assert [(it.base, it.length) for it in asked] == [(base, 1 << 63)] * 3


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("set -b 0 -l 0x1000 unca\\xff", r"'unca\\xff' is not an attribute to set"),
        ("hello", "'hello' is neither a command of memcontrol(8) (set, clear) nor a line for"),
        ("list -a", "'list -a' is neither a command"),
        ("set", "set needs -l and a length"),
        ("set -b 0", "set needs -l and a length"),
        ("set -l 4k uncacheable", "'4k' is not a number (0x is hexadecimal, a leading 0 octal)"),
        ("set -l 09 uncacheable", "'09' is not a number"),
        ("set -l 1_0 uncacheable", "'1_0' is not a number"),
        ("set -l -5 uncacheable", "'-5' is not a number"),
        ("set -l 0x1000 writeback", "'writeback' is not an attribute to set (uncacheable, "),
        ("set -l 0x1000 busy", "'busy' is not an attribute to set"),
        ("set -x 3", "'-x' is not an option (-b BASE, -l LENGTH, -o OWNER)"),
        ("set -l", "-l needs a value"),
        ("set -l 1 -o toolonglabel", "-o 'toolonglabel' is not 1 to 7 printable characters"),
        ("set -l 99999999999999999999 active", "99999999999999999999 does not fit 64 bits"),
        ("set -l '1", "No closing quotation"),
        ("clear", "clear needs -o, or -b and -l with a length that is not 0"),
        ("clear -o a -b 1", "clear takes -o alone, or -b and -l"),
        ("clear -b 1 -l 2 all", "clear takes no 'all'"),
        ("base=1", "'base=1' is not base=N size=N type=NAME or disable=N"),
        ("base=0 size=4096 type=uncacheable", "'uncacheable' is not a type of /proc/mtrr ("),
        ("base=0 size=4096 type=?", "'?' is not a type of /proc/mtrr"),
        ("disable=", "'disable=' is not base=N size=N type=NAME or disable=N"),
        ("disable=4294967295", "4294967295 is not the number of a register"),
        (f"base=0 size=4096{' ' * 90}type=uncachable", "/proc/mtrr takes 78 characters of a line"),
        ("echo hello > /proc/mtrr", "'hello' is no line for /proc/mtrr"),
        (f"set {'x' * 2000}", "is longer than 1000 characters"),
        ("\0", "'\\x00' is neither"),
    ],
)
def test_a_line_that_is_none_is_named_with_the_rule(line: str, why: str) -> None:
    with pytest.raises(ScriptError, match=rf"^line 2: .*{re.escape(why)}"):
        parse_script(f"{FRAME}{line}\n{FRAME}")


def test_a_script_without_requests_or_with_too_many_is_refused() -> None:
    with pytest.raises(ScriptError, match="it has no requests"):
        parse_script("# nothing\n\n")

    with pytest.raises(ScriptError, match="it has 1001 requests, which is more than 1000"):
        parse_script(FRAME * 1001)


@given(st.text(max_size=80))
@settings(max_examples=200)
def test_no_text_is_more_than_a_script_error(text: str) -> None:
    with suppress(ScriptError):
        assert parse_script(text)


ALPHABET = [
    "set",
    "clear",
    "-b",
    "-l",
    "-o",
    "0x1000",
    "8",
    "write-back",
    "base=",
    "size=",
    "type=",
]


@given(st.lists(st.sampled_from([*ALPHABET, "disable=1", "'", "#", "=", "\t", "0x"]), max_size=9))
@settings(max_examples=300)
def test_no_mix_of_their_words_is_more_than_a_script_error(parts: list[str]) -> None:
    with suppress(ScriptError):
        assert parse_script(" ".join(parts))


def test_fifteen_requests_come_with_it() -> None:
    assert len(parse_script(known_script())) == 15
