"""Lines out of blocks, of which each may end within a line."""

from __future__ import annotations

from io import BytesIO


class UnfinishedLine:
    """The line whose end has not come yet.

    Its parts are put together once, when it has: to add each block to those before would copy a
    long line, and look for its end, as often as it has blocks.

    Attributes:
        size: how many bytes it has.
    """

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []

    def split(self, block: bytes) -> list[bytes]:
        """The lines that a block completes, without their newlines."""
        return self._complete(block.split(b"\n"))

    def split_whole(self, block: bytes) -> list[bytes]:
        """The lines that a block completes, with their newlines."""
        # twice as fast as `bytes.split`, which looks at one byte after another
        lines = BytesIO(block).readlines()
        if lines and lines[-1][-1:] == b"\n":
            lines.append(b"")

        return self._complete(lines)

    def _complete(self, pieces: list[bytes]) -> list[bytes]:
        """The pieces without the last, the first of which ends this line; the last begins it."""
        if len(pieces) > 1:
            pieces[0] = self.take() + pieces[0]

        if pieces:
            last = pieces.pop()
            self.size += len(last)
            self._parts.append(last)

        return pieces

    def look(self) -> bytes:
        """What there is of it."""
        self._parts = [b"".join(self._parts)]

        return self._parts[0]

    def take(self) -> bytes:
        """What there is of it, which is forgotten."""
        found = b"".join(self._parts)
        self.size, self._parts = 0, []

        return found
