"""The memory of a PC whose firmware tables the host's tools can read."""

from __future__ import annotations

import struct

from memhub.core.drivers.driver import Cpu
from memhub.core.spec import MachineSpec, Region

MIB = 1 << 20
ACPI = 5 * MIB
MADT, XSDT, FADT, DSDT, FACS = range(ACPI + 0x100, ACPI + 0xB00, 0x200)
RSDP = 0xF8000


def _summed(body: bytes, at: int) -> bytes:
    """A table whose bytes sum to 0, by the byte at `at`."""
    return body[:at] + bytes([-sum(body) % 256]) + body[at + 1 :]


def _acpi(signature: bytes, body: bytes) -> bytes:
    head = struct.pack(
        "<4sIBB6s8sI4sI", signature, 36 + len(body), 2, 0, b"MEMHUB", b"TABLE", 1, b"HUB", 1
    )

    return _summed(head + body, 9)


def _structure(kind: int, handle: int, body: bytes, *texts: bytes) -> bytes:
    return struct.pack("<BBH", kind, 4 + len(body), handle) + body + b"\0".join((*texts, b"", b""))


def _smbios_table() -> bytes:
    """BIOS, system, memory device, end."""
    bios = struct.pack("<BBHBBQ", 1, 2, 0xF000, 3, 15, 0)
    system = struct.pack("<4B16sBBB", 1, 2, 3, 4, bytes(range(16)), 6, 0, 0)
    memory = struct.pack(
        "<HHHHHBBBBBHH4B", 0, 0xFFFE, 64, 64, 512, 9, 0, 1, 0, 0x1A, 0, 1600, 0, 0, 0, 0
    )

    return b"".join(
        (
            _structure(0, 0, bios, b"memhub", b"1.0", b"01/01/2026"),
            _structure(1, 1, system, b"memhub works", b"simulated machine", b"r1", b"SN-1234"),
            _structure(17, 2, memory, b"DIMM 0"),
            _structure(127, 3, b"", b""),
        )
    )


def _bios() -> bytes:
    """An SMBIOS entry point at the start, its table, and ACPI's RSDP."""
    table = _smbios_table()
    dmi = _summed(struct.pack("<5sBHIHB", b"_DMI_", 0, len(table), 0xF0100, 4, 0x28), 5)
    entry = _summed(struct.pack("<4sBBBBHB5x", b"_SM_", 0, 0x1F, 2, 8, len(table), 0) + dmi, 4)
    rsdp = _summed(struct.pack("<8sB6sBI", b"RSD PTR ", 0, b"MEMHUB", 2, ACPI), 8)
    rsdp = _summed(rsdp + struct.pack("<IQB3x", 36, XSDT, 0), 32)

    return (entry.ljust(0x100, b"\0") + table).ljust(RSDP - 0xF0000, b"\0") + rsdp


def _fadt() -> bytes:
    """Version 2, with the addresses of its tables in both widths."""
    body = bytearray(244 - 36)
    struct.pack_into("<II", body, 0, FACS, DSDT)
    struct.pack_into("<QQ", body, 132 - 36, FACS, DSDT)

    return _acpi(b"FACP", bytes(body))


def _tables() -> bytes:
    """What lies in the ACPI region."""
    tables = {
        ACPI: _acpi(b"RSDT", struct.pack("<II", MADT, FADT)),
        MADT: _acpi(b"APIC", struct.pack("<II", 0xFEE00000, 1)),
        XSDT: _acpi(b"XSDT", struct.pack("<QQ", MADT, FADT)),
        FADT: _fadt(),
        DSDT: _acpi(b"DSDT", b""),
        FACS: b"FACS" + struct.pack("<I", 64) + bytes(56),
    }
    region = bytearray(0x1000)
    for at, table in tables.items():
        region[at - ACPI : at - ACPI + len(table)] = table

    return bytes(region)


TABLES = _tables()
BIOS = _bios().ljust(0x10000, b"\0")

#: A page that is RAM only at its start, a ROM without content, a BIOS, two pieces of memory.
PC = MachineSpec(
    name="pc",
    arch="amd64",
    cpu=Cpu(vendor="GenuineIntel", phys_bits=36),
    msrs={0x2FF: 0x806},
    memory=(
        Region(base=0, length=0x9FC00),
        Region(base=0xC0000, length=0x8000, kind="rom"),
        Region(base=0xF0000, length=0x10000, kind="rom", data=BIOS),
        Region(base=MIB, length=MIB),
        Region(base=4 * MIB, length=MIB),
        Region(base=ACPI, length=0x1000, kind="acpi", data=TABLES),
        Region(base=1 << 32, length=1 << 30),
    ),
)
