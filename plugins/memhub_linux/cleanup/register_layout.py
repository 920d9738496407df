"""Write-back spans to variable ranges, with a granularity and a chunk size.

Source: Linux 6.18 `arch/x86/kernel/cpu/mtrr/cleanup.c` (x86_setup_var_mtrrs,
range_to_mtrr_with_hole, range_to_mtrr).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from memhub_linux.registers.ranges import Range
from memhub_linux.registers.type_map import UC, WB
from memhub_linux.texts import in_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LONG: Final = (1 << 64) - 1


class Try(NamedTuple):
    """What the planner tries, in bytes."""

    grain: int
    chunk: int


class Layout:
    """Registers that are given out one after the other; sizes are KiB.

    Args:
        count: how many registers there are.
        tried: the granularity and the chunk size.
        tell: takes lines for the log.

    Attributes:
        ranges: what each register holds, in pages.
    """

    def __init__(self, count: int, tried: Try, tell: Callable[[str], None]) -> None:
        self._count = count
        self._grain, self._chunk = tried.grain >> 10, tried.chunk >> 10
        self._tell = tell
        self._used = self._start = self._size = 0
        self.ranges = [Range(0, 0, 0)] * count

    def lay_out(self, spans: Iterable[tuple[int, int]]) -> int:
        """Give registers to spans of pages, in order; how many they take."""
        for start, end in spans:
            self._take_span(start << 2, end - start << 2)

        if self._size:
            self._write_with_hole(0, 0)

        return self._used

    def _take_span(self, base: int, size: int) -> None:
        if self._used >= self._count:
            return

        if base <= 1024 or self._start + self._size == base:
            self._size = base + size - self._start
            return

        second = self._write_with_hole(base, size) if self._size else 0
        self._start, self._size = base + second, size - second

    def _write_with_hole(self, base: int, size: int) -> int:
        """Write the span so far, perhaps with a hole and some of the next one, `base` on.

        Returns:
            how much of the next span is written with it.
        """
        start = _align(self._start, self._grain)
        if start > base and base:
            return 0

        self._size = self._size - (start - self._start) & _LONG  # wraps, as the kernel's does
        left = _align(self._size, self._grain)
        while left > self._size:
            left -= self._grain
            if not left:
                return 0

        self._size = left
        whole = _align(left, self._chunk)
        if whole == left:
            self._tell(f"rangeX: {self._start << 10:016x} - {self._start + left << 10:016x}")
            self._write(self._start, left, WB)
            return 0

        if size:
            whole = self._cut_back(whole, base + size)

        whole, second, hole = self._find_hole(whole, base, size)
        self._write_parts(whole, second, hole)

        return second

    def _cut_back(self, whole: int, end: int) -> int:
        while self._start + whole > end:
            whole = whole - self._chunk if whole >= self._chunk else 0
            if not whole:
                break

        return whole

    def _find_hole(self, whole: int, base: int, size: int) -> tuple[int, int, int]:
        """How much is written whole, how much of it is the next span's, and its hole."""
        second = 0
        while True:
            end = self._start + whole
            if base < end <= base + size:
                second = end - base

            if whole <= self._size:
                return whole, second, 0

            hole = whole - self._size - second
            if hole < whole >> 1 or whole < self._chunk:
                return whole, second, hole

            whole, second = whole - self._chunk, 0

    def _write_parts(self, whole: int, second: int, hole: int) -> None:
        start, end = self._start, self._start + whole
        if whole:
            self._tell(f"range0: {start << 10:016x} - {end << 10:016x}")
            self._write(start, whole, WB)

        if whole < self._size:
            left = self._size - whole
            self._tell(f"range: {end << 10:016x} - {end + left << 10:016x}")
            self._write(end, left, WB)

        if hole:
            first = end - hole - second
            self._tell(f"hole: {first << 10:016x} - {first + hole << 10:016x}")
            self._write(first, hole, UC)

    def _write(self, start: int, size: int, type_: int) -> None:
        """Give registers to one span: aligned powers of two, the greatest that fit."""
        while size and self._used < self._count:
            most = (start & -start).bit_length() - 1 if start else 63
            part = 1 << min(size.bit_length() - 1, most)
            self._tell(
                f"Setting variable MTRR {self._used}, base: {in_units(start)}B, "
                f"range: {in_units(part)}B, type {'UC' if type_ == UC else 'WB'}"
            )
            self.ranges[self._used] = Range(start >> 2, part >> 2, type_)
            self._used += 1
            start, size = start + part, size - part


def _align(value: int, unit: int) -> int:
    return value + unit - 1 & ~(unit - 1) & _LONG
