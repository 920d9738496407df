"""Sick hardware, re-initialisation and resume of a machine with another kernel than FreeBSD.

What becomes of registers is a call of the kernel's, or `firmware` where no kernel stored them, that
follows the fact of what is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.core.deciding.kernel_health import firmware_call, patch_item, suffer_call, unless_alike
from memhub.core.deciding.kernel_requests import ask_raw, call_fact, served_of
from memhub.core.deciding.sick_plans import change_health
from memhub.core.decision import Decision
from memhub.core.drivers.served_kernel import KernelCall
from memhub.core.health.health import CpuFiles
from memhub.errors import NotSupported

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.drivers.served_kernel import Registers
    from memhub.core.files import Principal
    from memhub.core.health.hardware_events import HardwareOp
    from memhub.core.health.health import Health
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine


def cpu_files(machine: Machine) -> CpuFiles:
    """The registers that the CPUs have now."""
    return CpuFiles(dict(enumerate(served_of(machine).state.cpus)))


def sicken_kernel(
    machine: Machine,
    health: Health,
    files: CpuFiles,
    name: str,
    now: Instant,
    by: Principal | None,
) -> Decision:
    """Make something wrong with a machine.

    Args:
        machine: the machine.
        health: what is wrong then, without what has struck.
        files: the registers as it begins.
        name: of the sickness.
        now: the present moment.
        by: who asks.
    """
    change = change_health(machine, "sicken", by, health.counted(files.struck), now, (name,))

    return Decision(None, None, (change, *firmware_call(machine, change, files)))


def check_reinit(machine: Machine) -> None:
    """Look whether the kernel stores its ranges again.

    Raises:
        NotSupported: EOPNOTSUPP; it never does on such a machine.
    """
    served = served_of(machine)
    if why := served.kernel.why_no_reinit(served.machine, served.state):
        raise NotSupported(f"{machine.name} has no re-initialisation: {why}")


def reinit_kernel(machine: Machine, now: Instant, by: Principal | None) -> Decision:
    """Let every CPU store the kernel's ranges, as each does that starts; see `check_reinit`."""
    return _call_machine(machine, "reinit", machine.health, CpuFiles({}), frozenset(), now, by)


def expected_registers(machine: Machine) -> Registers | None:
    """What re-initialisation would make of CPU 0; None where the kernel never stores again."""
    served = served_of(machine)
    if served.kernel.why_no_reinit(served.machine, served.state):
        return None

    return ask_raw(served, KernelCall("reinit")).state.msrs


def suspend_kernel(
    machine: Machine, health: Health, now: Instant, by: Principal | None
) -> Decision:
    """Suspend: the kernel saves what it stores again at a resume; no call where that is the same.

    Args:
        machine: the machine.
        health: what is wrong, with the sleep.
        now: the present moment.
        by: who asks.
    """
    return _call_machine(machine, "suspend", health, CpuFiles({}), frozenset(), now, by)


def resume_kernel(
    machine: Machine,
    health: Health,
    woken: CpuFiles,
    missed: frozenset[int],
    now: Instant,
    by: Principal | None,
) -> Decision:
    """Resume: the kernel finds the registers as firmware leaves them, and stores its own.

    Args:
        machine: the machine.
        health: what is wrong, without the sleep.
        woken: the registers that the kernel finds.
        missed: CPUs that it does not reach.
        now: the present moment.
        by: who asks.
    """
    return _call_machine(machine, "resume", health, woken, missed, now, by)


def _call_machine(
    machine: Machine,
    op: HardwareOp,
    health: Health | None,
    woken: CpuFiles,
    missed: frozenset[int],
    now: Instant,
    by: Principal | None,
) -> Decision:
    served = served_of(machine)
    if op not in served.kernel.machine_ops:
        return Decision(None, None, (change_health(machine, op, by, health, now),))

    found, args = served.state.cpus, {}
    if woken.files:
        found = tuple(woken.files[cpu] for cpu in range(len(found)))
        left = served.kernel.firmware_registers(served.machine)
        args = _patches(left, found)

    call = KernelCall(op, args)
    answer = ask_raw(served, call)
    suffered = suffer_call(health, found, answer.state, missed)
    struck = suffered.struck | woken.struck
    answer = answer._replace(state=unless_alike(served.state, suffered.state))
    after = None if health is None else health.counted(struck)
    change = change_health(machine, op, by, after, now, tuple(sorted(struck)))
    fact = call_fact(machine, None, call, now, answer, None)
    silent = op == "suspend" and not (fact.changes or fact.log)

    return Decision(None, None, (change,) if silent else (change, fact))


def _patches(
    left: Registers, found: tuple[Registers, ...]
) -> dict[str, Mapping[str, Mapping[str, str]]]:
    patches = {str(cpu): patch for cpu, own in enumerate(found) if (patch := patch_item(left, own))}

    return {"found": patches} if patches else {}
