"""Sick hardware, suspend and resume: what they come to. Nothing is changed here.

Sources: FreeBSD `sys/x86/x86/x86_mem.c` (x86_mrstore, x86_mrfetch, x86_mrreinit) and
`sys/x86/acpica/acpi_wakeup.c` (acpi_wakeup_machdep: at a resume `mem_range_softc.mr_op->reinit`);
Linux `arch/x86/kernel/cpu/mtrr/generic.c` (mtrr_state_warn).
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from memhub.core.asking.asked_hardware import ask_fault, ask_power_on, ask_registers_of
from memhub.core.deciding.cache_requests import flush_before
from memhub.core.deciding.kernel_hardware import (
    check_reinit,
    cpu_files,
    reinit_kernel,
    resume_kernel,
    sicken_kernel,
    suspend_kernel,
)
from memhub.core.deciding.kernel_health import slot_bits
from memhub.core.deciding.sick_plans import Was, change_health, make_change
from memhub.core.decision import Decision
from memhub.core.drivers.driver import RangeState
from memhub.core.health.failure import is_suspended, suspended_error
from memhub.core.health.health import (
    ActiveSickness,
    CpuFiles,
    Health,
    files_of,
    reinit_everywhere,
    rewrite_by_firmware,
)
from memhub.errors import DriverFailed, InvalidArgument, NoSuchRange, RangeBusy

if TYPE_CHECKING:
    from collections.abc import Collection

    from memhub.core.asking.asked_driver import AskedDriver
    from memhub.core.drivers.served_kernel import Registers
    from memhub.core.files import Principal
    from memhub.core.health.hardware_events import HardwareOp
    from memhub.core.health.sickness import Sickness
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine

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
        NotSupported, NoRanges: it has no ranges.
    """
    health, table = machine.health or _WELL, machine.require_table()
    if health.find(sickness.name) is not None:
        raise InvalidArgument(f"{machine.name} has a sickness {sickness.name!r} already")

    count = machine.spec.cpu.count
    if sickness.cpu is not None and sickness.cpu >= count:
        raise InvalidArgument(f"{machine.name} has {count} CPUs, and none of number {sickness.cpu}")

    state = table.state
    _check_registers(machine, state, sickness)
    active = ActiveSickness(sickness, _bits_of(machine, state, sickness))
    health = replace(health, sicknesses=(*health.sicknesses, active))
    served = machine.served is not None
    files = _begin(active, cpu_files(machine) if served else files_of(health, state.msrs, count))
    _check_types(table.driver, state, files)
    if served:
        return sicken_kernel(machine, health, files, sickness.name, now, by)

    unproved = RangeState(state.slots, state.msrs)  # each SET stores and reads every register
    was = Was(machine.health, unproved, machine.generation)
    fact = make_change(machine, "sicken", was, health, files, now, by, (sickness.name,))
    assert fact.states is not None

    return Decision(None, None, (fact._replace(states=(state, fact.states[1])),))


def _check_registers(machine: Machine, state: RangeState, sickness: Sickness) -> None:
    """Refuse registers at whose store a CPU faults, unless the machine's CPU is not strict."""
    if machine.spec.kernel_options.get("strict") is False:
        return

    driver = machine.require_table().driver
    lost = {} if sickness.register is None else {sickness.register: 0}
    for number, value in {**sickness.registers, **lost}.items():
        if why := ask_fault(driver, state, number, value):
            raise InvalidArgument(f"CPU {sickness.cpu or 0} cannot have these registers: {why}")


def _bits_of(
    machine: Machine, state: RangeState, sickness: Sickness
) -> tuple[tuple[int, int], ...]:
    """The registers that a sickness is about, each with the bits that it keeps or clears."""
    driver, slot = machine.require_table().driver, sickness.slot
    if sickness.register is not None:
        return ((sickness.register, (1 << 64) - 1),)

    if slot is None:
        return ()

    if machine.served is not None:
        held = slot_bits(machine, slot)
    elif slot < len(state.slots):
        held = ask_registers_of(driver, state, slot)
    else:
        many = len(state.slots)
        raise InvalidArgument(f"{driver.machine} has {many} slots, and none of number {slot}")

    if sickness.action == "mask_holes":
        if len(held) < 2:
            raise InvalidArgument(f"slot {slot} of {driver.machine} has no mask register")

        number, holes = held[-1][0], sickness.holes
        assert holes is not None
        bits = (1 << it for it in range(holes.bit_length()) if holes >> it & 1)
        if all(ask_fault(driver, state, number, bit) for bit in bits):
            raise InvalidArgument(f"holes {holes:#x}: register {number:#x} has none of these bits")

        return ((number, holes),)

    if not held and sickness.action == "lost_store":
        raise InvalidArgument(f"no register holds slot {slot} of {driver.machine}")

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
    return Decision(None, None, (change_health(machine, op, by, health, now, names),))


# Re-initialisation, suspend and resume


def decide_reinit(machine: Machine, now: Instant, by: Principal | None = None) -> Decision:
    """Let every CPU write the table into its registers (`mem_range_ops.reinit`).

    Raises:
        DeviceError: EAGAIN; the machine is suspended, and re-initialises as it resumes.
        NotSupported, NoRanges: it has no ranges, or a kernel that never does so.
    """
    if machine.served is not None:
        check_reinit(machine)

    health, table = machine.health or _WELL, machine.require_table()
    if is_suspended(machine):
        raise suspended_error(machine.name)

    if machine.served is not None:
        return flush_before(machine, reinit_kernel(machine, now, by), now)

    state = table.state
    old = files_of(health, state.msrs, machine.spec.cpu.count)
    files = reinit_everywhere(health, table.driver, old, state, machine.spec.msrs)
    was = Was(machine.health, state, machine.generation)

    done = Decision(None, None, (make_change(machine, "reinit", was, health, files, now, by),))

    return flush_before(machine, done, now)


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

    health = replace(health, suspended_ns=now.wall_ns)
    if machine.served is None:
        asleep = _decide(machine, "suspend", by, health, now)
    else:
        asleep = suspend_kernel(machine, health, now, by)

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
    table, served, attached = machine.table, machine.served, machine.spec.msrs
    if table is None and served is not None:  # its ranges are none of FreeBSD's
        return resume_kernel(machine, health, CpuFiles({}), frozenset(), now, by)

    if table is None or (served is None and not table.state.slots):
        return _decide(machine, "resume", by, health, now)

    if served is not None:
        attached = served.kernel.firmware_registers(served.machine)

    woken, missed = _wake(machine, health, table.driver, attached)
    found = rewrite_by_firmware(health, "resume", woken)
    found = CpuFiles(found.files, found.struck | woken.struck)
    if served is not None:
        return resume_kernel(machine, health, found, missed, now, by)

    files = reinit_everywhere(health, table.driver, found, table.state, attached, missed)
    files = CpuFiles(files.files, files.struck | found.struck)
    was = Was(machine.health, table.state, machine.generation)

    return Decision(None, None, (make_change(machine, "resume", was, health, files, now, by),))


def _wake(
    machine: Machine, health: Health, driver: AskedDriver, attached: Registers
) -> tuple[CpuFiles, frozenset[int]]:
    """The registers that the kernel finds at a resume, and the CPUs that it does not reach.

    Firmware sets the registers of every CPU up as it did at the start, save where it forgets. A
    register that it does not set has the value of power-on, which is not always 0 (IA32_PAT).
    """
    assert machine.table is not None
    served = machine.served
    cpus = (machine.table.state.msrs,) if served is None else served.state.cpus
    forgetful = [[*health.live("forgetful_resume", it)] for it in range(machine.spec.cpu.count)]
    lost = ask_power_on(driver, attached)
    numbers = set(lost) if any(forgetful) else set()  # what one CPU shows, each has
    as_at_start = {it: lost.get(it, 0) for it in sorted(numbers.union(*cpus))} | {**attached}
    files: dict[int, dict[int, int]] = {}
    struck: set[str] = set()
    missed: set[int] = set()
    for cpu, active in enumerate(forgetful):
        files[cpu] = as_at_start
        for it in active:
            files[cpu] = {**dict.fromkeys(as_at_start, 0), **lost}
            struck.add(it.sickness.name)
            if not it.sickness.reinit:
                missed.add(cpu)

    return CpuFiles(files, frozenset(struck)), frozenset(missed)
