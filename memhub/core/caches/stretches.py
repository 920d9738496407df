"""A span cut where its memory type changes, or where memory begins or ends that can be cached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core.caches.state import Stretch
from memhub.core.effective.typemap import CODE_OF_TYPE, MARK, RESERVED, UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.core.caches.state import Caches
    from memhub.core.caches.work import Work
    from memhub.core.effective.typemap import TypeMap

UC: Final = CODE_OF_TYPE["UC"]
WC: Final = CODE_OF_TYPE["WC"]
WT: Final = CODE_OF_TYPE["WT"]
WP: Final = CODE_OF_TYPE["WP"]
WB: Final = CODE_OF_TYPE["WB"]

#: The types whose reads fill lines.
_CACHED: Final = frozenset({WT, WP, WB})
_UNSURE: Final = frozenset({RESERVED, UNDEFINED})


def stretches_of(work: Work, low: int, high: int) -> Sequence[tuple[int, int, int]]:
    """The stretches of `[low, high)`, which is inside the physical address space.

    Only whole lines of RAM are cached, and nothing is combined where nothing is kept: what else has
    such a type counts as uncacheable, as does what has no defined type.

    Returns:
        first byte, one past the last, and the type's code.
    """
    caches = work.caches
    table, memory = caches.table, caches.memory
    types = None if table is None else table.types
    known = caches.stretch
    is_known = known.types is types and known.windows is memory.windows and not memory.files.closed
    if is_known and known.low <= low and high <= known.high:
        return ((low, high, known.code),)

    found = []
    while low < high:
        code, end = _stretch_at(caches, types, low)
        first = low
        if is_known and (known.high, known.code) == (end, code):
            first = min(low, known.low)

        caches.stretch = Stretch(types, memory.windows, first, end, code)
        found.append((low, min(end, high), code))
        low = end

    return found


def _stretch_at(caches: Caches, types: TypeMap | None, low: int) -> tuple[int, int]:
    """The code at an address, and a later address up to which it holds."""
    memory, mask = caches.memory, caches.limits.line_size - 1
    code, end = (WB, memory.top) if types is None else types.stretch(low)
    code &= ~MARK
    if code in _UNSURE:
        return UC, end

    if code == WC:
        segment = memory.segment(low)
        return UC if segment.kind in ("open", "rom") else WC, min(end, segment.end)

    if code not in _CACHED:
        return code, end

    segment = memory.segment(low)
    first, last = segment.base + mask & ~mask, segment.end & ~mask
    if segment.kind != "ram" or segment.delta is None or first >= last or low >= last:
        return UC, min(end, segment.end)

    return (UC, min(end, first)) if low < first else (code, min(end, last))
