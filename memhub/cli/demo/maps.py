"""A map of effective types: a strip of cells over a stretch of addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.cli.amounts import size
from memhub.cli.demo.words import TYPES
from memhub.core.effective.strip import strip_cells

if TYPE_CHECKING:
    from memhub.cli.demo.run import MachineSummary
    from memhub.cli.terminal import Span
    from memhub.core.effective.typemap import TypeMap

CELLS: Final = 64
MIB: Final = 1 << 20
GIB: Final = 1 << 30


def strips(machine: MachineSummary) -> list[list[Span]]:
    """The strips of one machine: the first MiB where it has fixed ranges, and the rest."""
    if machine.types is None:
        return []

    ends = [MIB] if machine.fixed else []
    ends.append(4 * GIB)
    if machine.end > 4 * GIB and any(it.desc.mr_base >= 4 * GIB for it in machine.slots):
        top = max(it.desc.mr_end for it in machine.slots)
        ends.append(min(machine.end, 1 << (top - 1).bit_length()))

    return [[f"{_extent_label(end):<7} ", *_list_cells(machine.types, end)] for end in ends]


def _extent_label(end: int) -> str:
    """The label, in seven columns: with the machine's name it leaves 64 of 80."""
    text = f"0 to {size(end)}"

    return text if len(text) <= 7 else text[2:]


def _list_cells(types: TypeMap, end: int) -> list[Span]:
    return [(letter, TYPES[kind][1]) for letter, kind in strip_cells(types, end, CELLS)]


def legend() -> list[Span]:
    """What the letters mean."""
    spans: list[Span] = []
    for letter, style, meaning in list(TYPES.values())[:5]:
        spans += [(letter, style), f" {meaning}  "]

    return spans
