"""The boot-time planner of variable ranges (`enable_mtrr_cleanup`).

The planner wants every range write-back except the holes that firmware cut out with uncachable
ones, and tries to say the same with fewer registers. What it tries, and in which order, is the
kernel's; `memhub plan` finds the fewest.

Source: Linux 6.18 `arch/x86/kernel/cpu/mtrr/cleanup.c`, `kernel/range.c`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub_linux.cleanup.extents import Extents
from memhub_linux.cleanup.register_layout import Layout, Try
from memhub_linux.registers.cpus import DEF_TYPE
from memhub_linux.registers.generic import FIXED_ENABLED, MTRR_ENABLED, VALID
from memhub_linux.registers.type_map import UC, WB, WP
from memhub_linux.texts import TYPE_NAMES, in_units

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub_linux.machine import KernelLog, LinuxMachine
    from memhub_linux.registers.cpus import Cpus
    from memhub_linux.registers.generic import GenericMtrrs
    from memhub_linux.registers.ranges import Range

#: Pages up to 1 MiB, and up to 4 GiB.
_LOW: Final = 0x100
FOUR_GIB: Final = 1 << 20
_LEAST_GRAIN: Final = 1 << 16
_GRAIN_END: Final = 1 << 32


class Result(NamedTuple):
    """What one try came to.

    Attributes:
        grain_k: granularity, KiB.
        chunk_k: chunk size, KiB.
        registers: how many it takes.
        lost_k: RAM that it does not cover, KiB; where it is bad, what it covers too much.
        bad: whether it covers what must not be covered.
    """

    grain_k: int
    chunk_k: int
    registers: int
    lost_k: int
    bad: bool

    def __str__(self) -> str:
        return (
            f"{'*BAD*' if self.bad else ' '}gran_size: {in_units(self.grain_k)} \t"
            f"chunk_size: {in_units(self.chunk_k)} \tnum_reg: {self.registers}  \t"
            f"lose cover RAM: {'-' if self.bad else ''}{in_units(self.lost_k)}"
        )


@dataclass
class Cleanup:
    """The planner of one boot.

    Attributes:
        machine: the machine, with the options of the kernel.
        back: the registers.
        cpus: what holds them.
        log: takes what is printed.
    """

    machine: LinuxMachine
    back: GenericMtrrs
    cpus: Cpus
    log: KernelLog

    def clean(self) -> bool:
        """Plan the registers anew; False where nothing is changed."""
        options, back = self.machine.options, self.back
        if not _is_enabled(options) or self.cpus.read(0, DEF_TYPE) & 0xFF != UC:
            return False

        rows = [back.get(it) for it in range(back.count)]
        if not _needs_cleanup(rows):
            return False

        self._debug("original variable MTRRs")
        self._print_rows(rows)
        extents = Extents()
        extents.add(0, _LOW)
        self._collect(extents, rows)
        self.log.add("info", f"total RAM covered: {extents.total() >> 8}M")
        found = self._find(extents)
        if found is None:
            return False

        for index, it in enumerate(found):
            back.variable[index] = self._registers_of(it)

        self._debug("New variable MTRRs")
        self._print_rows(found)

        return True

    def _find(self, extents: Extents) -> list[Range] | None:
        """The rows that are taken; None where there are none."""
        options = dict(self.machine.options)
        chunk = parse_size(options.get("mtrr_chunk_size", "0"))
        grain = parse_size(options.get("mtrr_gran_size", "0"))
        if chunk and grain:
            result, rows = self._try(extents, Try(grain, chunk))
            self.log.add("info", str(result))
            if not result.bad:
                return rows

            self.log.add("info", "invalid mtrr_gran_size or mtrr_chunk_size, will find optimal one")

        results = []
        for it in _tries():
            results.append(self._try(extents, it)[0])
            if self.machine.debug:
                self.log.add("info", str(results[-1]))
                self.log.add("info", "")

        best = self._find_best(results)
        if best is None:
            for result in results:
                self.log.add("info", str(result))

            self.log.add("info", "mtrr_cleanup: can not find optimal value")
            self.log.add("info", "please specify mtrr_gran_size/mtrr_chunk_size")
            return None

        self.log.add("info", "Found optimal setting for mtrr clean up")
        self.log.add("info", str(best))

        return self._lay_out(extents, Try(best.grain_k << 10, best.chunk_k << 10))[1]

    def _find_best(self, results: Sequence[Result]) -> Result | None:
        count = self.back.count
        spare = min(int(dict(self.machine.options).get("mtrr_spare_reg_nr", "1")), count - 1)
        lossless = [it for it in results if not it.bad and not it.lost_k]
        fewest = min(
            (it.registers for it in lossless if 0 < it.registers <= count - spare), default=None
        )

        return next((it for it in lossless if it.registers == fewest), None)

    def _lay_out(self, extents: Extents, it: Try) -> tuple[int, list[Range]]:
        layout = Layout(self.back.count, it, self._debug)
        used = layout.lay_out(extents.rows())

        return used, layout.ranges

    def _try(self, extents: Extents, it: Try) -> tuple[Result, list[Range]]:
        used, rows = self._lay_out(extents, it)
        covered = Extents()
        self._collect(covered, rows)
        wanted, got = extents.total(), covered.total()
        bad = wanted < got
        if not bad and wanted == got and covered.rows() != extents.rows():
            bad = True

        return Result(it.grain >> 10, it.chunk >> 10, used, abs(wanted - got) << 2, bad), rows

    def _collect(self, extents: Extents, rows: Sequence[Range]) -> None:
        """What rows make write-back, without the part that AMD's TOM2 does."""
        self.collect(extents, rows, tom2_pages(self.back.tom2))

    def collect(
        self, extents: Extents, rows: Sequence[Range], removed: tuple[int, int] | None
    ) -> None:
        """Add what rows make write-back (x86_get_mtrr_mem_range).

        Args:
            extents: takes it.
            rows: the variable ranges.
            removed: a span that is taken out, or None.
        """
        for base, size, type_ in rows:
            if type_ == WB:
                extents.add(base, base + size)

        self._print_extents("After WB checking", extents.in_place())
        for index, (base, size, type_) in enumerate(rows):
            if type_ not in (UC, WP) or not size:
                continue

            if base < _LOW and self._has_fixed():
                self.log.add(
                    "warn",
                    f"WARNING: BIOS bug: VAR MTRR {index} contains strange UC entry under 1M, "
                    "check with your system vendor!",
                )
                if base + size <= _LOW:
                    continue

                base, size = _LOW, size - (_LOW - base)

            extents.subtract(base, base + size)

        if removed is not None:
            extents.subtract(*removed)

        self._print_extents("After UC checking", extents.in_place())
        extents.sort()
        self._print_extents("After sorting", extents.in_place())

    def _has_fixed(self) -> bool:
        both = MTRR_ENABLED | FIXED_ENABLED

        return self.back.have_fixed and self.back.enabled & both == both

    def _registers_of(self, it: Range) -> list[int]:
        if not it.size:
            return [0, 0]

        mask = (1 << self.machine.phys_bits) - 1 & ~((it.size << 12) - 1)

        return [it.base << 12 | it.type, mask | VALID]

    # What is printed

    def _debug(self, line: str) -> None:
        if self.machine.debug:
            self.log.add("info", line)

    def _print_extents(self, head: str, rows: Sequence[tuple[int, int]]) -> None:
        self._debug(head)
        for start, end in rows:
            self._debug(f"MTRR MAP PFN: {start:016x} - {end:016x}")

    def _print_rows(self, rows: Sequence[Range]) -> None:
        for index, (base, size, type_) in enumerate(rows):
            if size:
                word = {UC: "UC", WP: "WP", WB: "WB"}.get(type_, "Other")
                self._debug(
                    f"reg {index}, base: {in_units(base << 2)}B, range: {in_units(size << 2)}B, "
                    f"type {word}"
                )


def tom2_pages(tom2: int) -> tuple[int, int] | None:
    """The pages that AMD's TOM2 makes write-back, or None."""
    return (FOUR_GIB, tom2 >> 12) if tom2 else None


def _tries() -> Iterator[Try]:
    grain = _LEAST_GRAIN
    while grain < _GRAIN_END:
        chunk = grain
        while chunk < _GRAIN_END:
            yield Try(grain, chunk)
            chunk <<= 1

        grain <<= 1


def _is_enabled(options: Sequence[tuple[str, str]]) -> bool:
    enabled = False
    for name, _ in options:
        if name in ("enable_mtrr_cleanup", "disable_mtrr_cleanup"):
            enabled = name.startswith("enable")

    return enabled


def _needs_cleanup(rows: Sequence[Range]) -> bool:
    """Whether there are uncachable ranges, and nothing but them and write-back ones."""
    counts = count_types(rows)

    return bool(counts[UC]) and counts[WB] + counts[UC] == len(rows) - counts[len(TYPE_NAMES)]


def count_types(rows: Sequence[Range]) -> list[int]:
    """How many ranges have each type; the last number counts free ones."""
    counts = [0] * (len(TYPE_NAMES) + 1)
    for it in rows:
        if it.type < len(TYPE_NAMES):
            counts[it.type if it.size else len(TYPE_NAMES)] += 1

    return counts


def parse_size(text: str) -> int:
    """A size with a unit: `64K`, `1G`; 0 for what is none."""
    digits = text.rstrip("KMGkmg")
    shift = {"K": 10, "M": 20, "G": 30}.get(text[len(digits) :].upper(), 0)

    return int(digits) << shift if digits.isdecimal() else 0
