"""Memory as a file: a sparse raw file, a LiME dump, or an ELF core.

An ELF core covers all of the RAM: a PT_LOAD has the bytes of a run of pages, and the zeros behind
it as the part of `p_memsz` past `p_filesz`. A LiME dump has the runs alone. A raw file has one
stretch of addresses, with holes for zeros and for what is not RAM.

Sources: System V ABI, "Program Header" and "Extended numbering" (PN_XNUM); LiME, `doc/README`.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import IO, TYPE_CHECKING, Final

from memhub.abi import PAGE_SIZE
from memhub.images.lime import HEADER, MAGIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.core.spec import Content

_EHDR: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR: Final = struct.Struct("<IIQQQQQQ")
_SHDR: Final = struct.Struct("<IIQQQQIIQQ")
_IDENT: Final = b"\x7fELF\x02\x01\x01" + bytes(9)
_ET_CORE: Final = 4
_PT_LOAD: Final = 1
_PT_NOTE: Final = 4
_READ_WRITE: Final = 6
#: As many program headers are counted in section header 0 (`sh_info`).
_PN_XNUM: Final = 0xFFFF

#: The owner of the note that describes the machine, and its type.
NOTE_NAME: Final = b"memhub\0"
NOTE_TYPE: Final = 1


def write_lime(file: IO[bytes], contents: Sequence[Content]) -> None:
    """Write the bytes of contents, without the zeros behind them.

    Args:
        file: where to.
        contents: in address order.
    """
    for it in contents:
        if it.data:
            file.write(HEADER.pack(MAGIC, 1, it.base, it.base + len(it.data) - 1))
            file.write(it.data)


def write_raw(file: IO[bytes], contents: Sequence[Content], base: int, length: int) -> None:
    """Write a stretch of addresses; what no content has is a hole of the file.

    Args:
        file: where to, a regular file.
        contents: in address order.
        base: the address of the file's first byte.
        length: bytes of the file.

    Raises:
        OSError: the file system does not hold a file of that length (EFBIG).
    """
    try:
        os.ftruncate(file.fileno(), length)
    except OverflowError:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from None

    for it in contents:
        low, high = max(it.base, base), min(it.base + len(it.data), base + length)
        if low < high:
            file.seek(low - base)
            file.write(memoryview(it.data)[low - it.base : high - it.base])


def write_core(file: IO[bytes], contents: Sequence[Content], machine: int, note: bytes) -> None:
    """Write an ELF core.

    Args:
        file: where to.
        contents: in address order.
        machine: `e_machine`.
        note: what describes the machine, for the note of the owner `memhub`.
    """
    count = 1 + len(contents)
    extended = count >= _PN_XNUM
    table = _EHDR.size + (_SHDR.size if extended else 0)
    place = table + count * _PHDR.size
    packed = _pack_note(note)
    rows = [_PHDR.pack(_PT_NOTE, 0, place, 0, 0, len(packed), len(packed), 4)]
    place += len(packed)
    places = []
    for it in contents:
        place = _aligned(place, it.base) if it.data else place
        places.append(place)
        size = len(it.data)
        rows.append(
            _PHDR.pack(
                _PT_LOAD,
                _READ_WRITE,
                place,
                it.base,
                it.base,
                size,
                it.end - it.base,
                PAGE_SIZE if size else 1,  # without bytes a place need not fit its address
            )
        )
        place += size

    file.write(_pack_header(machine, table, count, extended=extended))
    if extended:
        file.write(_SHDR.pack(0, 0, 0, 0, 0, 0, 0, count, 0, 0))

    file.write(b"".join(rows))
    file.write(packed)
    at = table + count * _PHDR.size + len(packed)
    for it, place in zip(contents, places, strict=True):
        file.write(bytes(place - at))
        file.write(it.data)
        at = place + len(it.data)


def _pack_header(machine: int, table: int, count: int, *, extended: bool) -> bytes:
    sections = (_EHDR.size, 1) if extended else (0, 0)
    phnum = _PN_XNUM if extended else count

    return _EHDR.pack(
        _IDENT,
        _ET_CORE,
        machine,
        1,
        0,
        table,
        sections[0],
        0,
        _EHDR.size,
        _PHDR.size,
        phnum,
        _SHDR.size,
        sections[1],
        0,
    )


def _pack_note(note: bytes) -> bytes:
    name = NOTE_NAME.ljust(-(-len(NOTE_NAME) // 4) * 4, b"\0")
    head = struct.pack("<III", len(NOTE_NAME), len(note), NOTE_TYPE)

    return head + name + note.ljust(-(-len(note) // 4) * 4, b"\0")


def _aligned(place: int, address: int) -> int:
    """The next place that is equal to an address modulo the page size, so that it can be mapped."""
    return place + (address - place) % PAGE_SIZE
