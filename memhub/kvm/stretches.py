"""Contents of an image, read by address."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.core.spec import Content


class Stretches:
    """Contents as one address space with holes.

    Args:
        contents: in address order, none over another.
    """

    def __init__(self, contents: Sequence[Content]) -> None:
        self._contents = contents
        self._bases = [it.base for it in contents]

    def read(self, address: int, length: int) -> bytes:
        """The bytes from an address on; fewer where a hole begins."""
        parts: list[bytes] = []
        cursor, end = address, address + length
        while cursor < end:
            it = self._find(cursor)
            if it is None:
                break

            part = it.data[cursor - it.base : end - it.base]
            zeros = min(end, it.end) - cursor - len(part)
            parts.append(part + bytes(zeros))
            cursor += len(part) + zeros

        return b"".join(parts)

    def close(self) -> None:
        """Nothing is open."""

    def _find(self, address: int) -> Content | None:
        index = bisect_right(self._bases, address) - 1
        if index < 0 or address >= self._contents[index].end:
            return None

        return self._contents[index]
