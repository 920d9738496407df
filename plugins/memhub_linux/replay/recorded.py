"""The machines of recorded scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub_linux.machine import Guest, KernelLog, LinuxMachine
from memhub_linux.registers.cpus import Cpus
from memhub_linux.releases import LINUX_2_6_32, LINUX_6_18

if TYPE_CHECKING:
    from collections.abc import Mapping

    Json = Mapping[str, Any]


def make_machine(raw: Json) -> LinuxMachine:
    """The machine of a recorded scenario."""
    cpu, boot = raw["cpu"], raw["boot"]
    guest, bridge = boot.get("guest"), boot.get("bridge")

    return LinuxMachine(
        bits=64 if raw["arch"] == "x86_64" else 32,
        vendor=cpu["vendor"],
        family=cpu["family"],
        model=cpu["model"],
        stepping=cpu["stepping"],
        phys_bits=cpu["phys_bits"],
        features=frozenset(cpu["features"]),
        options=tuple((name, value) for name, value in boot["options"]),
        pat=boot["pat"],
        bridge=None if bridge is None else (bridge[0], bridge[1], bridge[2]),
        guest=None if guest is None else _make_guest(guest),
        release=LINUX_2_6_32 if raw["kernel"] == "linux-2.6.32" else LINUX_6_18,
        width_leaf=not boot.get("no_cpuid_width"),
        mcr=tuple((index, (low, high)) for index, low, high in boot.get("mcr", ())),
    )


def _make_guest(raw: Json) -> Guest:
    variable = raw["variable"]

    return Guest(
        kind=raw["kind"],
        hypervisor=raw["hypervisor"],
        default=raw["default"],
        variable=None if variable is None else tuple((base, mask) for base, mask in variable),
    )


def make_cpus(raw: Json, msrs: Mapping[int, int], conf: Mapping[int, int]) -> Cpus:
    """Its registers, as firmware left them."""
    cpu = raw["cpu"]
    differences = {int(it): read_registers(own) for it, own in raw.get("ap_msr", {}).items()}

    return Cpus(
        cpu["cpus"],
        cpu["phys_bits"],
        strict=cpu["strict"],
        msrs=msrs,
        differences=differences,
        conf=conf,
    )


def read_registers(raw: Json) -> dict[int, int]:
    """Registers by number, of a map whose keys are in hexadecimal."""
    return {int(number, 16): value for number, value in raw.items()}


def joined(log: KernelLog, *, by_cpu: bool = False) -> list[list[object]]:
    """What was printed; equal neighbours are one row with their number.

    Args:
        log: what was printed.
        by_cpu: put lines of the first CPU first, as where CPUs were recorded side by side.
    """
    rows: list[list[object]] = []
    counts: list[int] = []
    for level, text in sorted(log.take(), key=_cpu_of) if by_cpu else log.take():
        if rows and rows[-1] == [level, text]:
            counts[-1] += 1
        else:
            rows.append([level, text])
            counts.append(1)

    return [row if many == 1 else [*row, many] for row, many in zip(rows, counts, strict=True)]


def _cpu_of(line: tuple[str, str]) -> int:
    """The CPU that a line names, else the first."""
    _, _, rest = line[1].partition("MTRR: CPU ")
    number, colon, _ = rest.partition(": ")

    return int(number) if colon and number.isdecimal() else 0
