"""The types of many addresses at once: from borders and codes, by search or by a table of pages.

A module of its own because it loads numpy, which takes a fifth of the start of a command or a
service, and which only questions about many addresses need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Codes = npt.NDArray[np.uint8]

#: Addresses resolved at a time, so that temporaries stay in the cache.
CHUNK: Final = 1 << 15
#: Most entries of a page table: 16 MiB, a 64 GiB window of 4 KiB pages.
_TABLE_LIMIT: Final = 1 << 24
_SPACE_END: Final = 1 << 64


class Lookup:
    """Many addresses to codes, for one map.

    Args:
        bounds: the inner borders, ascending.
        codes: the code of each stretch, without marks.
        end: one past the last address of the space.
    """

    def __init__(self, bounds: list[int], codes: list[int], end: int) -> None:
        self._bounds = np.array(bounds, dtype=np.uint64)
        self._codes = np.array(codes, dtype=np.uint8)
        self._end = end
        self._pages: _PageTable | None = None

    def make_resolver(self, count: int) -> Callable[[npt.NDArray[np.uint64], Codes], Any]:
        """What writes the codes of some addresses to an array, for `count` addresses in all."""
        search = _Search(self._bounds, self._codes)
        if self._pages is None and _PageTable.pays(self._bounds, self._end, count):
            self._pages = _PageTable(self._bounds, self._codes, self._end)

        return search.resolve if self._pages is None else self._pages.resolver(search)


def resolve_chunks(
    addresses: npt.ArrayLike,
    make_resolver: Callable[[int], Callable[[npt.NDArray[np.uint64], Codes], Any]],
) -> Codes:
    """Resolve addresses of any shape a part at a time.

    Args:
        addresses: unsigned 64-bit addresses, of any shape.
        make_resolver: given how many there are, what writes the codes of some to an array.

    Returns:
        the codes, of the same shape.
    """
    wanted: npt.NDArray[np.uint64] = np.asarray(addresses, dtype=np.uint64)
    flat = wanted.reshape(-1)
    codes = np.empty(flat.size, dtype=np.uint8)
    resolve = make_resolver(flat.size)
    for first in range(0, flat.size, CHUNK):
        resolve(flat[first : first + CHUNK], codes[first : first + CHUNK])

    return codes.reshape(wanted.shape)


class _Search:
    """Addresses to codes by binary search."""

    def __init__(self, bounds: npt.NDArray[np.uint64], codes: Codes) -> None:
        self._bounds = bounds
        self._codes = codes

    def resolve(self, addresses: npt.NDArray[np.uint64], out: Codes) -> None:
        index = np.searchsorted(self._bounds, addresses, side="right")
        np.take(self._codes, index, out=out, mode="clip")


class _PageTable:
    """Addresses to codes by one table look-up, where the last border lies low enough.

    Pages are as large as the alignment of the borders allows. The last entry stands for all
    addresses from the last border to the end of the space, which clipping the index gives.
    """

    def __init__(self, bounds: npt.NDArray[np.uint64], codes: Codes, end: int) -> None:
        inner, self._shift = self._find_geometry(bounds, end)
        edges = np.concatenate(
            (np.zeros(1, np.int64), (inner >> np.uint64(self._shift)).view(np.int64))
        )
        self._end = end
        self._table = np.repeat(codes[: edges.size], np.diff(edges, append=edges[-1] + 1))

    @staticmethod
    def _find_geometry(
        bounds: npt.NDArray[np.uint64], end: int
    ) -> tuple[npt.NDArray[np.uint64], int]:
        inner = bounds[: int(np.searchsorted(bounds, np.uint64(min(end, _SPACE_END - 1))))]
        joined = int(np.bitwise_or.reduce(inner)) if inner.size else 1 << 62

        return inner, (joined & -joined).bit_length() - 1

    @classmethod
    def pays(cls, bounds: npt.NDArray[np.uint64], end: int, count: int) -> bool:
        """Whether the table fits, and `count` look-ups repay its making."""
        inner, shift = cls._find_geometry(bounds, end)
        entries = (int(inner[-1]) >> shift) + 1 if inner.size else 1

        return shift > 0 and entries <= _TABLE_LIMIT and count >= max(CHUNK, entries >> 6)

    def resolver(self, search: _Search) -> Callable[[npt.NDArray[np.uint64], Codes], Any]:
        shift = np.uint64(self._shift)

        def resolve(addresses: npt.NDArray[np.uint64], out: Codes) -> None:
            if self._end < _SPACE_END and int(addresses.max()) >= self._end:
                search.resolve(addresses, out)
            else:
                index = (addresses >> shift).view(np.int64)
                np.take(self._table, index, out=out, mode="clip")

        return resolve
