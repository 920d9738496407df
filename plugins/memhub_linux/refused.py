"""How the kernel says no."""

from __future__ import annotations


class Refused(Exception):
    """Raised when the kernel answers an error.

    Attributes:
        errno: its name.
        why: the value and the rule, where the kernel prints nothing.
        got: the mode that a reservation tells nevertheless, or None.
    """

    def __init__(self, errno: str, why: str = "", *, got: str | None = None) -> None:
        self.errno = errno
        self.why = why
        self.got = got
        super().__init__(errno)
