"""An independent writer of FreeBSD's minidumps for amd64, and the model of what it wrote."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

K4, M2 = 4096, 1 << 21
KERNEL = 0xFFFFFE0000000000
DIRECT, DIRECT_END = 0xFFFFF80000000000, 0xFFFFF80100000000
#: Stretches of RAM, as `dump_avail` has them; the second begins and ends inside pages.
RANGES = ((0x1000, 0x9F000), (0x100000, 0x4000000), (0x100000000, 0x100400000))


@dataclass
class Minidump:
    """What is dumped.

    Attributes:
        version: of the file.
        pages: physical page address to bytes.
        small, large: kernel page address to physical.
        messages: the message buffer.
    """

    version: int
    pages: dict[int, bytes] = field(default_factory=dict)
    small: dict[int, int] = field(default_factory=dict)
    large: dict[int, int] = field(default_factory=dict)
    messages: bytes = b"Copyright (c) 1992-2026 The FreeBSD Project."

    def to_bytes(self) -> bytes:
        """The file."""
        tables = self._page_table() if self.version == 1 else self._directory()
        bitmap, ranges = self._bitmap(), b""
        if self.version >= 3:
            ranges = b"".join(struct.pack("<QQ", *it) for it in RANGES).ljust(K4, b"\0")

        header = b"minidump FreeBSD/amd64".ljust(24, b"\0")
        header += struct.pack("<I", self.version) + struct.pack("<I", len(self.messages))
        header += struct.pack("<II", len(bitmap), len(tables))
        header += struct.pack("<QQQ", KERNEL, DIRECT, DIRECT_END)
        header += struct.pack("<I", len(ranges))
        parts = [header, self.messages, ranges, bitmap, tables]

        return b"".join(_padded(it) for it in parts) + b"".join(
            self.pages[at] for at in sorted(self.pages)
        )

    def read(self, address: int, length: int) -> bytes:
        """What a read gets by the model, byte by byte."""
        found = bytearray()
        for at in range(address, address + length):
            place = self._physical(at)
            if place is None or place - place % K4 not in self.pages:
                break

            found.append(self.pages[place - place % K4][place % K4])

        return bytes(found)

    def _physical(self, at: int) -> int | None:
        if DIRECT <= at < DIRECT_END:
            return at - DIRECT

        for kept, size in ((self.small, K4), (self.large, M2)):
            if at - at % size in kept:
                return kept[at - at % size] + at % size

        return None

    def _span(self, size: int) -> int:
        return (max([KERNEL, *self.small, *self.large]) - KERNEL) // size + 1

    def _page_table(self) -> bytes:
        entries = [0] * self._span(K4)
        for virtual, physical in self.small.items():
            entries[(virtual - KERNEL) // K4] = physical | 0x103 | 1 << 63

        return struct.pack(f"<{len(entries)}Q", *entries)

    def _directory(self) -> bytes:
        entries = [0] * (-(-self._span(M2) // 512) * 512)
        for virtual, physical in self.large.items():
            entries[(virtual - KERNEL) // M2] = physical | 0x1E3

        for virtual in sorted(self.small):
            index = (virtual - KERNEL) // M2
            if not entries[index]:
                entries[index] = self._free_page() | 0x3
                self.pages[entries[index] & ~0xFFF] = bytes(K4)

            table = bytearray(self.pages[entries[index] & ~0xFFF])
            struct.pack_into(
                "<Q", table, virtual // K4 % 512 * 8, self.small[virtual] | 0x8000000000000003
            )
            self.pages[entries[index] & ~0xFFF] = bytes(table)

        return struct.pack(f"<{len(entries)}Q", *entries)

    def _free_page(self) -> int:
        return next(at for at in range(0x3000000, 0x4000000, K4) if at not in self.pages)

    def _bitmap(self) -> bytes:
        bits = 0
        for at in self.pages:
            bits |= 1 << (self._index(at) if self.version >= 3 else at // K4)

        return bits.to_bytes(-(-bits.bit_length() // 64) * 8 or 8, "little")

    def _index(self, at: int) -> int:
        before = 0
        for low, high in RANGES:
            if low <= at < high:
                return before + (at - low) // K4

            before += (high - low) // K4

        raise AssertionError(hex(at))


def random_minidump(chance: Random, version: int) -> Minidump:
    """Pages and mappings at random."""
    it = Minidump(version, messages=bytes(chance.choice((0, 1, 4095, 4096, 5000))))
    highest = 2 if version == 3 else 1  # the bitmap of earlier ones would be long
    for low, high in RANGES[: highest + 1]:
        for _ in range(chance.randrange(1, 12)):
            at = chance.randrange(low // K4, min(high // K4, low // K4 + 64)) * K4
            if version == 3 or at < 1 << 30:
                it.pages[at] = chance.randbytes(K4)

    places = sorted(it.pages)
    for _ in range(chance.randrange(1, 20)):
        it.small[KERNEL + chance.randrange(1024 if version > 1 else 64) * K4] = chance.choice(
            places
        )

    if version > 1:
        for _ in range(3):
            virtual = KERNEL + (2 + chance.randrange(700)) * M2
            it.large[virtual] = chance.choice(places) // M2 * M2

    return it


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % K4)
