"""An independent model of x86 page tables: what is mapped, and a writer of tables that say so."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

K4, M2, M4, G1 = 1 << 12, 1 << 21, 1 << 22, 1 << 30
#: By format: how a virtual address is cut, from the top; the struct code of an entry.
CUTS = {
    "i386": ((22, 0x3FF), (12, 0x3FF)),
    "pae": ((30, 3), (21, 0x1FF), (12, 0x1FF)),
    "amd64": ((39, 0x1FF), (30, 0x1FF), (21, 0x1FF), (12, 0x1FF)),
}
CODES = {"i386": "<I", "pae": "<Q", "amd64": "<Q"}
#: Sizes of pages by format.
SIZES = {"i386": (K4, M4), "pae": (K4, M2), "amd64": (K4, M2, G1)}


@dataclass
class TableWriter:
    """Writes page tables into a memory of pages.

    Attributes:
        format: of the tables.
        pages: physical page address to its bytes.
        free: where the next table goes.
        mapped: the model: the first byte of each page of any size, to physical address and size.
    """

    format: str
    pages: dict[int, bytearray] = field(default_factory=dict)
    free: int = 0x10000
    mapped: dict[int, tuple[int, int]] = field(default_factory=dict)
    root: int = 0

    def __post_init__(self) -> None:
        self.root = self._new_table()

    def map(self, virtual: int, physical: int, size: int, flags: int = 0x3) -> bool:
        """Map one page; False where something is mapped there already."""
        if any(it < virtual + size and virtual < it + n for it, (_, n) in self.mapped.items()):
            return False

        table = self.root
        for shift, mask in CUTS[self.format]:
            place = virtual >> shift & mask
            if 1 << shift == size:
                large = 0x80 if shift > 12 else 0
                self._put(table, place, physical | flags | large)
                break

            entry = self.entry(table, place)
            if not entry & 1:
                entry = self._new_table() | (1 if (self.format, shift) == ("pae", 30) else 0x7)
                self._put(table, place, entry)

            table = entry & 0xFFFFFFFFFF000

        self.mapped[virtual] = (physical, size)

        return True

    def entry_place(self, virtual: int, level: int) -> int:
        """The physical address of the entry of a level, which is there."""
        table = self.root
        for shift, mask in CUTS[self.format][:level]:
            table = self.entry(table, virtual >> shift & mask) & 0xFFFFFFFFFF000

        shift, mask = CUTS[self.format][level]

        return table + (virtual >> shift & mask) * struct.calcsize(CODES[self.format])

    def poke(self, place: int, entry: int) -> None:
        """Put an entry at a physical address."""
        code = CODES[self.format]
        struct.pack_into(code, self.pages[place & ~0xFFF], place & 0xFFF, entry)

    def fill(self, physical: int, data: bytes) -> None:
        """Put bytes into one page of memory."""
        page = self.pages.setdefault(physical & ~0xFFF, bytearray(K4))
        page[physical & 0xFFF : (physical & 0xFFF) + len(data)] = data

    def physical(self, virtual: int) -> int | None:
        """Where the model has an address, or None."""
        for base, (to, size) in self.mapped.items():
            if base <= virtual < base + size:
                return to + virtual - base

        return None

    def read(self, virtual: int, length: int) -> bytes:
        """What a read gets, by the model, byte by byte until one is not there."""
        found = bytearray()
        for at in range(virtual, virtual + length):
            place = self.physical(at)
            if place is None or place & ~0xFFF not in self.pages:
                break

            found.append(self.pages[place & ~0xFFF][place & 0xFFF])

        return bytes(found)

    def entry(self, table: int, place: int) -> int:
        """An entry of a table."""
        code = CODES[self.format]
        value: int = struct.unpack_from(code, self.pages[table], place * struct.calcsize(code))[0]

        return value

    def memory(self) -> Mapping[int, bytes]:
        """The pages as they are now."""
        return {at: bytes(page) for at, page in sorted(self.pages.items())}

    def _put(self, table: int, place: int, entry: int) -> None:
        code = CODES[self.format]
        struct.pack_into(code, self.pages[table], place * struct.calcsize(code), entry)

    def _new_table(self) -> int:
        at = self.free
        self.pages[at] = bytearray(K4)
        self.free += K4

        return at
