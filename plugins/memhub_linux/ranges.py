"""What the back ends share."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Range(NamedTuple):
    """What a variable register describes, in pages; size 0 is a free one."""

    base: int
    size: int
    type: int


class BackEnd(Protocol):
    """The registers of one kind of processor."""

    @property
    def count(self) -> int:
        """How many registers there are."""

    def get(self, index: int) -> Range:
        """What a register describes."""

    def set(self, index: int, it: Range) -> None:
        """Write a register on every CPU; size 0 frees it."""

    def check(self, it: Range) -> str | None:
        """What is wrong with a new range: the line that is printed, perhaps empty; or None."""

    def find_free(self, base: int, size: int, replace: int) -> int | None:
        """The register that takes a new range; None if none is free."""

    def has_write_combining(self) -> bool:
        """Whether ranges can be write-combining."""


def alignment_fault(it: Range, long_mask: int) -> str | None:
    """The line that is printed for a range which is not an aligned power of two, or None."""
    base, last = it.base, it.base + it.size - 1 & long_mask
    while not base & 1 and last & 1:
        base, last = base >> 1, last >> 1

    if base == last:
        return None

    return f"mtrr: base(0x{it.base:x}000) is not aligned on a size(0x{it.size:x}000) boundary"
