"""Lines, combining buffers, and which bytes of them count: a mask has bit N for byte N."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memhub.core.instant import make_tuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.core.files import Principal


class Store(NamedTuple):
    """Bytes of one writer.

    Attributes:
        mask: which bytes of the line.
        who: the process, or None where it was the bus.
        order: the number of the last store of these bytes; in a buffer, of the first.
        since: the log's record of the writer's first store of them, or None without log.
    """

    mask: int
    who: Principal | None
    order: int
    since: int | None


#: Of a line or a buffer, by order; no byte is in two.
Stores = tuple[Store, ...]


class Line(NamedTuple):
    """One line of the cache that all CPUs share.

    Attributes:
        data: the bytes of the whole line, as CPUs see them.
        dirty: mask of the bytes that the bus has not seen.
        under: mask of the bytes that the bus has written since, and that CPUs do not see.
        code: the memory type with which it was cached.
        since: the log's record since which it is cached with that type, or None without log.
        stores: what made the bytes of `dirty` so, and no others.
        newer: the writes of the bus of `under`, likewise.
    """

    data: bytes
    dirty: int
    under: int
    code: int
    since: int | None
    stores: Stores
    newer: Stores


class Buffer(NamedTuple):
    """One combining buffer of a process.

    Attributes:
        data: as many bytes as a line has.
        mask: which of them were written.
        who: whose it is.
        stores: by which store each of them was written first, all of `who`.
    """

    data: bytes
    mask: int
    who: Principal
    stores: Stores


def mask_of(low: int, high: int) -> int:
    """The mask of the bytes `[low, high)`."""
    return (1 << high) - (1 << low)


def runs_of(mask: int) -> Sequence[tuple[int, int]]:
    """The stretches `[low, high)` of a mask, in order."""
    if not mask:
        return ()

    low, high = (mask & -mask).bit_length() - 1, mask.bit_length()
    if mask == (1 << high) - (1 << low):
        return ((low, high),)

    return list(_runs(mask))


def _runs(mask: int) -> Iterator[tuple[int, int]]:
    at = 0
    while mask:
        skipped = (mask & -mask).bit_length() - 1
        mask >>= skipped
        length = (~mask & (mask + 1)).bit_length() - 1
        yield at + skipped, at + skipped + length
        at += skipped + length
        mask >>= length


def clean_line(data: bytes, code: int, since: int | None) -> Line:
    """A line as it was read from the bus."""
    return make_tuple(Line, (data, 0, 0, code, since, (), ()))
