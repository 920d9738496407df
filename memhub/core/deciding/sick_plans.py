"""MEMRANGE_SET and undo on a machine with something wrong: what they come to.

A SET takes effect as on any machine, with the state that the kernel reads back from CPU 0. What
becomes of the other CPUs, and what firmware does then, is a fact of its own that follows it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from memhub.abi import MDF_FIXBASE
from memhub.core.asking.asked_driver import Plan
from memhub.core.drivers.driver import Change
from memhub.core.health.hardware_events import HardwareChanged
from memhub.core.health.health import (
    CpuFiles,
    Health,
    files_of,
    read_back,
    reinit_everywhere,
    rewrite_by_firmware,
    store_everywhere,
)
from memhub.core.served import changed_registers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.abi import RangeDesc
    from memhub.core.drivers.driver import RangeState
    from memhub.core.events import RangesSet, SlotUndone
    from memhub.core.files import Principal
    from memhub.core.health.hardware_events import HardwareOp
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine

_WELL = Health()


class SickPlan(Plan):
    """A plan on a machine with something wrong.

    Attributes:
        meant: the state that the driver would have made, with nothing wrong.
        files: the registers of all CPUs after it.
    """

    meant: RangeState
    files: CpuFiles


class Was(NamedTuple):
    """What a change of the hardware begins with.

    Attributes:
        health: what is wrong.
        state: the range state.
        generation: its generation.
    """

    health: Health | None
    state: RangeState
    generation: int

    @classmethod
    def left_by(cls, change: HardwareChanged) -> Was:
        """What a change leaves."""
        assert change.states is not None

        return cls(change.health[1], change.states[1], change.generation)


def asked_row(row: RangeDesc, asked: RangeDesc) -> RangeDesc:
    """What an UPDATE claims of a slot that it wrote: what it asked for, whatever came of it.

    A slot that lost its registers may read back as all memory.

    Args:
        row: what the slot holds after it.
        asked: the descriptor asked for.
    """
    return row if row.mr_flags & MDF_FIXBASE else asked


def set_labels(plan: Plan, desc: RangeDesc, *, remove: bool) -> dict[int, bytes]:
    """`mr_owner` of the slots that a MEMRANGE_SET writes, before they are read back.

    Args:
        plan: what it makes of the table.
        desc: the descriptor asked for.
        remove: whether it is a REMOVE, whose slots are not labelled as they are read back.
    """
    slots = plan.after.slots

    return {it: slots[it].mr_owner if remove else desc.mr_owner for it in plan.change.wrote}


def suffer_plan(machine: Machine, health: Health, plan: Plan, labels: Mapping[int, bytes]) -> Plan:
    """What a plan comes to on a machine with something wrong: what is stored, and read back.

    Args:
        machine: the machine.
        health: what is wrong with it.
        plan: what the driver would make of its table.
        labels: `mr_owner` of the slots that it writes, as asked for.
    """
    driver, before, meant = machine.require_table().driver, plan.before, plan.after
    old = files_of(health, before.msrs, machine.spec.cpu.count)
    files = store_everywhere(health, driver, old, meant)
    rows = read_back(health, driver, before, meant, files.first, labels)
    slots = {slot: row for slot, row in enumerate(rows) if row != before.slots[slot]}
    change = Change(plan.change.wrote, slots, changed_registers(before.msrs, files.first))
    suffered = SickPlan(change, before, before.apply(change))
    suffered.meant, suffered.files = meant, files

    return suffered


def meant_slots(plan: Plan) -> tuple[RangeDesc, ...]:
    """The slots that a driver means to make; on a sick machine they do not come out so."""
    return plan.meant.slots if isinstance(plan, SickPlan) else plan.after.slots


def follow_plan(
    machine: Machine, health: Health, plan: Plan, fact: RangesSet | SlotUndone
) -> tuple[HardwareChanged, ...]:
    """What follows a plan that takes effect: other CPUs' registers, and what firmware does.

    Args:
        machine: the machine, before the effect.
        health: what is wrong with it.
        plan: what takes effect.
        fact: that it does.

    Returns:
        nothing where all registers are as they were meant to be.
    """
    assert isinstance(plan, SickPlan)
    files = rewrite_by_firmware(health, "set", plan.files)
    files = CpuFiles(files.files, files.struck | plan.files.struck)
    was = Was(health, plan.after, fact.generation)
    change = make_change(machine, "store", was, health, files, fact.at)
    assert change.states is not None
    if change.health[1] == health and change.states[1] is plan.after:
        return ()

    return (change,)


def make_change(
    machine: Machine,
    op: HardwareOp,
    was: Was,
    health: Health,
    files: CpuFiles,
    now: Instant,
    by: Principal | None = None,
    names: tuple[str, ...] = (),
) -> HardwareChanged:
    """The fact that the CPUs have these registers now.

    Args:
        machine: the machine.
        op: what happened.
        was: what there was before.
        health: what is wrong, without the registers and without what has just struck.
        files: the registers of all CPUs.
        now: when.
        by: who asked for it.
        names: the sicknesses concerned; none for those that have just struck.
    """
    driver, state = machine.require_table().driver, was.state
    after, generation = state, was.generation
    if changed := changed_registers(state.msrs, files.first):
        after, generation = state.apply(Change((), {}, changed)), generation + 1

    first = CpuFiles({0: files.first})
    proper = reinit_everywhere(_WELL, driver, first, after, machine.spec.msrs).first
    found = replace(
        health.counted(files.struck),
        cpus=files.differences(),
        strayed=bool(changed_registers(files.first, proper)),
    ).settled()
    concerned = names or tuple(sorted(files.struck))
    who = (machine.name, machine.arch.name, now)

    return HardwareChanged(*who, op, by, concerned, (was.health, found), (state, after), generation)


def change_health(
    machine: Machine,
    op: HardwareOp,
    by: Principal | None,
    health: Health | None,
    now: Instant,
    names: tuple[str, ...] = (),
) -> HardwareChanged:
    """The fact of a change of what is wrong that changes no register by itself.

    Args:
        machine: the machine.
        op: what happened.
        by: who asked for it.
        health: what is wrong then.
        now: when.
        names: the sicknesses concerned.
    """
    table = machine.table
    states = None if table is None else (table.state, table.state)
    settled = None if health is None else health.settled()
    who, healths = (machine.name, machine.arch.name, now), (machine.health, settled)

    return HardwareChanged(*who, op, by, names, healths, states, machine.generation)
