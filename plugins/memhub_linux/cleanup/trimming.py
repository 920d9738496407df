"""The trimming of RAM that no write-back range covers.

Source: Linux 6.18 `arch/x86/kernel/cpu/mtrr/cleanup.c` (mtrr_trim_uncached_memory).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memhub_linux.cleanup.extents import Extents
from memhub_linux.cleanup.planner import FOUR_GIB, Cleanup, count_types, tom2_pages
from memhub_linux.registers.cpus import DEF_TYPE
from memhub_linux.registers.type_map import UC, WB
from memhub_linux.texts import TYPE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Trim(NamedTuple):
    """What became of RAM that no write-back range covers.

    Attributes:
        end_page: one past the last page of RAM.
        trimmed: whether RAM was lost.
        reserved: the spans that were reserved, first byte and length; they may have no RAM.
    """

    end_page: int
    trimmed: bool
    reserved: list[tuple[int, int]]


def trim_memory(cleanup: Cleanup, ram: Sequence[tuple[int, int]], *, changed: bool) -> Trim:
    """Reserve RAM that no write-back range covers (mtrr_trim_uncached_memory).

    Args:
        cleanup: the planner, after boot.
        ram: the RAM, first byte and one past the last.
        changed: whether the planner changed the registers.
    """
    end_page = max((end for _, end in ram), default=0) >> 12
    nothing = Trim(end_page, trimmed=False, reserved=[])
    back, log = cleanup.back, cleanup.log
    if "disable_mtrr_trim" in dict(cleanup.machine.options):
        return nothing

    if cleanup.cpus.read(0, DEF_TYPE) & 0xFF != UC:
        return nothing

    rows = [back.get(it) for it in range(back.count)]
    if not any(it.type == WB and it.base + it.size for it in rows):
        log.add("info", "CPU MTRRs all blank - virtualized system.")
        return nothing

    counts = count_types(rows)
    if not counts[WB] or counts[WB] + counts[UC] != len(rows) - counts[len(TYPE_NAMES)]:
        return nothing

    covered = Extents()
    tom2 = tom2_pages(back.tom2)
    if tom2 is not None:
        covered.append(FOUR_GIB, back.tom2 >> 12)

    cleanup.collect(covered, rows, None)
    reserved = [(start << 12, end - start << 12) for start, end in _gaps(covered, end_page)]
    lost = sum(
        max(0, min(end, start + length) - max(begin, start))
        for start, length in reserved
        for begin, end in ram
    )
    if lost:
        log.add(
            "warn",
            "WARNING: BIOS bug: CPU MTRRs don't cover all of memory, losing "
            f"{lost >> 20}MB of RAM.",
        )
        if not changed:
            log.add("WARN", "1")

        log.add("info", "update e820 for mtrr")

    return Trim(end_page, bool(lost), reserved)


def cut_spans(
    ram: Sequence[tuple[int, int]], lost: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """RAM without spans of first byte and length; RAM is first byte and one past the last."""
    kept = Extents()
    for start, end in ram:
        kept.add(start, end)

    for start, length in lost:
        kept.subtract(start, start + length)

    return kept.rows()


def _gaps(covered: Extents, end_page: int) -> Iterator[tuple[int, int]]:
    """Head, holes and top that are not covered, in pages."""
    at = 0
    for start, end in covered.rows():
        if at < start:
            yield at, start

        at = end

    if at < end_page:
        yield at, end_page
