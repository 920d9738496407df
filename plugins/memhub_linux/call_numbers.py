"""The least and the most of each number that a call takes."""

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
