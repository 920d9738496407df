"""`memhub memcontrol` prints what memcontrol(8) prints and ends as it ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

import pytest

from memhub.cli.memcontrol.words import number, split_options

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Done, Run

    class Script(Protocol):
        def __call__(self, *lines: str, machine: str = "pc", json: bool = False) -> Done: ...


CONFIG = """
[machines.pc]
arch = "i386"

[machines.pc.mtrr]
variable_count = 2
variable = [{ base = 0x0, length = "64M", type = "WB" }]

[machines.board]
arch = "arm64"

[machines.old]
arch = "k6"
cpu = { vendor = "AMD", signature = 0x58c }
"""
SET = "set -b 0xd0000000 -l 0x1000000 -o Xorg write-combine"
SHORT_HELP = "Set memory range attributes\n    set -b <base> -l <length>"


@pytest.fixture
def script(tmp_path: Path, run: Run) -> Script:
    config = tmp_path / "pc.toml"
    config.write_text(CONFIG)

    def call(*lines: str, machine: str = "pc", json: bool = False) -> Done:
        file = tmp_path / "script"
        file.write_text("\n".join(lines))
        extra = ["--json"] if json else []

        return run("memcontrol", "--config", config, "--machine", machine, "--script", file, *extra)

    return call


def test_a_listing_has_memcontrols_form_with_the_blank_at_the_end(script: Script) -> None:
    done = script("list", SET, "list")

    first = "0x0/0x4000000 BIOS write-back set-by-firmware active \n"
    assert done == (0, f"{first}{first}0xd0000000/0x1000000 Xorg write-combine active \n", "")


def test_all_slots_and_those_of_an_owner_can_be_listed(script: Script) -> None:
    assert script("list -a").out.endswith("\n0x0/0x1000000000 - uncacheable \n")
    assert script("list -o nobody").out == ""
    assert script(SET, "list -o Xorg").out == "0xd0000000/0x1000000 Xorg write-combine active \n"


def test_a_refusal_has_memcontrols_message_and_then_the_reason(script: Script) -> None:
    code, out, err = script(SET, "set -b 0xd0000000 -l 0x2000000 uncacheable")

    assert (code, out) == (1, "")
    first, second = err.splitlines()
    assert first == "memcontrol: can't set range: Invalid argument"
    assert second.startswith("  EINVAL: 0xd0000000/0x2000000 as uncacheable overlaps slot 1 ")
    assert "owner Xorg" in second


def test_a_full_table_is_told_with_what_would_free_a_slot(script: Script) -> None:
    code, out, err = script(
        SET, "set -b 0xd0000000 -l 0x400000 -o Xorg write-combine", "clear -b 0 -l 0x4000000",
        "set -b 0 -l 0x4000000 write-back", "set -b 0xe0000000 -l 0x1000000 write-back",
    )  # fmt: skip

    assert (code, out) == (1, "")
    assert err.count("memcontrol: can't set range: No space left on device") == 2
    assert "nothing can be saved: no fewer ranges give these types" in err


def test_a_clear_of_nothing_is_enoent(script: Script) -> None:
    code, _, err = script("clear -b 0x1000 -l 0x1000")

    assert code == 1
    assert err.startswith("memcontrol: couldn't clear range: No such file or directory\n  ENOENT: ")


def test_without_range_operations_even_a_listing_fails(script: Script) -> None:
    code, _, err = script("list", machine="board")

    assert code == 1
    assert err.startswith(
        "memcontrol: can't size range descriptor array: Operation not supported\n  EOPNOTSUPP: "
    )


def test_a_usage_error_prints_help_and_carries_on(script: Script) -> None:
    code, _, err = script("set -b 0x1000")

    assert code == 1
    assert err.startswith(SHORT_HELP)
    assert "memcontrol: can't set range: Invalid argument\n  EINVAL: " in err


def test_a_word_that_cannot_be_set_is_complained_of_and_set_all_the_same(script: Script) -> None:
    code, out, err = script(f"{SET} fixed-base", "list -o Xorg")

    assert code == 0
    assert out == "0xd0000000/0x1000000 Xorg write-combine active \n"
    assert err.startswith("Unknown command 'flags'\nValid commands are :\n    list\n")


def test_clear_by_owner_warns_and_goes_on(script: Script) -> None:
    done = script(SET, "clear -o Xorg -b 1", "list")

    assert done.code == 0
    assert done.out == "0x0/0x4000000 BIOS write-back set-by-firmware active \n"
    assert done.err.startswith("Clear memory range attributes\n")


def test_what_the_k6_holds_is_never_active_so_a_listing_is_empty(script: Script) -> None:
    done = script("set -b 0xd8000000 -l 0x800000 write-combine", "list", machine="old")

    assert done == (0, "", "")


@pytest.mark.parametrize("line", ["frob", "help", "help nothing"])
def test_an_unknown_command_ends_with_zero(script: Script, line: str) -> None:
    code, out, err = script(line)

    assert (code, out) == (0, "")
    assert "Valid commands are :" in err


def test_a_script_goes_on_after_a_failure_and_ends_as_its_last_line(script: Script) -> None:
    lines = ["# a comment", "", "clear -b 0x1000 -l 0x1000", f"memcontrol {SET}  # as in a shell"]

    assert script(*lines).code == 0
    assert script(*lines, "clear -b 0x1000 -l 0x1000").code == 1


def test_a_listing_as_json_names_the_flags_that_memcontrol_has_no_word_for(script: Script) -> None:
    (row,) = json.loads(script(SET, "list -o Xorg", json=True).out)

    assert row == {
        "slot": 1,
        "base": 0xD0000000,
        "length": 0x1000000,
        "owner": "Xorg",
        "flags": 0x08000002,
        "attributes": ["write-combine", "active"],
    }


def test_a_command_may_stand_on_the_command_line(run: Run, lab: Path) -> None:
    done = run("memcontrol", "--config", lab, "--machine", "legacy", "list", "-a", "-o", "nobody")

    assert done == (0, "", "")


def test_a_command_and_a_script_are_not_both_run(run: Run, lab: Path) -> None:
    done = run("memcontrol", "--config", lab, "--script", "x", "list")

    assert done.code == 2
    assert "not both" in done.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4096", (4096, True)),
        ("0x1000", (4096, True)),
        ("010000", (4096, True)),
        ("0", (0, True)),
        (" +7", (7, True)),
        ("-1", ((1 << 64) - 1, True)),
        ("0x10000000000000000", ((1 << 64) - 1, True)),
        ("0x10x", (16, False)),
        ("08", (0, False)),
        ("0x", (0, False)),
        ("", (0, False)),
        ("ten", (0, False)),
    ],
)
def test_numbers_are_read_as_strtouq_reads_them(text: str, expected: tuple[int, bool]) -> None:
    assert number(text) == expected


@pytest.mark.parametrize(
    ("words", "found", "operands"),
    [
        (["-ao", "me", "x", "-a"], [("a", ""), ("o", "me")], ["x", "-a"]),
        (["-ome", "--", "-a"], [("o", "me")], ["-a"]),
        (["-z", "-a"], [("?", ""), ("a", "")], []),
        (["-o"], [("?", "")], []),
        (["-"], [], ["-"]),
    ],
)
def test_options_are_split_as_getopt_splits_them(
    words: list[str], found: list[tuple[str, str]], operands: list[str]
) -> None:
    options = split_options(words, "ao:")

    assert (options.found, options.operands) == (found, operands)


# What memcontrol(8) does not say


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"{SET} fixed-base", ["'fixed-base' is not an attribute that can be set"]),
        ("set -b zz -l 0x1000 write-back", ["-b 'zz' is not a number", "read as 0x0"]),
        ("set -b 0x10x -l 0x1000 write-back", ["-b '0x10x'", "read as 0x10"]),
        ("set -b 0x1000 write-back", ["-l is missing"]),
        ("set -b 0 -l 0x1000 -o eightchr write-back", ["-o 'eightchr'", "1 to 7 bytes"]),
        ("clear", ["give -o, or -b and -l"]),
        ("clear -o Xorg -b 1", ["-o excludes -b and -l"]),
        ("frob", ["'frob' is not a command"]),
        ("set -z", ["illegal option -- z"]),
        ("clear -b 0x1000 -l 0x1000", ["ENOENT"]),
    ],
)
def test_what_is_wrong_is_said_below_memcontrols_words_with_its_line(
    script: Script, line: str, words: list[str]
) -> None:
    err = script("# one", line).err
    (said,) = [it for it in err.splitlines() if all(word in it for word in words)]

    assert said.endswith("script: line 2)")


def test_on_the_command_line_no_line_is_named(run: Run, lab: Path) -> None:
    err = run("memcontrol", "--config", lab, "--machine", "legacy", "frob").err

    assert "  'frob' is not a command\n" in err
    assert "line" not in err


def test_a_number_of_any_length_is_read() -> None:
    assert number("9" * 5000) == ((1 << 64) - 1, True)


def test_mtrrs_that_are_off_are_said_to_be(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "off.toml"
    config.write_text('[machines.pc]\narch = "i386"\n[machines.pc.mtrr]\nenabled = false\n')
    code, _, err = run("memcontrol", "--config", config, "list")

    assert code == 1
    assert "Device not configured\n  ENXIO: " in err
    assert "the MTRRs are off" in err
