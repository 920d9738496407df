"""The calls that Linux answers, and the least and the most of each number that they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub_linux.memtype_calls import MEMTYPE_OPS

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
#: The calls of drivers.
DRIVER_OPS: Final = frozenset(
    {
        "add",
        "add_page",
        "del",
        "del_page",
        "wc_add",
        "wc_del",
        "lookup",
        "save_fixed",
        "table",
        *MEMTYPE_OPS,
    }
)


def check_numbers(args: Mapping[str, Any]) -> None:
    """Refuse arguments that are no numbers of the kernel's.

    Raises:
        ValueError: names the argument.
    """
    for name, value in args.items():
        if name in _NUMBERS:
            low, high = _NUMBERS[name]
            if not isinstance(value, int):
                raise ValueError(f"{name} {value!r:.80} is not an integer")

            if not low <= value <= high:
                raise ValueError(f"{name} {value:#x} is not between {low:#x} and {high:#x}")
