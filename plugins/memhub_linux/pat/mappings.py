"""What maps memory with a mode: ioremap, write-combined apertures, mmap of page frames.

Source: Linux 6.18 `arch/x86/mm/pat/memtype.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub_linux.pat.memtype import is_allowed
from memhub_linux.pat.page_modes import MODE_NAMES
from memhub_linux.refused import Refused

if TYPE_CHECKING:
    from memhub_linux.pat.memtype import Memtype, Task


def reserve_io(memtype: Memtype, start: int, end: int, want: str, task: Task) -> str:
    """Reserve a stretch for ioremap (memtype_reserve_io): the mode.

    Raises:
        Refused: EBUSY if the mode that it has must not stand for the one that is wanted; else as
            `Memtype.reserve`.
    """
    got = memtype.reserve(start, end, want, task=task)
    if _stands_for(start, end, want, got):
        return got

    _free_quietly(memtype, start, end, task)
    raise Refused("EBUSY", f"its mode is {got}, which does not stand for {want}")


def _stands_for(start: int, end: int, want: str, got: str) -> bool:
    return (start >= 0xA0000 and end <= 0x100000) or is_allowed(want, got)


def _free_quietly(memtype: Memtype, start: int, end: int, task: Task) -> None:
    try:
        memtype.free(start, end, task=task)
    except Refused:
        return


def track_pages(memtype: Memtype, start: int, size: int, want: str, task: Task) -> str:
    """Map page frames of a device (pfnmap_track): the mode that the mapping gets.

    Raises:
        Refused: EINVAL if the mode must not stand for the one that is wanted; else as
            `Memtype.reserve`.
    """
    end = start + size
    if memtype.is_ram(start, end):
        if not memtype.enabled:
            return want

        got = memtype.mode_of(start)
        if got != want:
            memtype.mtrr.log.add(
                "warn",
                f"x86/PAT: {task} map pfn RAM range req {MODE_NAMES[want]} for "
                f"[mem {start:#010x}-{end - 1:#010x}], got {MODE_NAMES[got]}",
            )

        return got

    got = memtype.reserve(start, end, want, task=task)
    if got != want and not _stands_for(start, end, want, got):
        _free_quietly(memtype, start, end, task)
        memtype.mtrr.log.add(
            "err",
            f"x86/PAT: {task} map pfn expected mapping type {MODE_NAMES[want]} for "
            f"[mem {start:#010x}-{end - 1:#010x}], got {MODE_NAMES[got]}",
        )
        raise Refused("EINVAL")

    return got


def untrack_pages(memtype: Memtype, start: int, size: int, task: Task) -> None:
    """Unmap page frames (pfnmap_untrack)."""
    if not memtype.is_ram(start, start + size):
        _free_quietly(memtype, start, start + size, task)


def set_up_mode(memtype: Memtype, start: int, size: int, want: str) -> str:
    """The mode of page frames that are tracked elsewhere (pfnmap_setup_cachemode).

    Raises:
        Refused: EINVAL; the pages do not have one mode.
    """
    if not memtype.enabled:
        return want

    if not memtype.is_uniform(start, size):
        raise Refused("EINVAL", f"[{start:#x}, {start + size:#x}) has several modes")

    return memtype.mode_of(start)


def allow_dev_mem(memtype: Memtype, *, sync: bool, range_allowed: bool) -> str | None:
    """The mode of an mmap of `/dev/mem` (phys_mem_access_prot_allowed); None where it is refused.

    Args:
        memtype: the reservations.
        sync: whether the file was opened with O_DSYNC.
        range_allowed: whether the kernel lets programs map the range.
    """
    if not memtype.enabled:
        return "WB"

    if not range_allowed:
        return None

    return "UC-" if sync else "WB"
