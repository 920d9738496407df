"""The pages of machines' memories in a file, one machine after the other."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from memhub.abi import PAGE_SIZE
from memhub.core.memory.image import MemoryImage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class PackedPages:
    """The pages of a file, taken machine by machine, in memory that is bounded by what they say.

    Args:
        packed: a zlib stream.
    """

    def __init__(self, packed: bytes) -> None:
        self._unpack = zlib.decompressobj()
        self._packed = packed

    def take(self, places: list[int]) -> MemoryImage:
        """The next pages.

        Args:
            places: where each belongs.

        Raises:
            ValueError: they are not all there.
            zlib.error: they are damaged.
        """
        held = self._read(len(places) * PAGE_SIZE)
        if len(held) != len(places) * PAGE_SIZE:
            raise ValueError(f"{len(places)} pages are due, and the file has not all of them")

        return MemoryImage(
            {at: held[n * PAGE_SIZE : (n + 1) * PAGE_SIZE] for n, at in enumerate(places)}
        )

    def end(self) -> None:
        """Refuse what comes after the last page.

        Raises:
            ValueError: there is more, or the end of the stream is missing.
            zlib.error: the end is damaged.
        """
        if self._read(1):
            raise ValueError("the file has more pages than its machines")

        if not self._unpack.eof:
            raise ValueError("the end of the pages is missing (zlib)")

        more = len(self._unpack.unused_data)
        if more:
            raise ValueError(f"{more} bytes follow the last page")

    def _read(self, size: int) -> bytes:
        if not size:
            return b""

        held = self._unpack.decompress(self._packed, size)
        self._packed = self._unpack.unconsumed_tail

        return held


def runs_of(pages: Mapping[int, bytes]) -> list[list[int]]:
    """Places of pages as runs: the first place, and how many pages."""
    runs: list[list[int]] = []
    for at in pages:
        if runs and runs[-1][0] + runs[-1][1] * PAGE_SIZE == at:
            runs[-1][1] += 1
        else:
            runs.append([at, 1])

    return runs


def places_in(runs: list[list[int]], size: int) -> Iterator[int]:
    """The places of runs, in a memory of `size` bytes; ValueError where they are not inside it."""
    end = 0
    for first, count in runs:
        last = first + count * PAGE_SIZE
        if first < end or count < 1 or first % PAGE_SIZE or last > size:
            raise ValueError(
                f"pages: [{first:#x}, {count}] are not whole pages behind those before, in a "
                f"memory of {size:#x} bytes"
            )

        yield from range(first, last, PAGE_SIZE)
        end = last
