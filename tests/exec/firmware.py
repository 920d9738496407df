"""The memory of a PC whose firmware tables the host's tools can read."""

from __future__ import annotations

import struct

from memhub.core.driver import Cpu
from memhub.core.spec import MachineSpec, Region

MIB = 1 << 20
ACPI = 5 * MIB
MADT = ACPI + 0x100


def _summed(body: bytes, at: int) -> bytes:
    """A table whose bytes sum to 0, by the byte at `at`."""
    return body[:at] + bytes([-sum(body) % 256]) + body[at + 1 :]


def _acpi(signature: bytes, body: bytes) -> bytes:
    head = struct.pack(
        "<4sIBB6s8sI4sI", signature, 36 + len(body), 1, 0, b"MEMHUB", b"TABLE", 1, b"HUB", 1
    )

    return _summed(head + body, 9)


def _structure(kind: int, handle: int, body: bytes, *texts: bytes) -> bytes:
    return struct.pack("<BBH", kind, 4 + len(body), handle) + body + b"\0".join((*texts, b"", b""))


def _bios() -> bytes:
    """An SMBIOS entry point at the start, its table, and ACPI's RSDP."""
    bios = struct.pack("<BBHBBQ", 1, 2, 0xF000, 3, 15, 0)
    table = _structure(0, 0, bios, b"memhub", b"1.0", b"01/01/2026")
    table += _structure(127, 1, b"", b"")
    dmi = _summed(struct.pack("<5sBHIHB", b"_DMI_", 0, len(table), 0xF0100, 2, 0x24), 5)
    entry = _summed(struct.pack("<4sBBBBHB5x", b"_SM_", 0, 0x1F, 2, 4, len(table), 0) + dmi, 4)
    rsdp = _summed(struct.pack("<8sB6sBI", b"RSD PTR ", 0, b"MEMHUB", 0, ACPI), 8)

    return (entry.ljust(0x100, b"\0") + table).ljust(0x8000, b"\0") + rsdp


RSDT = _acpi(b"RSDT", struct.pack("<I", MADT))
TABLES = RSDT.ljust(0x100, b"\0") + _acpi(b"APIC", struct.pack("<II", 0xFEE00000, 1))
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
