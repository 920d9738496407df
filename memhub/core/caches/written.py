"""What one access has let the bus see so far, found by address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.abi import Buffer as Bytes

    #: Address, bytes, and the bytes before.
    Write = tuple[int, Bytes, bytes]

_PAGE_SHIFT: Final = 12
#: So many writes are looked through one by one.
_FEW: Final = 16


class Written:
    """The writes of an access, of which each read looks at those near it alone.

    Args:
        writes: the writes, in order; more may be appended.
    """

    __slots__ = ("_known", "_pages", "_writes")

    def __init__(self, writes: Sequence[Write]) -> None:
        self._writes = writes
        self._known = 0
        self._pages: dict[int, list[int]] = {}

    def put_over(self, data: bytes, address: int) -> bytes:
        """The bytes at an address, which were `data` before the access."""
        found, end = bytearray(data), address + len(data)
        for at, written, _ in self._near(address, len(data)):
            low, high = max(at, address), min(at + len(written), end)
            if low < high:
                found[low - address : high - address] = written[low - at : high - at]

        return bytes(found)

    def _near(self, address: int, length: int) -> Sequence[Write]:
        """All writes that touch a span, in order, and perhaps others."""
        writes, pages = self._writes, self._pages
        if len(writes) <= _FEW:
            return writes

        for place in range(self._known, len(writes)):
            at, data, _ = writes[place]
            for page in _pages_of(at, len(data)):
                pages.setdefault(page, []).append(place)

        self._known = len(writes)
        found = {it for page in _pages_of(address, length) for it in pages.get(page, ())}

        return [writes[it] for it in sorted(found)]


def _pages_of(address: int, length: int) -> range:
    return range(address >> _PAGE_SHIFT, (address + length - 1 >> _PAGE_SHIFT) + 1)
