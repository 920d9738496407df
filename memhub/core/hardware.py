"""Sick hardware, suspend and resume: what they come to. Nothing is changed here.

Sources: FreeBSD `sys/x86/x86/x86_mem.c` (x86_mrstore, x86_mrfetch, x86_mrreinit) and
`sys/x86/acpica/acpi_wakeup.c` (acpi_wakeup_machdep: at a resume `mem_range_softc.mr_op->reinit`);
Linux `arch/x86/kernel/cpu/mtrr/generic.c` (mtrr_state_warn).
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from memhub.core.asked_hardware import ask_power_on, ask_registers_of
from memhub.core.caches.decide import flush_before
from memhub.core.decision import Decision
from memhub.core.driver import RangeState
from memhub.core.failure import is_suspended, suspended_error
from memhub.core.hardware_events import HardwareChanged
from memhub.core.health import (
    ActiveSickness,
    CpuFiles,
    Health,
    files_of,
    reinit_everywhere,
    rewrite_by_firmware,
)
from memhub.core.kernel_requests import answer_call
from memhub.core.served import refuse_served
from memhub.core.served_kernel import KernelCall
from memhub.core.sick_plans import Was, make_change
from memhub.errors import DriverFailed, InvalidArgument, NoSuchRange, RangeBusy

if TYPE_CHECKING:
    from collections.abc import Collection

    from memhub.core.asked_driver import AskedDriver
    from memhub.core.files import Principal
    from memhub.core.hardware_events import HardwareOp
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.sickness import Sickness

_WELL = Health()


# Sicknesses


def named_for(machine: Machine, sickness: Sickness, taken: Collection[str]) -> Sickness:
    """A sickness with its machine, and a name that no other has.

    A name that is made has the machine's in it: it tells nothing of another machine, and clashes
    with none of another as a snapshot brings it back.

    Raises:
        InvalidArgument: EINVAL; its own name is another's.
    """
    name = sickness.name
    if name in taken:
        raise InvalidArgument(f"there is a sickness {name!r} already")

    numbers = itertools.count(1)
    while not name or name in taken:
        name = f"{machine.name}-sick-{next(numbers)}"

    return replace(sickness, name=name, machine=machine.name)


def decide_sicken(
    machine: Machine, sickness: Sickness, now: Instant, by: Principal | None = None
) -> Decision:
    """Make something wrong with a machine.

    Args:
        machine: the machine.
        sickness: what, with a name.
        now: the present moment.
        by: who asks.

    Raises:
        InvalidArgument: EINVAL; the machine has no such slot, register or CPU, or its driver does
            not know what to make of the registers.
        NotSupported, NoRanges: it has no ranges, or another kernel than FreeBSD.
    """
    refuse_served(machine, "what is sick")
    health, table = machine.health or _WELL, machine.require_table()
    if health.find(sickness.name) is not None:
        raise InvalidArgument(f"{machine.name} has a sickness {sickness.name!r} already")

    count = machine.spec.cpu.count
    if sickness.cpu is not None and sickness.cpu >= count:
        raise InvalidArgument(f"{machine.name} has {count} CPUs, and none of number {sickness.cpu}")

    state = table.state
    active = ActiveSickness(sickness, _bits_of(table.driver, state, sickness))
    health = replace(health, sicknesses=(*health.sicknesses, active))
    files = _begin(active, files_of(health, state.msrs, count))
    _check_types(table.driver, state, files)
    unproved = RangeState(state.slots, state.msrs)  # each SET stores and reads every register
    was = Was(machine.health, unproved, machine.generation)
    fact = make_change(machine, "sicken", was, health, files, now, by, (sickness.name,))
    assert fact.states is not None

    return Decision(None, None, (fact._replace(states=(state, fact.states[1])),))


def _bits_of(
    driver: AskedDriver, state: RangeState, sickness: Sickness
) -> tuple[tuple[int, int], ...]:
    """The registers that a sickness is about, each with the bits that it keeps or clears."""
    if sickness.register is not None:
        return ((sickness.register, (1 << 64) - 1),)

    if sickness.slot is None:
        return ()

    if sickness.slot >= len(state.slots):
        raise InvalidArgument(
            f"{driver.machine} has {len(state.slots)} slots, and none of number {sickness.slot}"
        )

    held = ask_registers_of(driver, state, sickness.slot)
    if sickness.action == "mask_holes":
        if len(held) < 2:
            raise InvalidArgument(f"slot {sickness.slot} of {driver.machine} has no mask register")

        assert sickness.holes is not None
        return ((held[-1][0], sickness.holes),)

    if not held and sickness.action == "lost_store":
        raise InvalidArgument(f"no register holds slot {sickness.slot} of {driver.machine}")

    return held


def _begin(active: ActiveSickness, old: CpuFiles) -> CpuFiles:
    """The registers as a sickness begins."""
    sickness, files = active.sickness, dict(old.files)
    for cpu, before in old.files.items():
        if not sickness.strikes(cpu):
            continue

        if sickness.action == "mask_holes":
            ((number, bits),) = active.bits
            files[cpu] = {**before, number: before.get(number, 0) & ~bits}
        elif sickness.registers and sickness.moment == "now":
            files[cpu] = {**before, **sickness.registers}

    changed = any(files[cpu] != old.files[cpu] for cpu in files)
    first = files[0]
    alike = {
        cpu: first if old.files[cpu] is old.first and it == first else it
        for cpu, it in files.items()
    }

    return CpuFiles(alike, frozenset({sickness.name} if changed else ()))


def _check_types(driver: AskedDriver, state: RangeState, files: CpuFiles) -> None:
    """Refuse registers that the driver cannot make types of: the CPU would not take them."""
    for cpu, msrs in files.files.items():
        if msrs is files.first and cpu:
            continue

        try:
            driver.types(RangeState(state.slots, msrs))
        except DriverFailed as error:
            raise InvalidArgument(
                f"CPU {cpu} cannot have these registers: {error.reason}"
            ) from None


def decide_cure(machine: Machine, name: str, now: Instant, by: Principal | None = None) -> Decision:
    """End a sickness; the registers stay as they are.

    Raises:
        NoSuchRange: ENOENT; the machine has no such sickness.
    """
    health = machine.health
    if health is None or health.find(name) is None:
        raise NoSuchRange(f"{machine.name} has no sickness {name!r}")

    return _decide(machine, "cure", by, health.without(name), now, (name,))


def _decide(
    machine: Machine,
    op: HardwareOp,
    by: Principal | None,
    health: Health,
    now: Instant,
    names: tuple[str, ...] = (),
) -> Decision:
    """A change of what is wrong that changes no register."""
    table = machine.table
    states = None if table is None else (table.state, table.state)
    who, healths = (machine.name, machine.arch.name, now), (machine.health, health.settled())
    fact = HardwareChanged(*who, op, by, names, healths, states, machine.generation)

    return Decision(None, None, (fact,))


# Re-initialisation, suspend and resume


def decide_reinit(machine: Machine, now: Instant, by: Principal | None = None) -> Decision:
    """Let every CPU write the table into its registers (`mem_range_ops.reinit`).

    Raises:
        DeviceError: EAGAIN; the machine is suspended, and re-initialises as it resumes.
        NotSupported, NoRanges: it has no ranges, or another kernel than FreeBSD.
    """
    refuse_served(machine, "re-initialisation")
    health, table = machine.health or _WELL, machine.require_table()
    if is_suspended(machine):
        raise suspended_error(machine.name)

    state = table.state
    old = files_of(health, state.msrs, machine.spec.cpu.count)
    files = reinit_everywhere(health, table.driver, old, state, machine.spec.msrs)
    was = Was(machine.health, state, machine.generation)

    return Decision(None, None, (make_change(machine, "reinit", was, health, files, now, by),))


def decide_suspend(machine: Machine, now: Instant, by: Principal | None = None) -> Decision:
    """Suspend a machine: what is asked of it is refused until it is resumed.

    Its caches are flushed before, since they lose their power.

    Raises:
        InvalidArgument: EINVAL; it is suspended.
        RangeBusy: EBUSY; a commit is on its way to all CPUs, which cannot stop now.
    """
    health = machine.health or _WELL
    if health.suspended_ns is not None:
        raise InvalidArgument(f"{machine.name} is suspended already")

    if machine.commits:
        raise RangeBusy(
            f"{machine.name} cannot be suspended during a commit",
            obstacles=tuple(it.obstacle() for it in machine.commits),
        )

    asleep = _decide(machine, "suspend", by, replace(health, suspended_ns=now.wall_ns), now)

    return flush_before(machine, asleep, now)


def decide_resume(machine: Machine, now: Instant, by: Principal | None = None) -> Decision:
    """Resume a machine: firmware sets the registers up, and the kernel re-initialises them.

    Raises:
        InvalidArgument: EINVAL; it is not suspended.
    """
    health = machine.health or _WELL
    if health.suspended_ns is None:
        raise InvalidArgument(f"{machine.name} is not suspended")

    health = replace(health, suspended_ns=None)
    if machine.served is not None:
        resumed = _decide(machine, "resume", by, health, now)
        called = answer_call(machine, None, KernelCall("resume"), now)
        return resumed._replace(events=(*resumed.events, *called.events))

    table, attached = machine.table, machine.spec.msrs
    if table is None or not table.state.slots:
        return _decide(machine, "resume", by, health, now)

    woken, missed = _wake(machine, health, table.driver)
    files = rewrite_by_firmware(health, "resume", woken)
    struck = woken.struck | files.struck
    files = reinit_everywhere(health, table.driver, files, table.state, attached, missed)
    files = CpuFiles(files.files, files.struck | struck)
    was = Was(machine.health, table.state, machine.generation)

    return Decision(None, None, (make_change(machine, "resume", was, health, files, now, by),))


def _wake(machine: Machine, health: Health, driver: AskedDriver) -> tuple[CpuFiles, frozenset[int]]:
    """The registers that the kernel finds at a resume, and the CPUs that it does not reach.

    Firmware sets the registers of every CPU up as it did at the start, save where it forgets.
    """
    assert machine.table is not None
    present, attached = machine.table.state.msrs, machine.spec.msrs
    as_at_start = {**dict.fromkeys(present, 0), **attached}
    files: dict[int, dict[int, int]] = {}
    struck: set[str] = set()
    missed: set[int] = set()
    for cpu in range(machine.spec.cpu.count):
        files[cpu] = as_at_start
        for it in health.live("forgetful_resume", cpu):
            lost = ask_power_on(driver, attached)
            files[cpu] = {**dict.fromkeys(as_at_start, 0), **lost}
            struck.add(it.sickness.name)
            if not it.sickness.reinit:
                missed.add(cpu)

    return CpuFiles(files, frozenset(struck)), frozenset(missed)
