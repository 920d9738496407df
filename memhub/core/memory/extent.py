"""How far a transfer comes that is done in parts: as far as it would come in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.core.memory.pieces import Piece


class Extent:
    """The bytes of a whole transfer that can move; looked at as far as it is asked about.

    What a device model answers, and what changes meanwhile, is not known before the parts move.

    Args:
        pieces: where the bytes of the whole transfer lie.
        short_count: whether progress makes a short count of an error.

    Attributes:
        short_count: the same.
        error: what ends the transfer behind the bytes that were found so far, or None.
    """

    __slots__ = ("_found", "_pieces", "error", "short_count")

    def __init__(self, pieces: Iterator[Piece], *, short_count: bool) -> None:
        self._pieces = pieces
        self.short_count = short_count
        self._found = 0
        self.error: DeviceError | None = None

    def within(self, count: int) -> int:
        """How many of the first `count` bytes can move."""
        while self._found < count and self.error is None:
            try:
                piece = next(self._pieces, None)
            except DeviceError as error:
                error.__traceback__ = None
                self.error = error
                break

            if piece is None:
                break

            self._found += piece.length

        return min(self._found, count)

    def ends_short(self, moved: int) -> bool:
        """Whether a transfer that has moved so many bytes ends there, with a short count."""
        return self.short_count and self.within(moved + 1) == moved and self.error is not None

    def excuses(self, error: DeviceError, moved: int) -> bool:
        """Whether a device model's error makes a short count, as bytes moved in parts before."""
        return self.short_count and error.by_device and moved > 0 and not error.moved
