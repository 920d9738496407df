"""Whether an open log is still the file that its path leads to, and still has all its bytes.

A file that was deleted, replaced or cut takes writes without an error, and what is written is in
no log that anybody reads. fstat(2) and stat(2) show it. They are not asked before every write:
that takes 2 us, since the kernel keeps finer times for a file whose times were asked for. Once a
millisecond takes a few parts in a thousand of the time of requests, and bounds what a deleted
file can still take. A renamed file keeps its records, so it is written to for as long as a
rotation may take before it asks for the log to be reopened.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Final, Literal

#: How often writes look where the path leads, nanoseconds; those that wait for the disk always do.
LOOK_EVERY_NS: Final = 1_000_000

#: How long a renamed log is written to, nanoseconds since that was noticed.
RENAMED_FOR_NS: Final = 60_000_000_000

#: `held` and `renamed` take records; `late` is renamed RENAMED_FOR_NS ago.
Fate = Literal["held", "gone", "cut", "renamed", "late"]

_WORDS: Final[dict[Fate, str]] = {
    "gone": "the file was deleted, replaced, or renamed and cut short, and takes no more records",
    "cut": "the file was cut short by another program and takes no more records",
    "renamed": "the file was renamed or its path leads elsewhere; it takes records for a minute",
    "late": "the file was renamed more than a minute ago and takes no more records",
}


def leads_to(path: str, fd: int) -> bool:
    """Whether a path leads to an open file."""
    held = os.fstat(fd)
    try:
        there = os.stat(path)  # noqa: PTH116 - once a write at most
    except OSError:
        return False

    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


class Place:
    """Where one open log is.

    Args:
        path: what it was opened by.
        fd: the file.
        every_ns: how often `check` is to be called at most, nanoseconds.

    Attributes:
        look_at: monotonic nanoseconds from which a write calls `check` first.
    """

    __slots__ = ("_every_ns", "_fd", "_path", "_renamed_at", "look_at")

    def __init__(self, path: str, fd: int, every_ns: int) -> None:
        self._path = path
        self._fd = fd
        self._every_ns = every_ns
        self.look_at = 0
        self._renamed_at: int | None = None

    def check(self, size: int) -> None:
        """Refuse a write to a file that nobody can find.

        Args:
            size: bytes that the file must have.

        Raises:
            OSError: ESTALE; it was deleted or cut, or was renamed RENAMED_FOR_NS ago.
        """
        fate = self.find_fate(size)
        if fate not in ("held", "renamed"):
            raise OSError(errno.ESTALE, f"{_WORDS[fate]} until the log is reopened")

        self.look_at = time.monotonic_ns() + self._every_ns

    def restart_grace(self) -> None:
        """Let a renamed log be written to for RENAMED_FOR_NS from now on."""
        self._renamed_at = None
        self.look_at = 0

    def find_fate(self, size: int) -> Fate:
        """Look what has become of the file now; if it is not held, the next `check` looks too."""
        fate = self._look(size)
        if fate != "held":
            self.look_at = 0

        return fate

    def _look(self, size: int) -> Fate:
        held = os.fstat(self._fd)
        if not held.st_nlink:
            return "gone"

        there = leads_to(self._path, self._fd)
        if held.st_size < size:
            return "cut" if there else "gone"

        if there:
            self._renamed_at = None
            return "held"

        now = time.monotonic_ns()
        if self._renamed_at is None:
            self._renamed_at = now

        return "renamed" if now <= self._renamed_at + RENAMED_FOR_NS else "late"


def describe_fate(fate: Fate) -> str | None:
    """A fate in words, None for a file that is where it should be."""
    return _WORDS.get(fate)
