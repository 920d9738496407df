"""What a plugin of another kernel offers, so that `memhub compare` can ask it.

A request of a script is one range to set or to clear. Each kernel says it in its own way: as a line
for `/proc/mtrr`, as a system call. What it has no way to say is answered with `UNSAID`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

#: In the place of an errno: the kernel has no way to ask for this.
UNSAID: Final = "-"
#: In the place of an errno: the kernel died of it, or had died before.
PANIC: Final = "panic"


class RangeAsk(NamedTuple):
    """One request.

    Attributes:
        clear: whether a range is to go; else one is set.
        base: first byte.
        length: bytes.
        type: `UC`, `WC`, `WT`, `WP` or `WB`; None for a clear, and where none or several are asked.
        register: of a clear by number; None by base and length.
        line: the line for `/proc/mtrr`, where the script has one.
    """

    clear: bool
    base: int
    length: int
    type: str | None
    register: int | None = None
    line: str | None = None


class RangeTold(NamedTuple):
    """What a kernel answered.

    Attributes:
        errno: the name of the error, None for success; UNSAID or PANIC.
        said: why, in the kernel's words if it prints some.
    """

    errno: str | None
    said: str = ""


class ComparedKernel(Protocol):
    """One kernel that has booted on a machine of its own."""

    @property
    def msrs(self) -> Mapping[int, int]:
        """The registers of the processor that answers requests."""

    def ask(self, it: RangeAsk) -> RangeTold:
        """Answer one request of the one process that there is."""
