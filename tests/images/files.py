"""Image files for tests, made byte by byte from the formats' own descriptions."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Segment(NamedTuple):
    """A program header and its bytes."""

    paddr: int
    data: bytes
    memsz: int | None = None
    vaddr: int = 0
    kind: int = 1


def elf(
    *segments: Segment,
    bits: int = 64,
    endian: str = "<",
    kind: int = 2,
    machine: int = 62,
    count: int | None = None,
    sections: int = 0,
) -> bytes:
    """An ELF file; `count` is its e_phnum, and `sections` its e_shoff."""
    wide = bits == 64
    head, row = (64, 56) if wide else (52, 32)
    place = head + row * len(segments)
    ident = b"\x7fELF" + bytes([1 + wide, 1 if endian == "<" else 2, 1]) + bytes(9)
    word = "Q" if wide else "I"
    header = struct.pack(
        f"{endian}HHI{word}{word}{word}IHHHHHH",
        kind, machine, 1, 0, head, sections, 0, head, row,
        len(segments) if count is None else count, 64 if wide else 40, 0, 0,
    )  # fmt: skip
    rows, blob = b"", b""
    for it in segments:
        at, size = place + len(blob), len(it.data)
        total = size if it.memsz is None else it.memsz
        if wide:
            rows += struct.pack(
                f"{endian}IIQQQQQQ", it.kind, 6, at, it.vaddr, it.paddr, size, total, 1
            )
        else:
            rows += struct.pack(
                f"{endian}IIIIIIII", it.kind, at, it.vaddr, it.paddr, size, total, 6, 1
            )

        blob += it.data

    return ident + header + rows + blob


def lime(*stretches: tuple[int, bytes]) -> bytes:
    """A LiME dump, version 1."""
    return b"".join(
        struct.pack("<IIQQ8x", 0x4C694D45, 1, base, base + len(data) - 1) + data
        for base, data in stretches
    )


def ihex(*records: tuple[int, int, bytes]) -> str:
    """Intel HEX records: type, address, data."""
    lines = []
    for kind, address, data in records:
        body = bytes([len(data)]) + address.to_bytes(2, "big") + bytes([kind]) + data
        lines.append(f":{body.hex().upper()}{-sum(body) & 0xFF:02X}")

    return "\n".join(lines) + "\n"


def srec(*records: tuple[int, int, bytes]) -> str:
    """Motorola S-records: type, address, data."""
    lines = []
    for kind, address, data in records:
        width = {0: 2, 1: 2, 2: 3, 3: 4, 5: 2, 6: 3, 7: 4, 8: 3, 9: 2}[kind]
        body = bytes([width + len(data) + 1]) + address.to_bytes(width, "big") + data
        lines.append(f"S{kind}{body.hex().upper()}{~sum(body) & 0xFF:02X}")

    return "\n".join(lines) + "\n"
