"""The calls that Linux answers, and the least and the most of each number that they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_U32: Final = 0xFFFFFFFF
_U64: Final = 0xFFFFFFFFFFFFFFFF
_S32: Final = (-(1 << 31), (1 << 31) - 1)
_S64: Final = (-(1 << 63), (1 << 63) - 1)
_NUMBERS: Final = {
    **dict.fromkeys(("base", "size", "start", "end"), (0, _U64)),
    "pfn": (0, _U64 >> 12),
    "pid": (0, _S32[1]),
    **dict.fromkeys(("type", "regnum"), (0, _U32)),
    **dict.fromkeys(("reg", "handle", "whence"), _S32),
    **dict.fromkeys(("offset", "length"), _S64),
}
#: What an ioctl may ask for.
COMMANDS: Final = frozenset(
    word + page for word in ("ADD", "SET", "DEL", "KILL", "GET") for page in ("", "_PAGE")
)
#: The calls of a process through an open file.
FILE_OPS: Final = frozenset({"open", "close", "read", "seek", "write", "ioctl"})
_CALLER: Final = "command pid no_memory"
#: The calls of drivers, each with the names of its arguments.
DRIVER_ARGUMENTS: Final[Mapping[str, frozenset[str]]] = {
    op: frozenset(names.split())
    for op, names in {
        **dict.fromkeys(("add", "add_page"), "base size type increment"),
        **dict.fromkeys(("del", "del_page"), "base size reg"),
        "wc_add": "base size",
        "wc_del": "handle",
        "lookup": "start end",
        "memtype_reserve": f"start end want substitute {_CALLER}",
        "memtype_free": f"start end {_CALLER}",
        "memtype_reserve_io": f"start end want {_CALLER}",
        "memtype_free_io": f"start end {_CALLER}",
        "io_reserve_memtype_wc": f"start size {_CALLER}",
        "io_free_memtype_wc": f"start size {_CALLER}",
        "pfnmap_track": f"pfn size want {_CALLER}",
        "pfnmap_setup": f"pfn size want {_CALLER}",
        "pfnmap_untrack": f"pfn size {_CALLER}",
        "pfn_immune_to_uc_mtrr": "pfn",
        "dev_mem_prot": "sync range_allowed",
        **dict.fromkeys(("save_fixed", "table", "memtype_list", "memtype_table"), ""),
    }.items()
}


def check_numbers(args: Mapping[str, Any]) -> None:
    """Refuse arguments that are no numbers of the kernel's.

    Raises:
        ValueError: names the argument.
    """
    for name, value in args.items():
        if name in _NUMBERS:
            low, high = _NUMBERS[name]
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"{name} {value!r:.80} is not an integer")

            if not low <= value <= high:
                raise ValueError(f"{name} {value:#x} is not between {low:#x} and {high:#x}")
