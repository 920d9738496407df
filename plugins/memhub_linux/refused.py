"""How the kernel says no."""

from __future__ import annotations


class Refused(Exception):
    """Raised when the kernel answers an error.

    Attributes:
        errno: its name.
    """

    def __init__(self, errno: str) -> None:
        self.errno = errno
        super().__init__(errno)
