"""Page tables of x86 in an image: kernel virtual addresses to physical ones, as the CPU walks them.

Sources: Intel SDM volume 3, chapter 4 (32-bit, PAE and 4-level paging); where the top table of
FreeBSD's kernel is: kvm_open(3) and `lib/libkvm` of FreeBSD, which reads the same symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from memhub.arguments import take_integer
from memhub.errors import BadAddress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.kvm.stretches import Stretches

#: Formats of page tables: of 32-bit paging, of PAE, of 4-level paging.
TableFormat = Literal["i386", "pae", "amd64"]
#: The formats that `open_image` translates by.
TABLE_FORMATS: Final[tuple[TableFormat, ...]] = get_args(TableFormat)

_PRESENT: Final = 1
_LARGE: Final = 1 << 7
#: The address bits of an entry of 8 bytes, and of one of 4.
_FRAME_8: Final = (1 << 52) - (1 << 12)
_FRAME_4: Final = (1 << 32) - (1 << 12)


@dataclass(frozen=True, slots=True)
class Level:
    """One level of page tables.

    Attributes:
        name: what its entries are called.
        shift: how many bits of an address an entry covers.
        bits: how many bits of an address choose the entry.
        large: whether an entry may be a page itself.
    """

    name: str
    shift: int
    bits: int
    large: bool = False


@dataclass(frozen=True, slots=True)
class Paging:
    """One format of page tables.

    Attributes:
        levels: from the top.
        entry: bytes of an entry.
        frame: the bits of an entry that are an address.
        root: the bits of CR3 that are an address.
        symbol: the kernel's variable that has the physical address of the top table.
        pointer: bytes of that variable.
    """

    levels: tuple[Level, ...]
    entry: int
    frame: int
    root: int
    symbol: str
    pointer: int


_TABLE: Final = Level("page table entry", 12, 9)
_DIRECTORY: Final = Level("page directory entry", 21, 9, large=True)
#: How each format is walked.
PAGING: Final[Mapping[TableFormat, Paging]] = {
    "i386": Paging(
        (Level("page directory entry", 22, 10, large=True), Level("page table entry", 12, 10)),
        4,
        _FRAME_4,
        _FRAME_4,
        "IdlePTD",
        4,
    ),
    "pae": Paging(
        (Level("page directory pointer", 30, 2), _DIRECTORY, _TABLE),
        8,
        _FRAME_8,
        (1 << 32) - (1 << 5),
        "IdlePDPT",
        4,
    ),
    "amd64": Paging(
        (
            Level("PML4 entry", 39, 9),
            Level("page directory pointer", 30, 9, large=True),
            _DIRECTORY,
            _TABLE,
        ),
        8,
        _FRAME_8,
        _FRAME_8,
        "KPML4phys",
        8,
    ),
}


class PageTables:
    """The page tables of one address space.

    Args:
        paging: their format.
        root: the physical address of the top table, as CR3 has it: its flags do not count.
        memory: the physical memory of the image.
    """

    def __init__(self, paging: Paging, root: int, memory: Stretches) -> None:
        self._paging = paging
        self._root = root & paging.root
        self._memory = memory

    def physical(self, address: int) -> tuple[int, int]:
        """Translate one address.

        A walk ends at the last level, also where a table is its own entry, as it is in a
        recursive map.

        Args:
            address: virtual.

        Returns:
            the physical address, and how many bytes from there on are in the same page.

        Raises:
            BadAddress: EFAULT; the address is none of this format, an entry on the way is not
                present or not sound, or a table is not in the image.
        """
        paging, shown = self._paging, f"kernel address {address:#x}"
        self._check(address)
        table = self._root
        for level in paging.levels:
            place = table + (address >> level.shift & (1 << level.bits) - 1) * paging.entry
            packed = self._memory.read(place, paging.entry)
            if len(packed) < paging.entry:
                raise BadAddress(f"{shown}: its {level.name} at {place:#x} is not in the image")

            entry = int.from_bytes(packed, "little")
            named = f"{level.name} {entry:#x} at {place:#x}"
            if not entry & _PRESENT:
                raise BadAddress(f"{shown} is not mapped: its {named} is not present")

            if level.shift == 12 or (level.large and entry & _LARGE):
                size = 1 << level.shift
                rest = address & (size - 1)

                return self._page(entry, level, f"{shown}: its {named}") + rest, size - rest

            if entry & _LARGE and not level.large:
                raise BadAddress(f"{shown}: its {named} has the reserved bit 7 set")

            table = entry & paging.frame

        raise AssertionError("the last level has pages")

    def _check(self, address: int) -> None:
        if self._paging.levels[0].shift < 39:
            if address >= 1 << 32:
                raise BadAddress(f"kernel address {address:#x} has more than 32 bits")
        elif address >> 47 not in (0, (1 << 17) - 1):
            raise BadAddress(f"kernel address {address:#x} is not canonical (48 bits)")

    def _page(self, entry: int, level: Level, shown: str) -> int:
        """The first byte of the page that an entry maps."""
        if level.shift == 12:
            return entry & self._paging.frame

        if self._paging.entry == 8:
            return page_of(entry, level.shift, shown)

        if entry >> 21 & 1:
            raise BadAddress(f"{shown} has the reserved bit 21 set")

        return entry & ~((1 << level.shift) - 1) | (entry >> 13 & 0xFF) << 32  # PSE-36


def page_of(entry: int, shift: int, shown: str) -> int:
    """The first byte of the page that an entry of 8 bytes maps.

    Args:
        entry: the entry, which is present.
        shift: how many bits of an address the page covers.
        shown: what it is, for the refusal.

    Raises:
        BadAddress: EFAULT; a large page is not aligned.
    """
    size = 1 << shift
    if entry & (size - 1) & ~((1 << 13) - 1):  # bit 12 is the PAT bit of a large page
        raise BadAddress(f"{shown} maps a page of {size:#x} bytes that is not aligned")

    return entry & _FRAME_8 & ~(size - 1)


def find_root(
    paging: Paging, memory: Stretches, symbols: Mapping[str, int], cr3: int | None
) -> int:
    """The physical address of the top table.

    Args:
        paging: the format.
        memory: the physical memory of the image.
        symbols: the kernel's.
        cr3: what the caller says; None reads the kernel's own variable, by its symbols.

    Raises:
        ValueError: says what is missing, or that the image does not have it.
    """
    name = paging.symbol
    if cr3 is not None:
        root = take_integer("cr3", cr3)
        if not 0 <= root < 1 << 64:
            raise ValueError(f"cr3 {root:#x} does not fit 64 bits")

        return root

    for needed in ("kernbase", name):
        if needed not in symbols:
            raise ValueError(f"the kernel has no symbol {needed!r}: give cr3")

    place = symbols[name] - symbols["kernbase"]
    packed = memory.read(place, paging.pointer) if place >= 0 else b""
    if len(packed) < paging.pointer:
        raise ValueError(
            f"{name} is at the physical address {place:#x} (less kernbase), which is not in the "
            "image: give cr3"
        )

    return int.from_bytes(packed, "little")
