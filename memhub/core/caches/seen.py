"""What RAM holds as the bus or the CPUs see it, beside what caches and buffers have newer."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from memhub.abi import PAGE_SIZE
from memhub.core.caches.lines import mask_of, runs_of
from memhub.core.memory.pages import cut_pages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from memhub.core.caches.content import CachesContent
    from memhub.core.caches.lines import Line
    from memhub.core.memory.physmap import Extent
    from memhub.core.spec import MachineSpec

#: Who looks at memory: a device on the bus, or the CPUs by their cache.
DumpView = Literal["bus", "cpu"]
#: The views of memory.
DUMP_VIEWS: Final[tuple[DumpView, ...]] = get_args(DumpView)
_ZEROS: Final = bytes(PAGE_SIZE)


class SeenMemory(NamedTuple):
    """Pages of RAM as somebody sees them.

    Attributes:
        pages: the touched pages, by place in the store.
        hidden: bytes of RAM that a line or a combining buffer has newer, and that are not seen.
    """

    pages: Mapping[int, bytes]
    hidden: int


def see_memory(
    spec: MachineSpec,
    extents: Sequence[Extent],
    pages: Mapping[int, bytes],
    content: CachesContent,
    view: DumpView,
) -> SeenMemory:
    """What is seen of RAM; nobody's caches change.

    The bus sees what RAM holds and, where it snoops, the dirty lines. CPUs see the lines
    of their cache over that, also the old ones. Nobody sees combining buffers.

    Args:
        spec: the machine.
        extents: the stretches of RAM that count, in address order.
        pages: what RAM holds, by place in the store.
        content: what caches and buffers hold.
        view: who looks.
    """
    shift = spec.caches.shift
    seen: dict[int, bytearray] = {}
    hidden = 0
    for number, line in content.lines.items():
        mask = _seen_mask(line, view, snoops=spec.bus == "snooping")
        for place, low, high in _runs_in(extents, number << shift, mask):
            _put(seen, pages, place, line.data[low:high])

        hidden += _count(extents, number << shift, line.dirty & ~mask)

    for held in content.buffers.values():
        hidden += sum(_count(extents, it << shift, buffer.mask) for it, buffer in held.items())

    return SeenMemory({**pages, **{at: bytes(page) for at, page in seen.items()}}, hidden)


def _seen_mask(line: Line, view: DumpView, *, snoops: bool) -> int:
    """Which bytes of a line are seen in place of those of RAM."""
    if view == "cpu":
        return mask_of(0, len(line.data))

    return line.dirty | line.under if snoops and line.dirty else 0


def _put(seen: dict[int, bytearray], pages: Mapping[int, bytes], place: int, data: bytes) -> None:
    for at, part in cut_pages(place, data):
        page = at - at % PAGE_SIZE
        if page not in seen:
            seen[page] = bytearray(pages.get(page, _ZEROS))

        seen[page][at - page : at - page + len(part)] = part


def _count(extents: Sequence[Extent], base: int, mask: int) -> int:
    return sum(high - low for _, low, high in _runs_in(extents, base, mask))


def _runs_in(extents: Sequence[Extent], base: int, mask: int) -> Iterator[tuple[int, int, int]]:
    """The stretches of a mask that lie in RAM: place in the store, first byte, one past the last.

    Args:
        extents: the RAM.
        base: the address of the first byte of the mask.
        mask: a bit for each byte.
    """
    for low, high in runs_of(mask):
        index = max(bisect_right(extents, base + low, key=lambda it: it.base) - 1, 0)
        for extent in extents[index:]:
            if extent.base >= base + high:
                break

            first = max(base + low, extent.base)
            last = min(base + high, extent.base + extent.length)
            if first < last:
                yield extent.offset + first - extent.base, first - base, last - base
