"""How the kernel says no."""

from __future__ import annotations


class Refused(Exception):
    """Raised when the kernel answers an error.

    Attributes:
        errno: its name.
        got: the mode that a reservation tells nevertheless, or None.
    """

    def __init__(self, errno: str, *, got: str | None = None) -> None:
        self.errno = errno
        self.got = got
        super().__init__(errno)
