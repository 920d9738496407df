"""No pattern that meets foreign text takes more than time in proportion to it."""

from __future__ import annotations

import ast
import contextlib
import re
import signal
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from memhub.audit.verifying import line_shapes
from memhub.config import ImportRefused, import_dump
from source_rules import Source, sources

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

parser = import_module("re._parser")

#: What is repeated: what a repeat may take, and what makes a search begin again.
PUMPS = (*" \taf0-.?[]>(", "x ", "a a ", "0 ", "[a]", "<1>")
#: What follows, so that a match which got so far fails after all: no text, or too many words.
TAILS = ("\x00", " b" * 20)
SIZES = (250, 1000, 4000, 16000)
#: Of four times the text; in proportion it is 4, with the square of it 16.
MOST = 10
#: Seconds of processor time for one text; a sound pattern takes thousandths.
LIMIT = 0.25
#: The same for an import of a text of many lines.
IMPORT_LIMIT = 3.0
#: Below this, a measurement says nothing of growth.
FLOOR = 0.004


def compiled() -> dict[str, re.Pattern[Any]]:
    """Every pattern of the package, by module and name."""
    found: dict[str, re.Pattern[Any]] = {}
    for source in sources("memhub"):
        if source.module.endswith("__main__") or "re.compile" not in source.text:
            continue

        for name, value in vars(import_module(source.module)).items():
            for index, pattern in enumerate(value if isinstance(value, tuple) else (value,)):
                if isinstance(pattern, re.Pattern):
                    found[f"{source.module}.{name}.{index}"] = pattern

    # made of the members of records; they have every kind of them, and ways that part
    common = ("request.set", "wall_ns", "mono_ns", "machine")
    members = ("owner", "errno", "slots", "after_base", "attributes")
    found["memhub.audit.verifying.line_shapes"] = line_shapes._pattern(
        common, frozenset({members, members[1:], (*members[:3], "reason")})
    )

    return found


_RE = re.compile(r"\bre\.")


def calls(source: Source) -> Iterator[str]:
    """The functions of `re` that a file calls."""
    if not _RE.search(source.text):  # most files, which need not be parsed
        return

    for node in source.nodes():
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.startswith("re."):
                yield name


def test_every_pattern_is_compiled_where_it_is_found() -> None:
    """At the head of its module: one that is compiled elsewhere would escape this test."""
    every = [name for source in sources("memhub") for name in calls(source)]

    assert {*every} - {"re.escape"} == {"re.compile"}
    assert every.count("re.compile") == len(compiled())


def test_no_architecture_has_a_pattern() -> None:
    assert [name for source in sources("plugins") for name in calls(source)] == []


PATTERNS = compiled()


@pytest.mark.campaign
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_no_text_takes_a_pattern_longer_than_in_proportion(pattern: re.Pattern[Any]) -> None:
    """`search` begins at each place; with `match` and `fullmatch` they are all ways to call it."""
    for head, pump, tail in attacks(pattern):
        if seconds(pattern, attack(pattern, head, pump, tail, SIZES[-1]), LIMIT) < FLOOR:
            continue  # the longest text, and the shorter ones take no longer

        before = 0.0
        for size in SIZES:
            allowed = LIMIT if before < FLOOR else MOST * before
            took = seconds(pattern, attack(pattern, head, pump, tail, size), allowed)
            assert took < allowed, (head, pump, tail, size, before, took)
            before = took


def attack(pattern: re.Pattern[Any], head: str, pump: str, tail: str, size: int) -> Any:
    """The text or the bytes of an attack."""
    text = head + pump * (size // len(pump)) + tail

    return text.encode() if isinstance(pattern.pattern, bytes) else text


def seconds(pattern: re.Pattern[Any], text: Any, allowed: float) -> float:
    """The least of some measurements, so that a busy machine cannot make it more.

    Two tell enough of a time that is allowed: the next text is compared with it.
    """
    best = float("inf")
    for number in range(5):
        if number >= 2 and best < allowed:
            break

        with limit(LIMIT):
            start = time.process_time()
            pattern.search(text)
            pattern.fullmatch(text)
            best = min(best, time.process_time() - start)

        if best < FLOOR:
            break

    return best


@contextlib.contextmanager
def limit(most: float) -> Iterator[None]:
    """A pattern that would run for years is stopped: the matcher looks for signals."""

    def stop(*_: object) -> None:
        raise AssertionError("the pattern does not come to an end")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, most)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# Texts that the pattern itself suggests


def attacks(pattern: re.Pattern[Any]) -> Iterator[tuple[str, str, str]]:
    """What brings the matcher to each repeat of the pattern, and what to repeat there."""
    source = pattern.pattern.decode() if isinstance(pattern.pattern, bytes) else pattern.pattern
    tree = parser.parse(source, pattern.flags & ~re.UNICODE)
    heads = {"", *heads_of(tree, "")}
    whole = sample(tree)
    own = {head[-1:] for head in heads} | {whole, whole[:-1], *repeated(tree)}
    for head in sorted(heads):
        for pump in sorted({*PUMPS, *own} - {""}):
            for tail in TAILS:
                yield head, pump, tail


def heads_of(tree: Any, head: str) -> Iterator[str]:
    """A text that leads up to each repeat, from the beginning."""
    for op, value in tree:
        name = str(op)
        if name.endswith("REPEAT"):
            yield head
            yield from heads_of(value[2], head)
        elif name in ("SUBPATTERN", "ATOMIC_GROUP"):
            yield from heads_of(value[-1] if name == "SUBPATTERN" else value, head)
        elif name == "BRANCH":
            for branch in value[1]:
                yield from heads_of(branch, head)

        head += sample([(op, value)])


def repeated(tree: Any) -> Iterator[str]:
    """One round of each repeat."""
    for op, value in tree:
        name = str(op)
        if name.endswith("REPEAT"):
            yield sample(value[2])
            yield from repeated(value[2])
        elif name == "SUBPATTERN":
            yield from repeated(value[-1])
        elif name == "BRANCH":
            for branch in value[1]:
                yield from repeated(branch)


def sample(tree: Iterable[Any]) -> str:
    """A short text that this part of a pattern takes."""
    return "".join(_sample(str(op), value) for op, value in tree)


def _sample(name: str, value: Any) -> str:
    if name == "LITERAL":
        return chr(value)

    if name == "IN":
        return _member(value)

    if name.endswith("REPEAT"):
        return sample(value[2]) * max(1, int(value[0]))

    if name == "SUBPATTERN":
        return sample(value[-1])

    if name == "ATOMIC_GROUP":
        return sample(value)

    if name == "BRANCH":
        return sample(value[1][0])

    return "a" if name in ("ANY", "NOT_LITERAL") else ""


def _member(value: Any) -> str:
    kinds = {"CATEGORY_DIGIT": "0", "CATEGORY_SPACE": " ", "CATEGORY_WORD": "a"}
    op, first = value[0]
    if str(op) == "NEGATE":
        return "~"

    if str(op) == "RANGE":
        return chr(int(first[0]))

    return chr(int(first)) if str(op) == "LITERAL" else kinds.get(str(first), "a")


# The test finds the faults that it is for


@pytest.mark.campaign
@pytest.mark.parametrize(
    "slow",
    [
        r"PAT:? configuration \[0-7\]:\s*((?:\S+\s*){8})$",
        r"\s*\[mem [0-9a-f]+\]\s*(.*?)\s*$",
        r"CPU0?: (.*?) *\(fam",
        r"MTRR default type:\s*(\S*)\s*",
        r"(a+)+$",
    ],
)
def test_a_slow_pattern_is_found(slow: str) -> None:
    with pytest.raises(AssertionError):
        test_no_text_takes_a_pattern_longer_than_in_proportion(re.compile(slow, re.IGNORECASE))


# The importers as a whole


@pytest.mark.parametrize(
    "line",
    [
        "x86/PAT: Configuration [0-7]: " + "WB  " * 20,
        "x86/PAT: Configuration [0-7]: " + "A" * 300_000,
        "x86/PAT: Configuration [0-7]: " + "WB  " * 75_000 + "!",
        "CPU0: " * 50_000,
        "[" * 300_000,
        "> " * 150_000,
        " " * 300_000 + "x",
        "=3D" + "=" * 300_000,
        "reg00: base=" * 25_000,
        "reg00: base=0x0 (0MB), size=4MB: write-back, count=1 " * 5_000,
        "MTRR default type:" + " " * 300_000 + "a b",
        "BIOS-e820: [mem 0x0-0xf] " + " a" * 150_000,
        "\x1b[" * 150_000,
        "rdmsr -a " * 30_000,
        "0x0/0x1000 BIOS " + "active " * 40_000,
        "9" * 300_000 + " base 0 mask 0 write-back",
    ],
    ids=lambda line: line[:24].strip(),
)
def test_a_hostile_line_does_not_hold_up_an_import(line: str) -> None:
    start = time.process_time()
    with limit(IMPORT_LIMIT):
        for text in (line, f"MTRR variable ranges enabled:\n{line}\n{line}"):
            with contextlib.suppress(ImportRefused):
                import_dump(text)

    assert time.process_time() - start < IMPORT_LIMIT
