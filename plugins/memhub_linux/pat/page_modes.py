"""The modes of a page table entry, and the palette that the PAT register gives.

Source: Linux 6.18 `arch/x86/mm/pat/memtype.c` (pat_bp_init, init_cache_modes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The modes, by the kernel's numbers (`enum page_cache_mode`).
MODES: Final = ("WB", "WC", "UC-", "UC", "WT", "WP")
#: What the kernel calls them.
MODE_NAMES: Final[Mapping[str, str]] = {
    "WB": "write-back",
    "WC": "write-combining",
    "UC-": "uncached-minus",
    "UC": "uncached",
    "WT": "write-through",
    "WP": "write-protected",
}
#: The entries of the PAT register by their three bits; other values are reserved.
_ENTRIES: Final[Mapping[int, str]] = {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB", 7: "UC-"}
_BITS: Final[Mapping[str, int]] = {mode: bits for bits, mode in _ENTRIES.items()}

#: Without page attributes; with the lower four entries only; and with all eight.
NO_PAT: Final = ("WB", "WT", "UC-", "UC", "WB", "WT", "UC-", "UC")
HALF_PAT: Final = ("WB", "WC", "UC-", "UC", "WB", "WC", "UC-", "UC")
FULL_PAT: Final = ("WB", "WC", "UC-", "UC", "WB", "WP", "UC-", "WT")

#: The entry of a mode that the palette does not have.
_DEFAULTS: Final[Mapping[str, int]] = {"WB": 0, "UC": 3}


def pack_palette(entries: tuple[str, ...]) -> int:
    """The PAT register of eight entries."""
    return sum(_BITS[mode] << 8 * index for index, mode in enumerate(entries))


def unpack_palette(value: int) -> tuple[str, ...]:
    """The eight entries of a PAT register; reserved ones are `WB`, as the kernel takes them."""
    return tuple(_ENTRIES.get(value >> 8 * index & 7, "WB") for index in range(8))


def real_modes(palette: tuple[str, ...]) -> dict[str, str]:
    """What a mapping of each mode really gets: the entry of UC- where the palette has none."""
    return {
        mode: palette[palette.index(mode) if mode in palette else _DEFAULTS.get(mode, 2)]
        for mode in MODES
    }
