"""Minidumps of FreeBSD/amd64: some pages of memory, and the page tables of the kernel beside them.

A header page, the message buffer, from version 3 on the ranges of memory, a bitmap of pages, the
kernel's page tables, and the pages whose bits are set, in order. Source: FreeBSD
`sys/amd64/include/minidump.h`, `sys/amd64/amd64/minidump_machdep.c`; what libkvm reads of it.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.abi import PAGE_SIZE
from memhub.errors import BadAddress
from memhub.images.failure import ImageError
from memhub.images.sparse import PIECES_MAX
from memhub.kvm.page_tables import page_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: What such a file begins with.
MINIDUMP_MAGIC: Final = b"minidump FreeBSD/amd64"
_HEADER: Final = struct.Struct("<24s4I3QI")
_VERSIONS: Final = (1, 2, 3)
#: Bytes that a bitmap, and the page tables, have at most: pages of 8 TiB, tables of 32 TiB.
_TABLE_MAX: Final = 1 << 28
_ENTRY: Final = 8
_PRESENT: Final = 1
_LARGE_SHIFT: Final = 21


class _Header(NamedTuple):
    magic: bytes
    version: int
    messages: int
    bitmap: int
    tables: int
    kernel: int
    direct: int
    direct_end: int
    ranges: int


class Run(NamedTuple):
    """Pages that follow each other in memory and in the file.

    Attributes:
        base: the physical address of the first byte.
        size: bytes.
        place: where they are in the file.
    """

    base: int
    size: int
    place: int


class DumpedPages:
    """The pages of a minidump, read from its file as they are asked for.

    Args:
        fd: the file, which is closed with this.
        runs: what is where, by address.
    """

    def __init__(self, fd: int, runs: Sequence[Run]) -> None:
        self._fd = fd
        self._runs = runs
        self._bases = [it.base for it in runs]

    def read(self, address: int, length: int) -> bytes:
        """The bytes from an address on; fewer where a page begins that was not dumped."""
        parts: list[bytes] = []
        cursor, end = address, address + length
        while cursor < end:
            index = bisect_right(self._bases, cursor) - 1
            it = self._runs[index] if index >= 0 else Run(0, 0, 0)
            inside = cursor - it.base
            if index < 0 or inside >= it.size:
                break

            part = os.pread(self._fd, min(end - cursor, it.size - inside), it.place + inside)
            if not part:
                break

            parts.append(part)
            cursor += len(part)

        return b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class DumpedTables:
    """The kernel's page tables as a minidump has them; see `PageTables.physical`.

    Args:
        header: of the file.
        entries: entries of page tables (version 1) or of page directories, from the kernel's first
            address on.
        memory: the pages.
    """

    def __init__(self, header: _Header, entries: bytes, memory: DumpedPages) -> None:
        self._header = header
        self._entries = entries
        self._memory = memory

    def physical(self, address: int) -> tuple[int, int]:
        """Translate one address; what is refused is BadAddress (EFAULT)."""
        header, rest = self._header, address % PAGE_SIZE
        if header.direct <= address < header.direct_end:
            return address - header.direct, PAGE_SIZE - rest

        if address < header.kernel:
            raise BadAddress(f"kernel address {address:#x} is below what the minidump has")

        if header.version == 1:
            entry = self._entry(address, 12)
            return page_of(entry, 12, "") + rest, PAGE_SIZE - rest

        entry = self._entry(address, _LARGE_SHIFT)
        if entry & 0x80:
            size = 1 << _LARGE_SHIFT
            base = page_of(entry, _LARGE_SHIFT, f"kernel address {address:#x}: {entry:#x}")
            return base + address % size, size - address % size

        place = page_of(entry, 12, "") + (address >> 12 & 0x1FF) * _ENTRY
        packed = self._memory.read(place, _ENTRY)
        if len(packed) < _ENTRY:
            what = f"its page table entry at {place:#x} is not in the minidump"
            raise BadAddress(f"kernel address {address:#x}: {what}")

        return page_of(_present(packed, address), 12, "") + rest, PAGE_SIZE - rest

    def _entry(self, address: int, shift: int) -> int:
        at = (address - self._header.kernel >> shift) * _ENTRY

        return _present(self._entries[at : at + _ENTRY], address)


def _present(packed: bytes, address: int) -> int:
    """An entry that is there, and present."""
    if len(packed) < _ENTRY:
        raise BadAddress(f"kernel address {address:#x} is behind the tables of the minidump")

    entry = int.from_bytes(packed, "little")
    if not entry & _PRESENT:
        raise BadAddress(f"kernel address {address:#x} is not mapped: its entry is {entry:#x}")

    return entry


def read_minidump(fd: int, shown: str) -> tuple[DumpedTables, DumpedPages]:
    """The page tables and the pages of a minidump.

    Args:
        fd: the file, at any offset; what is returned closes it.
        shown: its name, for messages.

    Raises:
        ImageError: it is of another version, is truncated, or contradicts itself.
    """
    size = os.fstat(fd).st_size
    packed = os.pread(fd, _HEADER.size, 0)
    if len(packed) < _HEADER.size:
        raise ImageError(shown, "is truncated: a minidump has a header of a page")

    header = _Header(*_HEADER.unpack(packed))
    if header.magic.rstrip(b"\0") != MINIDUMP_MAGIC or header.version not in _VERSIONS:
        what = f"is a minidump of version {header.version}, and those of 1 to 3 are read"
        raise ImageError(shown, what)

    ranges_size = header.ranges if header.version >= 3 else 0
    place = PAGE_SIZE + _round(header.messages)
    parts: list[bytes] = []
    for name, length in (
        ("ranges", ranges_size),
        ("bitmap", header.bitmap),
        ("page tables", header.tables),
    ):
        if length > _TABLE_MAX or length % _ENTRY:
            what = f"its {name} have {length:#x} bytes, no multiple of 8 up to {_TABLE_MAX:#x}"
            raise ImageError(shown, what)

        if place + length > size:
            what = f"is truncated: its {name} end at {place + length:#x}, past {size:#x}"
            raise ImageError(shown, what, offset=place)

        parts.append(os.pread(fd, length, place))
        place += _round(length)

    ranges = _read_ranges(parts[0], shown) if ranges_size else [(0, 1 << 52)]
    runs = _runs_of(parts[1], ranges, place, shown)
    end = max((it.place + it.size for it in runs), default=place)
    if end > size:
        what = f"is truncated: its pages end at {end:#x}, past {size:#x}"
        raise ImageError(shown, what, offset=place)

    memory = DumpedPages(fd, sorted(runs))

    return DumpedTables(header, parts[2], memory), memory


def _round(size: int) -> int:
    return -(-size // PAGE_SIZE) * PAGE_SIZE


def _read_ranges(packed: bytes, shown: str) -> list[tuple[int, int]]:
    """The ranges of memory that the bits count, up to the first that ends at 0."""
    found: list[tuple[int, int]] = []
    for low, high in struct.iter_unpack("<QQ", packed[: len(packed) // 16 * 16]):
        if not high:
            break

        if high <= low or high > 1 << 52 or (found and low < found[-1][1]):
            what = f"its range of memory {low:#x} to {high:#x} is empty, too high or out of order"
            raise ImageError(shown, what)

        found.append((low, high))

    return found


def _runs_of(bitmap: bytes, ranges: Sequence[tuple[int, int]], place: int, shown: str) -> list[Run]:
    """The pages whose bits are set, as runs; `place` is where the first is in the file."""
    runs: list[Run] = []
    for address in _addresses(bitmap, ranges, shown):
        last = runs[-1] if runs else None
        if last is not None and last.base + last.size == address:
            runs[-1] = last._replace(size=last.size + PAGE_SIZE)
        else:
            runs.append(Run(address, PAGE_SIZE, place))
            if len(runs) > PIECES_MAX:
                raise ImageError(shown, f"has more than {PIECES_MAX} stretches of pages")

        place += PAGE_SIZE

    return runs


def _addresses(bitmap: bytes, ranges: Sequence[tuple[int, int]], shown: str) -> Iterator[int]:
    """The physical addresses of the pages whose bits are set."""
    index, first, at = 0, 0, 0  # which range, and the bit of its first page
    for at in range(0, len(bitmap), 8):
        bits = int.from_bytes(bitmap[at : at + 8], "little")
        while bits:
            bit = 8 * at + (bits & -bits).bit_length() - 1
            bits &= bits - 1
            while index < len(ranges) and bit - first >= _page_count(ranges[index]):
                first += _page_count(ranges[index])
                index += 1

            if index == len(ranges):
                raise ImageError(shown, f"has the bit {bit} of a page that is in no range")

            yield ranges[index][0] // PAGE_SIZE * PAGE_SIZE + (bit - first) * PAGE_SIZE


def _page_count(it: tuple[int, int]) -> int:
    return -(-it[1] // PAGE_SIZE) - it[0] // PAGE_SIZE
