"""How a process reads `/proc/mtrr` piece by piece: one text is made, and handed out.

A text is made where a read finds none: at the start of the file, or behind a seek. Each making
looks at every register, so it sets the use count of free ones to 0, and prints what a look prints.

Source: Linux 6.18 `fs/seq_file.c` (seq_read_iter, traverse, seq_lseek, single_open).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from memhub_linux.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PAGE: Final = 4096
_LAST: Final = (1 << 63) - 1
_SEEK_SET: Final = 0
_SEEK_CUR: Final = 1


@dataclass(slots=True)
class SeqFile:
    """What the kernel keeps of one open file.

    Attributes:
        position: where the next read begins (`f_pos`).
        read_position: where the last one ended (`read_pos`).
        rest: the text that was made and not yet read.
        ended: whether the one text of the file has been handed out.
        size: bytes of the buffer; 0 for none yet.
    """

    position: int = 0
    read_position: int = 0
    rest: str = ""
    ended: bool = False
    size: int = 0

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> SeqFile:
        """The opposite of `item`."""
        return cls(**{name: item[name] for name in cls.__slots__ if name in item})

    def item(self) -> dict[str, Any]:
        """The same as plain values; what is as in a file just opened is left out."""
        new = asdict(SeqFile())

        return {name: it for name, it in asdict(self).items() if it != new[name]}

    def read(self, length: int, offset: int | None, make: Callable[[], str]) -> str:
        """Hand out the next piece, or the one at an offset, as pread(2) asks for.

        Args:
            length: bytes wanted.
            offset: where, or None for the file's position.
            make: makes the text.

        Raises:
            Refused: EINVAL; a negative offset.
        """
        at = self.position if offset is None else offset
        if not 0 <= at <= _LAST or length < 0:
            raise Refused("EINVAL", f"{length} bytes at {at}: neither is below 0")

        if not length:
            return ""

        if not at:
            self.rest, self.ended = "", False

        if at != self.read_position:
            self._traverse(at, make)
            self.read_position = at

        found = self._take(length)
        if len(found) < length and not self.rest and not self.ended:
            self.rest, self.ended = self._make(make), True
            found += self._take(length - len(found))

        self.read_position += len(found)
        if offset is None:
            self.position = at + len(found)

        return found

    def seek(self, offset: int, whence: int, make: Callable[[], str]) -> int:
        """Answer lseek(2).

        Raises:
            Refused: EINVAL; another whence than SEEK_SET and SEEK_CUR, or a negative position.
        """
        if whence not in (_SEEK_SET, _SEEK_CUR):
            raise Refused("EINVAL", f"whence {whence} is neither SEEK_SET (0) nor SEEK_CUR (1)")

        at = offset + (self.position if whence == _SEEK_CUR else 0)
        if not 0 <= at <= _LAST:
            raise Refused("EINVAL", f"the position would be {at}")

        if at != self.read_position:
            self._traverse(at, make)

        self.read_position = self.position = at

        return at

    def _traverse(self, offset: int, make: Callable[[], str]) -> None:
        """Make the text anew, and go to an offset in it."""
        self.rest, self.ended = "", False
        if offset:
            self.rest, self.ended = self._make(make)[offset:], True

    def _make(self, make: Callable[[], str]) -> str:
        """Make the text; again with twice the buffer as long as it does not fit."""
        self.size = self.size or _PAGE
        while len(text := make()) >= self.size:
            self.size <<= 1

        return text

    def _take(self, length: int) -> str:
        found, self.rest = self.rest[:length], self.rest[length:]

        return found
