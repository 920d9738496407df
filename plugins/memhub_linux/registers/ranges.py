"""What the back ends share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Range(NamedTuple):
    """What a variable register describes, in pages; size 0 is a free one."""

    base: int
    size: int
    type: int


class Fault(NamedTuple):
    """What is wrong with a new range.

    Attributes:
        text: the line that the kernel prints, or the rule and the value where it prints none.
        printed: whether it prints one.
    """

    text: str
    printed: bool = True


class BackEnd(Protocol):
    """The registers of one kind of processor."""

    @property
    def count(self) -> int:
        """How many registers there are."""

    def get(self, index: int) -> Range:
        """What a register describes."""

    def set(self, index: int, it: Range) -> None:
        """Write a register on every CPU; size 0 frees it."""

    def check(self, it: Range) -> Fault | None:
        """What is wrong with a new range, or None."""

    def find_free(self, base: int, size: int, replace: int) -> int | None:
        """The register that takes a new range; None if none is free."""

    def has_write_combining(self) -> bool:
        """Whether ranges can be write-combining."""


class State(Protocol):
    """The kernel's state of Intel's MTRRs."""

    @property
    def changes(self) -> set[str]:
        """In what CPUs differed: `fixed`, `variable`, `default`."""

    def save_before_start(self) -> None:
        """Save the fixed registers, as before a processor starts."""

    def look_up(self, start: int, end: int) -> tuple[int, bool | None]:
        """The type of a range of bytes, and whether it is uniform; None where that is not told."""

    def resume(self, msrs: Mapping[int, int], conf: Mapping[int, int]) -> None:
        """Wake up: firmware has set every CPU up anew, and the kernel stores its state."""

    def store_everywhere(self) -> None:
        """Store the state on each CPU."""


def alignment_fault(it: Range, long_mask: int) -> Fault | None:
    """What is wrong with a range which is not an aligned power of two, or None."""
    base, last = it.base, it.base + it.size - 1 & long_mask
    while not base & 1 and last & 1:
        base, last = base >> 1, last >> 1

    if base == last:
        return None

    line = f"mtrr: base(0x{it.base:x}000) is not aligned on a size(0x{it.size:x}000) boundary"

    return Fault(line)
