"""Claims behind another kernel than FreeBSD, which is asked first.

What the kernel would do is refused with EBUSY, and not done, where it would change a range or the
type of a byte that another process has claimed. Use counts are the kernel's own and are no claims.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from memhub.core.claims import busy_error
from memhub.core.deciding.ownership import check_slots, check_types

if TYPE_CHECKING:
    from memhub.core.drivers.driver import RangeState
    from memhub.core.drivers.served_kernel import KernelRanges, KernelState
    from memhub.core.files import Caller, Principal
    from memhub.core.holding.claim_table import ClaimTable
    from memhub.core.machine import Machine
    from memhub.errors import Obstacle


def check_claims(
    machine: Machine,
    caller: Caller,
    kernel: KernelState,
    states: tuple[RangeState, RangeState],
) -> None:
    """Refuse to change what another process has claimed.

    Args:
        machine: the machine before the call.
        caller: who calls.
        kernel: the kernel's state after the call.
        states: the machine's range state before and after it.

    Raises:
        RangeBusy: EBUSY; the obstacles are the claims in the way.
    """
    served, (before, after) = machine.served, states
    assert served is not None
    if served.state is kernel or machine.claims.only_holder(caller.process):
        return

    ranges = served.ranges(), served.kernel.ranges(served.machine, kernel)
    if ranges[0] is not None and ranges[1] is not None:
        _check_ranges(machine.claims, caller.process, ranges[0], ranges[1])
    else:
        pairs = enumerate(zip(before.slots, after.slots, strict=True))
        slots = [slot for slot, (old, new) in pairs if old != new]
        check_slots(machine.claims, caller.process, slots, before.slots)

    if before is after:
        return

    driver, whole = machine.require_table().driver, (0, 1 << machine.spec.cpu.phys_bits)
    check_types(
        machine.claims,
        caller.process,
        whole,
        lambda: driver.types(before),
        lambda: driver.types(after),
    )


def _check_ranges(
    claims: ClaimTable, process: Principal, before: KernelRanges, after: KernelRanges
) -> None:
    """Refuse to change a range of the kernel that lies wholly inside another process's claim.

    The slots of a claim do not tell them: on amd64 they are not the MTRRs.
    """
    now = {it.register: it for it in after.used}
    blocked: list[Obstacle] = []
    for old in before.used:
        new = now.get(old.register)
        if new is not None and old._replace(uses=new.uses) == new:
            continue

        end = old.base + old.length
        foreign = claims.foreign(process, old.base, end)
        holder = next((it for it in foreign if it.covers(old.base, end)), None)
        if holder is not None:
            blocked.append(
                replace(holder.obstacle(slot=old.register), base=old.base, length=old.length)
            )

    if blocked:
        raise busy_error(blocked)
