"""The real machines that come with memhub: texts that they printed, imported when they are used.

What is odd about each is found in its registers and its text each time, and is nowhere typed by
hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from memhub.arguments import take_text
from memhub.config import Imported, import_dump
from memhub.core.spec_rules import suggest
from memhub.escape import EscapedMessage
from memhub.machines.oddities import KINDS as KINDS
from memhub.machines.oddities import Oddity as Oddity
from memhub.machines.oddities import find_oddities

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.spec import MachineSpec

#: FreeBSD's own amd64 kernel, whose range ioctls reach the registers that the texts describe.
_ARCH: Final = "amd64-mtrr"


class UnknownMachine(EscapedMessage, ValueError):
    """Raised for a name that none of the real machines has, or several begin with."""


class _Row(NamedTuple):
    """One line of `open.jsonl`.

    Attributes:
        name: the machine's name.
        computer: which computer it was, where the report says it.
        text: what it printed.
        phys_bits: address width, where the text does not tell it.
    """

    name: str
    computer: str
    text: str
    phys_bits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RealMachine:
    """A real computer or virtual machine, and what is odd about it.

    Attributes:
        name: what `load` takes.
        computer: which one it was; empty where the report does not say it.
        spec: the machine, exactly as its text describes it.
        source: the kind of text: `dmesg` or `proc_mtrr`.
        oddities: what is odd about its registers and its memory.
        notes: sentences of the importer: faults, and what had to be assumed.
    """

    name: str
    computer: str
    spec: MachineSpec = field(repr=False)
    source: str
    oddities: tuple[Oddity, ...]
    notes: tuple[str, ...] = field(repr=False)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The words for what is odd about it, each once."""
        return tuple(dict.fromkeys(it.kind for it in self.oddities))


@cache
def _read_rows() -> Mapping[str, _Row]:
    lines = files("memhub.machines").joinpath("open.jsonl").read_bytes().splitlines()
    rows = (orjson.loads(line) for line in lines)

    return {it["id"]: _Row(it["id"], it["cpu"] or "", it["text"], it["phys_bits"]) for it in rows}


def names() -> tuple[str, ...]:
    """The names of the real machines, in alphabetical order."""
    return tuple(sorted(_read_rows()))


def load(
    name: str,
    *,
    arch: str = _ARCH,
    rename: str | None = None,
    **more: Any,  # noqa: ANN401 - whatever else a MachineSpec takes
) -> MachineSpec:
    """A real machine, exactly as its firmware left it, faults included.

    Args:
        name: its name, or a beginning of it that no other machine's name has, in any case.
        arch: the architecture that drives it.
        rename: what clients call it; its own name if None.
        more: further attributes of a MachineSpec: `commit_latency=0.02`, `securelevel=1`.

    Raises:
        UnknownMachine: there is none, or there are several, of that name.
    """
    row = _find_row(name)
    arch = take_text("arch", arch)

    return replace(_import_row(row, arch).spec, name=rename or row.name, **more)


def describe(name: str) -> RealMachine:
    """A real machine with what is odd about it.

    Args:
        name: as for `load`.

    Raises:
        UnknownMachine: as for `load`.
    """
    row = _find_row(name)
    imported = _import_row(row, _ARCH)

    return RealMachine(
        name=row.name,
        computer=row.computer,
        spec=imported.spec,
        source=imported.format,
        oddities=tuple(find_oddities(imported)),
        notes=imported.oddities,
    )


def search(*words: str) -> tuple[RealMachine, ...]:
    """The real machines that each of the words is said of.

    Args:
        words: a kind of oddity (`KINDS`), or a part of a name, of the computer or of a sentence
            about it, in any case. Without words all machines are found.

    Returns:
        the machines, by name.
    """
    found = (describe(name) for name in names())

    return tuple(it for it in found if all(_is_said_of(it, word) for word in words))


def _is_said_of(machine: RealMachine, word: str) -> bool:
    word = _fold("word", word)
    if word in KINDS:
        return word in machine.kinds

    said = [machine.name, machine.computer, *machine.notes, *(it.text for it in machine.oddities)]

    return any(word in text.lower() for text in said)


def _fold(what: str, given: object) -> str:
    """A name or a word in lower case, whatever its characters are."""
    if not isinstance(given, str):
        raise TypeError(f"{what} {given!r:.80} is not text")

    return given.lower()


def _find_row(name: str) -> _Row:
    rows, wanted = _read_rows(), _fold("name", name)
    if wanted in rows:
        return rows[wanted]

    begun = [it for it in rows if wanted and it.startswith(wanted)]
    if len(begun) == 1:
        return rows[begun[0]]

    if begun:
        raise UnknownMachine(f"several real machines are called {name!r}…: {', '.join(begun)}")

    hint = suggest(name, rows) or "; memhub.machines.names() and `memhub machines` list them"
    raise UnknownMachine(f"there is no real machine {name!r}{hint}")


@cache
def _import_row(row: _Row, arch: str) -> Imported:
    return import_dump(row.text, phys_bits=row.phys_bits, name=row.name, arch=arch)
