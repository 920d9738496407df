"""The state in which firmware leaves a machine of which nobody says it.

It is named `ordinary` in the machine's description and so in the log: a reader sees that registers
and memory were not those of a computer that somebody described.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from memhub.core.drivers.driver import UNSAID_CPU
from memhub.core.spec import Region, UnsaidRegisters

if TYPE_CHECKING:
    from memhub.core.drivers.driver import Arch
    from memhub.core.spec import MachineSpec, RegionKind

MIB: Final = 1 << 20

_ROM: Final[RegionKind] = "rom"

#: Bytes of RAM in a machine whose memory nobody describes.
ORDINARY_RAM: Final = 1 << 30


def ordinary_spec(spec: MachineSpec, arch: Arch, ram: int = ORDINARY_RAM) -> MachineSpec:
    """A description with the registers and the memory map of an ordinary machine.

    Args:
        spec: the description.
        arch: its architecture.
        ram: bytes up to the end of RAM, for `ordinary_memory`.
    """
    memory = ordinary_memory(arch, ram)
    spans = [(it.base, it.base + it.length) for it in memory if it.kind == "ram"]
    msrs = {} if arch.firmware is None else arch.firmware(spec.cpu, spans)

    return replace(spec, msrs=msrs, memory=memory, firmware="ordinary")


def ordinary_memory(arch: Arch, ram: int = ORDINARY_RAM) -> tuple[Region, ...]:
    """The memory map of an ordinary machine.

    Args:
        arch: its architecture. Where that knows the firmware of a PC, the map is a PC's: RAM, the
            hole of the graphics card, ROM, and RAM from 1 MiB on. Otherwise it is RAM alone.
        ram: bytes up to the end of RAM, with the hole and the ROM; at most 3 GiB of it lie below
            4 GiB, and the rest follows from there on.

    Returns:
        the regions, by address.
    """
    low = min(ram, 3 << 30)
    above = (Region(base=4 << 30, length=ram - low),) if ram > low else ()
    if arch.firmware is None:
        return (Region(base=0, length=low), *above)

    return (
        Region(base=0, length=0xA0000),
        Region(base=0xC0000, length=0x40000, kind=_ROM),
        Region(base=MIB, length=low - MIB),
        *above,
    )


def settle_firmware(spec: MachineSpec, arch: Arch) -> MachineSpec:
    """A description in which registers and memory are said, if need be as an ordinary firmware's.

    Args:
        spec: the description. Where it does not say the processor, it is that of the architecture.
            Registers and memory stay as they are if it says registers, even `{}`, or memory.
        arch: its architecture. One that knows no firmware has machines without memory, too.
    """
    if spec.cpu is UNSAID_CPU and arch.cpu is not None:
        spec = replace(spec, cpu=arch.cpu)

    if arch.firmware is None or spec.memory or not isinstance(spec.msrs, UnsaidRegisters):
        return spec

    return ordinary_spec(spec, arch)
