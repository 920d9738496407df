"""What drivers of a hub's machine ask of Linux's page-attribute reservations.

The names are those of the kernel's functions: `memtype_reserve`, `memtype_free`,
`memtype_reserve_io`, `memtype_free_io`, `arch_io_reserve_memtype_wc` and its opposite,
`pfnmap_track`, `pfnmap_setup_cachemode`, `pfnmap_untrack`, `pat_pfn_immune_to_uc_mtrr`,
`phys_mem_access_prot_allowed` (Linux 6.18 `arch/x86/mm/pat/memtype.c`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub_linux.pat.boot import PAT_REGISTER, boot_page_attributes
from memhub_linux.pat.mappings import (
    allow_dev_mem,
    reserve_io,
    set_up_mode,
    track_pages,
    untrack_pages,
)
from memhub_linux.pat.memtype import Memtype, Reservation, Task
from memhub_linux.pat.page_modes import FULL_PAT, MODES, NO_PAT, pack_palette
from memhub_linux.pat.page_runs import PageRun, PageRuns
from memhub_linux.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub_linux.mtrr.layer import LinuxMtrr
    from memhub_linux.served.frozen import LinuxSetting

    Args = Mapping[str, Any]

#: The file that lists the reservations, which only root finds.
MEMTYPE_LIST: Final = "/sys/kernel/debug/x86/pat_memtype_list"
#: Modes that cannot be changed by an MTRR that says uncacheable.
_IMMUNE: Final = frozenset({"UC", "UC-", "WC"})
_PAGE_BITS: Final = 12


def call_memtype(memtype: Memtype, op: str, args: Args) -> Any:  # noqa: ANN401 - each has its own
    """Make a call.

    Args:
        memtype: the reservations, which change.
        op: one of `MEMTYPE_OPS`.
        args: its arguments.

    Raises:
        Refused: the kernel answers an error.
        KeyError: an argument is missing.
        ValueError: an argument is wrong.
    """
    _check_arguments(args)
    task = Task(args.get("command", "swapper"), args.get("pid", 0))

    return _CALLS[op](memtype, args, task)


def check_list(item: Mapping[str, Any] | None, *, admin: bool) -> None:
    """Check that the list can be opened.

    Args:
        item: the reservations, frozen.
        admin: whether the process is root.

    Raises:
        Refused: EACCES to others than root; ENOENT without page attributes.
    """
    if not admin:
        raise Refused("EACCES", "only root opens debugfs")

    if item is None or not item["enabled"]:
        raise Refused("ENOENT", "the kernel does not use page attributes, and has no list of them")


def _check_arguments(args: Args) -> None:
    if args.get("want", "WB") not in MODES:
        raise ValueError(f"want {args['want']!r:.80} is no mode (modes: {', '.join(MODES)})")

    if not isinstance(args.get("command", ""), str):
        raise ValueError(f"command {args['command']!r:.80} is no text")

    for name in ("substitute", "no_memory", "sync", "range_allowed"):
        if args.get(name, True) not in (True, False):
            raise ValueError(f"{name} {args[name]!r:.80} is not true or false")


def _reserve(memtype: Memtype, args: Args, task: Task) -> dict[str, str]:
    got = memtype.reserve(
        args["start"],
        args["end"],
        args["want"],
        substitute=args.get("substitute", True),
        no_memory=args.get("no_memory", False),
        task=task,
    )

    return {"got": got}


def _free(memtype: Memtype, args: Args, task: Task) -> None:
    memtype.free(args["start"], args["end"], task=task)


def _reserve_io(memtype: Memtype, args: Args, task: Task) -> dict[str, str]:
    return {"got": reserve_io(memtype, args["start"], args["end"], args["want"], task)}


def _free_io(memtype: Memtype, args: Args, task: Task) -> None:
    _free_span(memtype, args["start"], args["end"], task)


def _reserve_wc(memtype: Memtype, args: Args, task: Task) -> None:
    reserve_io(memtype, args["start"], args["start"] + args["size"], "WC", task)


def _free_wc(memtype: Memtype, args: Args, task: Task) -> None:
    _free_span(memtype, args["start"], args["start"] + args["size"], task)


def _free_span(memtype: Memtype, start: int, end: int, task: Task) -> None:
    """Free for a caller that is told nothing of it."""
    try:
        memtype.free(start, end, task=task)
    except Refused:
        return


def _track(memtype: Memtype, args: Args, task: Task) -> dict[str, str]:
    asked = memtype.real_mode(args["want"])
    got = track_pages(memtype, args["pfn"] << _PAGE_BITS, args["size"], asked, task)

    return {"asked": asked, "got": memtype.real_mode(got)}


def _set_up(memtype: Memtype, args: Args, _task: Task) -> dict[str, str]:
    asked = memtype.real_mode(args["want"])
    got = set_up_mode(memtype, args["pfn"] << _PAGE_BITS, args["size"], asked)

    return {"asked": asked, "got": memtype.real_mode(got)}


def _untrack(memtype: Memtype, args: Args, task: Task) -> None:
    untrack_pages(memtype, args["pfn"] << _PAGE_BITS, args["size"], task)


def _is_immune(memtype: Memtype, args: Args, _task: Task) -> bool:
    return memtype.mode_of(args["pfn"] << _PAGE_BITS) in _IMMUNE


def _dev_mem(memtype: Memtype, args: Args, _task: Task) -> dict[str, Any]:
    allowed = args.get("range_allowed", True)
    got = allow_dev_mem(memtype, sync=args.get("sync", False), range_allowed=allowed)

    return {"allowed": got is not None, "got": got or "WB"}


def _list(memtype: Memtype, _args: Args, _task: Task) -> str:
    return memtype.list_text()


def _table(memtype: Memtype, _args: Args, _task: Task) -> dict[str, Any]:
    """The reservations, the RAM pages that are not write-back, and what mappings get."""
    return {
        "enabled": memtype.enabled,
        "modes": {mode: memtype.real_mode(mode) for mode in MODES},
        "reservations": [[*it] for it in memtype.reservations],
        "pages": [[it.first, it.end - 1, it.mode] for it in memtype.pages],
    }


_CALLS: Final[Mapping[str, Callable[[Memtype, Args, Task], Any]]] = {
    "memtype_reserve": _reserve,
    "memtype_free": _free,
    "memtype_reserve_io": _reserve_io,
    "memtype_free_io": _free_io,
    "io_reserve_memtype_wc": _reserve_wc,
    "io_free_memtype_wc": _free_wc,
    "pfnmap_track": _track,
    "pfnmap_setup": _set_up,
    "pfnmap_untrack": _untrack,
    "pfn_immune_to_uc_mtrr": _is_immune,
    "dev_mem_prot": _dev_mem,
    "memtype_list": _list,
    "memtype_table": _table,
}
#: The calls.
MEMTYPE_OPS: Final = frozenset(_CALLS)


# At boot, and as data


def boot_memtype(setting: LinuxSetting, kernel: LinuxMtrr) -> Memtype | None:
    """Set up page attributes, in the place where the kernel does; its RAM is not known yet."""
    if setting.page_attributes == "booted":
        debug = any(name == "debugpat" for name, _ in setting.machine.options)
        return boot_page_attributes(kernel, (), debug=debug)

    if setting.page_attributes == "given":
        on = setting.machine.pat
        return Memtype(kernel, (), on, FULL_PAT if on else NO_PAT)

    return None


def freeze_memtype(memtype: Memtype) -> dict[str, Any]:
    """The reservations as plain values."""
    return {
        "enabled": memtype.enabled,
        "palette": list(memtype.palette),
        "ram": [_texts(it) for it in memtype.ram],
        "reservations": [[*_texts(it[:2]), it.mode] for it in memtype.reservations],
        "pages": [[*_texts(it[:2]), it.mode] for it in memtype.pages],
        "warned": memtype.warned,
    }


def thaw_memtype(kernel: LinuxMtrr, item: Mapping[str, Any]) -> Memtype:
    """The reservations as they were when they were frozen; they may change."""
    spans = [(int(first, 16), int(last, 16)) for first, last in item["ram"]]
    memtype = Memtype(kernel, spans, item["enabled"], tuple(item["palette"]))
    memtype.debug = any(name == "debugpat" for name, _ in kernel.machine.options)
    memtype.reservations = [
        Reservation(int(start, 16), int(end, 16), mode) for start, end, mode in item["reservations"]
    ]
    memtype.pages = PageRuns(
        PageRun(int(first, 16), int(end, 16), mode) for first, end, mode in item["pages"]
    )
    memtype.warned = item["warned"]

    return memtype


def restore_palette(kernel: LinuxMtrr, item: Mapping[str, Any]) -> None:
    """Write the palette into every CPU at a wake-up, where page attributes are in use."""
    if not item["enabled"]:
        return

    kernel.cpus.write_all(PAT_REGISTER, pack_palette(tuple(item["palette"])))


def _texts(values: tuple[int, ...]) -> list[str]:
    return [f"{it:#x}" for it in values]
