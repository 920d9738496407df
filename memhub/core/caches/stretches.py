"""A span cut where its memory type changes, or where memory begins or ends that can be cached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core.effective.typemap import CODE_OF_TYPE, MARK, RESERVED, UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.core.caches.work import Work

UC: Final = CODE_OF_TYPE["UC"]
WC: Final = CODE_OF_TYPE["WC"]
WT: Final = CODE_OF_TYPE["WT"]
WP: Final = CODE_OF_TYPE["WP"]
WB: Final = CODE_OF_TYPE["WB"]

#: The types whose reads fill lines.
_CACHED: Final = frozenset({WT, WP, WB})
_UNSURE: Final = frozenset({RESERVED, UNDEFINED})


def stretches_of(work: Work, low: int, high: int) -> Iterator[tuple[int, int, int]]:
    """The stretches of `[low, high)`, which is inside the physical address space.

    Only whole lines of RAM are cached, and nothing is combined where nothing is kept: what else has
    such a type counts as uncacheable, as does what has no defined type.

    Returns:
        first byte, one past the last, and the type's code.
    """
    table, memory = work.caches.table, work.caches.memory
    types = None if table is None else table.types
    mask = work.caches.limits.line_size - 1
    while low < high:
        code, end = (WB, high) if types is None else types.stretch(low)
        code &= ~MARK
        end = min(end, high)
        if code in _CACHED:
            segment = memory.segment(low)
            first, last = segment.base + mask & ~mask, segment.end & ~mask
            if segment.kind != "ram" or segment.delta is None or first >= last:
                code, end = UC, min(end, segment.end)
            elif low < first:
                code, end = UC, min(end, first)
            elif low >= last:
                code, end = UC, min(end, segment.end)
            else:
                end = min(end, last)
        elif code in _UNSURE:
            code = UC
        elif code == WC:
            segment = memory.segment(low)
            end = min(end, segment.end)
            if segment.kind in ("open", "rom"):
                code = UC

        yield low, end, code
        low = end
