"""Each architecture with ranges, as the model looks at it: its pages, requests and types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memhub.abi import (
    MDF_ACTIVE,
    MDF_ATTRMASK,
    MDF_UNCACHEABLE,
    MDF_WRITEBACK,
    MDF_WRITECOMBINE,
    MDF_WRITEPROTECT,
    MDF_WRITETHROUGH,
)
from memhub.core.drivers.driver import RangeState

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from ownership.asks import Span
    from ownership.model import TypeAt

_PAGE = 0x1000
_MIB = 0x100000
_WORDS = {
    MDF_UNCACHEABLE: "UC",
    MDF_WRITECOMBINE: "WC",
    MDF_WRITETHROUGH: "WT",
    MDF_WRITEBACK: "WB",
    MDF_WRITEPROTECT: "WP",
}


@dataclass(frozen=True)
class Kind:
    """An architecture under the model.

    Attributes:
        arch: its name.
        pages: every page that a request may touch, ascending.
        attributes: what requests ask for.
        spans: draws the span of a request.
        type_at: the type of a page.
        by_length: whether a slot is in use by its length.
    """

    arch: str
    pages: tuple[int, ...]
    attributes: tuple[int, ...]
    spans: Callable[[Random], Span]
    type_at: TypeAt
    by_length: bool = False


def _covering(state: RangeState, page: int, need: int) -> list[str]:
    return [
        _WORDS.get(row.mr_flags & MDF_ATTRMASK, "?")
        for row in state.slots
        if row.mr_flags & need == need and row.mr_base <= page < row.mr_base + row.mr_len
    ]


def pat_type(state: RangeState, page: int) -> str:
    """Over write-back MTRRs a descriptor's type is the page's; without one PA0, write-back."""
    found = _covering(state, page, MDF_ACTIVE)

    return found[0] if found else "WB"


def mtrr_type(state: RangeState, page: int) -> str:
    """Section 5 of the rules: fixed below 1 MiB, else what the matching registers come to."""
    fixed = len(state.slots) > 88
    if fixed and page < _MIB:
        # The fixed slots come first.
        return _covering(RangeState(state.slots[:88]), page, MDF_ACTIVE)[0]

    variable = state.slots[88:] if fixed else state.slots
    found = set(_covering(RangeState(variable), page, MDF_ACTIVE))
    if len(found) <= 1:
        return found.pop() if found else "WB"

    if "UC" in found:
        return "UC"

    return "WT" if found == {"WT", "WB"} else "undefined"


def first_type(state: RangeState, page: int) -> str:
    """Of overlapping slots the first decides."""
    found = _covering(state, page, 0)

    return found[0] if found else "WB"


def _aligned(first: int, unit: int, order: int) -> Callable[[Random], Span]:
    """Aligned powers of two inside `unit << order` bytes from `first`."""

    def draw(rng: Random) -> Span:
        size = min(rng.randrange(order + 1), rng.randrange(order + 1))
        base = rng.randrange(1 << (order - size)) << size

        return first + base * unit, first + (base + (1 << size)) * unit

    return draw


def _any(count: int) -> Callable[[Random], Span]:
    def draw(rng: Random) -> Span:
        lo = rng.randrange(count)

        return lo * _PAGE, (lo + 1 + min(rng.randrange(count - lo), rng.randrange(4))) * _PAGE

    return draw


def _low_and_high(rng: Random) -> Span:
    """On both sides of 1 MiB; below it the slots hold 4 KiB each."""
    return (_LOW if rng.random() < 0.5 else _HIGH)(rng)


_LOW = _aligned(_MIB - 8 * _PAGE, _PAGE, 3)
_HIGH = _aligned(_MIB, _PAGE, 3)

KINDS = {
    kind.arch: kind
    for kind in (
        Kind(
            arch="amd64",
            pages=tuple(range(0, 10 * _PAGE, _PAGE)),
            attributes=tuple(_WORDS),
            spans=_any(10),
            type_at=pat_type,
        ),
        Kind(
            arch="amd64-mtrr",
            pages=tuple(range(0, 8 * _PAGE, _PAGE)),
            attributes=(MDF_UNCACHEABLE, MDF_WRITEBACK, MDF_WRITECOMBINE),
            spans=_aligned(0, _PAGE, 3),
            type_at=mtrr_type,
        ),
        Kind(
            arch="i386",
            pages=tuple(range(_MIB - 8 * _PAGE, _MIB + 8 * _PAGE, _PAGE)),
            attributes=(MDF_UNCACHEABLE, MDF_WRITEBACK, MDF_WRITETHROUGH),
            spans=_low_and_high,
            type_at=mtrr_type,
        ),
        Kind(
            arch="k6",
            pages=tuple(range(0, 8 * 0x20000, 0x20000)),
            attributes=(MDF_UNCACHEABLE, MDF_WRITECOMBINE),
            spans=_aligned(0, 0x20000, 3),
            type_at=first_type,
            by_length=True,
        ),
        Kind(
            arch="powerpc",
            pages=tuple(range(0, 10 * _PAGE, _PAGE)),
            attributes=tuple(_WORDS)[:4],
            spans=_any(10),
            type_at=first_type,
            by_length=True,
        ),
    )
}
