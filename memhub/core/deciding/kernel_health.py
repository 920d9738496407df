"""Sick hardware under another kernel than FreeBSD: what its calls leave in the registers.

The kernel is pure and knows nothing of it: what it stores is what the registers were meant to be.
Each CPU then keeps what its sicknesses make of that. The registers of all CPUs are a part of the
kernel's state, so that a `Health` has none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memhub.core.drivers.served_kernel import KernelCall, KernelState, share_registers
from memhub.core.health.hardware_events import HardwareChanged
from memhub.core.health.health import CpuFiles, rewrite_by_firmware
from memhub.core.kernel_items import registers_item
from memhub.core.served import KernelCalled, changed_registers, range_state
from memhub.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from memhub.core.drivers.driver import RangeState
    from memhub.core.drivers.served_kernel import Registers
    from memhub.core.health.health import Health
    from memhub.core.machine import Machine


class Suffered(NamedTuple):
    """What a call leaves.

    Attributes:
        state: the kernel's state, with the registers that the CPUs have.
        struck: the sicknesses that made them other than stored.
    """

    state: KernelState
    struck: frozenset[str]


def suffer_call(
    health: Health | None,
    found: tuple[Registers, ...],
    after: KernelState,
    missed: Collection[int] = (),
) -> Suffered:
    """What becomes of what a kernel stores.

    Args:
        health: what is wrong with the CPUs.
        found: the registers of each CPU as the kernel found them.
        after: the state that it makes.
        missed: CPUs that it does not reach, beside those that miss what is stored.
    """
    if health is None or not health.sicknesses or after.cpus == found:
        return Suffered(after, frozenset())

    cpus: list[Registers] = []
    struck: set[str] = set()
    for cpu, (old, new) in enumerate(zip(found, after.cpus, strict=True)):
        if cpu in missed or health.misses_stores(cpu):
            cpus.append(old)
            continue

        kept, names = health.keep(cpu, old, new)
        cpus.append(kept if names else new)
        struck |= names

    return Suffered(replace(after, cpus=share_registers(cpus)), frozenset(struck))


def unless_alike(before: KernelState, after: KernelState) -> KernelState:
    """The state after a call: the one before where nothing is different."""
    return before if after is not before and after == before else after


def follow_call(
    machine: Machine, call: KernelCalled, struck: frozenset[str]
) -> tuple[HardwareChanged | KernelCalled, ...]:
    """What follows a call: what its stores met counts, and firmware rewrites registers.

    Args:
        machine: the machine, before the call takes effect.
        call: the call.
        struck: the sicknesses that it met.
    """
    health, state = machine.health, call.kernels[1]
    if health is None or not health.sicknesses:
        return ()

    old = CpuFiles(dict(enumerate(state.cpus)))
    files = old
    if struck or call.kernels[0].cpus != state.cpus:
        files = rewrite_by_firmware(health, "set", old)
        struck |= files.struck

    if not struck:
        return ()

    who = (call.machine, call.arch, call.at)
    counted = (health, health.counted(struck).settled())
    states = None if call.states is None else (call.states[1], call.states[1])
    names = tuple(sorted(struck))
    stored = HardwareChanged(*who, "store", None, names, counted, states, call.generation)

    return (stored, *firmware_call(machine, call, files))


def firmware_call(
    machine: Machine, before: KernelCalled | HardwareChanged, files: CpuFiles
) -> tuple[KernelCalled, ...]:
    """The fact that the CPUs have other registers, which no kernel stored; none for the same.

    Args:
        machine: the machine.
        before: what became true before it, of this decision.
        files: the registers of all CPUs.
    """
    served = machine.served
    assert served is not None
    state = before.kernels[1] if isinstance(before, KernelCalled) else served.state
    cpus = share_registers([files.files[cpu] for cpu in range(len(state.cpus))])
    if cpus == state.cpus:
        return ()

    registers = {
        str(cpu): patch
        for cpu, (old, new) in enumerate(zip(state.cpus, cpus, strict=True))
        if (patch := patch_item(old, new))
    }
    after, table = replace(state, cpus=cpus), machine.table
    states: tuple[RangeState, RangeState] | None = None
    generation = before.generation
    if table is not None and before.states is not None:
        was = before.states[1]
        states = (was, range_state(table, after.msrs, was))
        generation += states[0] is not states[1]

    return (
        KernelCalled(
            before.machine,
            before.arch,
            None,
            before.at,
            before.at.mono_ns,
            KernelCall("firmware", {"registers": registers}),
            None,
            None,
            (),
            (state, after),
            states,
            generation,
        ),
    )


def patch_item(old: Registers, new: Registers) -> dict[str, str]:
    """The registers that have another value, as the arguments of a call have them."""
    return registers_item(changed_registers(old, new))


def slot_bits(machine: Machine, slot: int) -> tuple[tuple[int, int], ...]:
    """The registers that hold a range as the kernel counts them, each with its bits.

    Raises:
        InvalidArgument: EINVAL; the kernel has none of this number, or no MSR holds it.
    """
    served = machine.served
    assert served is not None
    total = slot_total(machine)
    if slot >= total:
        raise InvalidArgument(f"{machine.name} has {total} registers, and none of number {slot}")

    held = served.kernel.slot_registers(served.machine, served.state, slot)
    if not held:
        raise InvalidArgument(f"no MSR holds register {slot} of {machine.name}")

    return held


def slot_total(machine: Machine) -> int:
    """How many slots a machine has, as its kernel counts them."""
    ranges = None if machine.served is None else machine.served.ranges()
    if ranges is not None:
        return ranges.total

    return 0 if machine.table is None else len(machine.table)


def other_cpus(machine: Machine) -> Mapping[int, Registers]:
    """The registers of the CPUs that do not have those of CPU 0, by number."""
    served, health = machine.served, machine.health
    if served is not None:
        first, *others = served.state.cpus
        return {cpu: it for cpu, it in enumerate(others, 1) if it is not first and it != first}

    if health is None or machine.table is None:
        return {}

    msrs = machine.table.state.msrs

    return {cpu: health.file_of(cpu, msrs) for cpu in sorted(health.cpus)}


def out_of_step(machine: Machine) -> list[int]:
    """The CPUs that are out of step; CPU 0 where re-initialisation would make others of its own."""
    strayed = machine.health is not None and machine.health.strayed

    return [*([0] if strayed else ()), *other_cpus(machine)]
