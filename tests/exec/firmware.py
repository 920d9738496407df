"""What a PC's firmware leaves in memory: an SMBIOS table and ACPI tables, as bytes."""

from __future__ import annotations

import struct
from typing import Final

#: The ROM with both entry points.
BIOS_BASE: Final = 0xF0000
BIOS_SIZE: Final = 0x10000
#: The region with the ACPI tables.
ACPI_BASE: Final = 0x200000
ACPI_SIZE: Final = 0x10000

_SMBIOS_AT: Final = BIOS_BASE + 0x1000
_STRUCTURES_AT: Final = BIOS_BASE + 0x2000
_RSDP_AT: Final = BIOS_BASE + 0x3000
_RSDT_AT, _XSDT_AT, _FADT_AT, _DSDT_AT, _FACS_AT = range(ACPI_BASE, ACPI_BASE + 0xA00, 0x200)
_OEM: Final = b"MEMHUB"


def bios() -> bytes:
    """The ROM's content."""
    image = bytearray(BIOS_SIZE)
    structures = _structures()
    for at, data in (
        (_SMBIOS_AT, _smbios(len(structures), count=4, largest=max(map(len, _each())))),
        (_STRUCTURES_AT, structures),
        (_RSDP_AT, _rsdp()),
    ):
        image[at - BIOS_BASE : at - BIOS_BASE + len(data)] = data

    return bytes(image)


def acpi() -> bytes:
    """The content of the ACPI region."""
    image = bytearray(ACPI_SIZE)
    for at, data in (
        (_RSDT_AT, _table(b"RSDT", struct.pack("<I", _FADT_AT))),
        (_XSDT_AT, _table(b"XSDT", struct.pack("<Q", _FADT_AT))),
        (_FADT_AT, _fadt()),
        (_DSDT_AT, _table(b"DSDT", b"")),
        (_FACS_AT, b"FACS" + struct.pack("<I", 64) + bytes(56)),
    ):
        image[at - ACPI_BASE : at - ACPI_BASE + len(data)] = data

    return bytes(image)


def _checked(data: bytes, at: int) -> bytes:
    """Set the byte at `at` so that all bytes add up to 0."""
    changed = bytearray(data)
    changed[at] = -(sum(data) - data[at]) & 0xFF

    return bytes(changed)


# SMBIOS


def _smbios(length: int, count: int, largest: int) -> bytes:
    """The entry point of SMBIOS 2.8."""
    middle = struct.pack("<5sBHIHB", b"_DMI_", 0, length, _STRUCTURES_AT, count, 0x28)
    head = struct.pack("<4sBBBBHB5x", b"_SM_", 0, 0x1F, 2, 8, largest, 0)

    return _checked(head + _checked(middle, 5), 4)


def _each() -> tuple[bytes, ...]:
    """BIOS, system, memory device, end."""
    return (
        _structure(
            0,
            struct.pack("<BBHBBQBBBBBB", 1, 2, 0xF000, 3, 0, 1 << 3, 0, 0, 1, 0, 0xFF, 0xFF),
            "memhub",
            "1.0",
            "01/01/2020",
        ),
        _structure(
            1,
            struct.pack("<4B16sBBB", 1, 2, 3, 4, bytes(range(16)), 6, 0, 0),
            "memhub works",
            "simulated machine",
            "r1",
            "SN-1234",
        ),
        _structure(
            17,
            struct.pack(
                "<HHHHHBBBBBHH4B", 0, 0xFFFE, 64, 64, 512, 9, 0, 1, 0, 0x1A, 0, 1600, 0, 0, 0, 0
            ),
            "DIMM 0",
        ),
        _structure(127, b""),
    )


def _structures() -> bytes:
    return b"".join(
        data[:2] + struct.pack("<H", handle) + data[4:] for handle, data in enumerate(_each())
    )


def _structure(kind: int, fields: bytes, *strings: str) -> bytes:
    text = b"".join(string.encode() + b"\0" for string in strings) or b"\0"

    return struct.pack("<BBH", kind, 4 + len(fields), 0) + fields + text + b"\0"


# ACPI


def _rsdp() -> bytes:
    """The root pointer of ACPI 2.0."""
    first = _checked(struct.pack("<8sB6sBI", b"RSD PTR ", 0, _OEM, 2, _RSDT_AT), 8)

    return _checked(first + struct.pack("<IQB3x", 36, _XSDT_AT, 0), 32)


def _table(signature: bytes, body: bytes) -> bytes:
    head = struct.pack(
        "<4sIBB6s8sI4sI", signature, 36 + len(body), 2, 0, _OEM, b"SIMULATE", 1, b"MHUB", 1
    )

    return _checked(head + body, 9)


def _fadt() -> bytes:
    """Version 2: 244 bytes, with the tables' addresses in both widths."""
    body = bytearray(244 - 36)
    struct.pack_into("<II", body, 0, _FACS_AT, _DSDT_AT)
    struct.pack_into("<QQ", body, 132 - 36, _FACS_AT, _DSDT_AT)

    return _table(b"FACP", bytes(body))
