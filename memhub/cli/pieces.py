"""A long read in pieces, so that it needs little memory and does not delay other clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 20


class Readable(Protocol):
    """An open device file."""

    def pread(self, length: int, offset: int) -> bytes:
        """Read up to `length` bytes at `offset`."""


def pieces(handle: Readable, base: int, length: int) -> Iterator[bytes]:
    """Read `length` bytes from `base` on.

    Yields:
        pieces of at most 1 MiB, none empty; they end early where no more can be read.

    Raises:
        DeviceError: a piece is refused, after the part of it that can be read.
    """
    end = base + length
    while base < end:
        try:
            piece = handle.pread(min(_PIECE, end - base), base)
        except OSError as error:
            moved = getattr(
                error, "moved", 0
            )  # a DeviceError; importing the class here takes too long
            if moved:
                yield handle.pread(moved, base)

            raise

        if not piece:
            return

        yield piece

        base += len(piece)
