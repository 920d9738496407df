"""An ordinary machine of an architecture, of which nothing needs to be said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from memhub.arches import load_arches
from memhub.arguments import take_integer, take_kind, take_text
from memhub.core.drivers.driver import Cpu
from memhub.core.ranges.firmware import ORDINARY_RAM, ordinary_memory, ordinary_spec
from memhub.core.spec import MachineSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.drivers.driver import Arch

#: The least memory that has the 640 KiB, the hole and the ROM of a PC, and RAM above them.
_LEAST: Final = 2 << 20


def pc(
    name: str = "pc",
    *,
    arch: str = "i386",
    ram: int = ORDINARY_RAM,
    cpu: Cpu | None = None,
    arches: Mapping[str, Arch] | None = None,
    **more: Any,  # noqa: ANN401 - whatever else a MachineSpec takes
) -> MachineSpec:
    """An ordinary machine: RAM write-back, the rest uncacheable, two or more ranges free.

    Args:
        name: what clients put before the colon in `NAME:/dev/mem`.
        arch: name of an installed architecture.
        ram: bytes up to the end of RAM; what exceeds 3 GiB lies from 4 GiB on.
        cpu: the processor; None takes one that the architecture's driver serves, whose addresses
            reach the end of RAM.
        arches: architectures by name; None loads those that are installed.
        more: further attributes of a MachineSpec: `commit_latency=0.02`, `securelevel=1`.

    Returns:
        the description, complete: `MachineSpec(arch="i386")` is the same with 1 GiB.

    Raises:
        ArchNotInstalled: no plugin provides the architecture.
        TypeError: an argument has the wrong type.
        ValueError: the RAM is less than 2 MiB, or more than the processor addresses.
    """
    take_text("name", name)
    if cpu is not None:
        take_kind("cpu", cpu, Cpu)

    found = (load_arches() if arches is None else arches)[take_text("arch", arch)]
    ram = _check_ram(take_integer("ram", ram))
    last = ordinary_memory(found, ram)[-1]
    end = last.base + last.length
    chosen = _choose_cpu(found, end) if cpu is None else cpu
    if end > 1 << chosen.phys_bits:
        raise ValueError(
            f"ram {ram:#x} ends at {end:#x}, past the {chosen.phys_bits} bits of physical address"
        )

    spec = ordinary_spec(MachineSpec(name=name, arch=arch, cpu=chosen), found, ram)

    return replace(spec, **more)


def _check_ram(ram: int) -> int:
    if ram < _LEAST or ram & 0xFFF:
        raise ValueError(f"ram {ram:#x} is not whole pages of at least {_LEAST:#x} bytes")

    return ram


def _choose_cpu(arch: Arch, end: int) -> Cpu:
    if arch.cpu is not None:
        return arch.cpu

    return Cpu(phys_bits=max(36, min(52, (end - 1).bit_length())))
