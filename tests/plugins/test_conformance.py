"""Each architecture answers what the real FreeBSD driver answered, at every step."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import memhub_amd64_mtrr
import memhub_i386
import memhub_k6
import memhub_powerpc
import traces
from memhub import errors
from memhub.abi import OWNER_SIZE, RangeDesc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.drivers.driver import Arch, RangeDriver, RangeState

ARCHES = {
    "i386": memhub_i386.I386,
    "x86": memhub_amd64_mtrr.AMD64_MTRR,
    "k6": memhub_k6.K6,
    "powerpc": memhub_powerpc.POWERPC,
}


class Mismatch(AssertionError):
    """Raised when a driver and a trace disagree."""


def replay(arch: Arch, trace: traces.Trace) -> RangeState | None:
    """Run one scenario; `memioctl`'s own part is done here, in the kernel's order."""
    assert arch.driver is not None
    driver = arch.driver(trace.cpu, {})
    try:
        state = driver.attach(trace.msrs)
    except errors.NotSupported:
        _same(f"{trace.id}: supported", trace.supported, False)
        _refuse_all(trace, "EOPNOTSUPP")
        return None

    _same(f"{trace.id}: supported", trace.supported, True)
    table, msrs = list(trace.table), dict(trace.msrs)
    _same(f"{trace.id}: attach", table, [traces.row(desc) for desc in state.slots])
    if not state.slots:
        _refuse_all(trace, "ENXIO")
        return state

    for number, step in enumerate(trace.steps):
        where = f"{trace.id} step {number} {step}"
        state = _step(driver, state, step, where)
        for slot, *fields in step.get("changed", ()):
            table[slot] = tuple(fields)

        msrs.update(traces.registers(step.get("msr", {})))
        _same(f"{where}: table", table, [traces.row(desc) for desc in state.slots])
        _same(f"{where}: registers", msrs, {key: state.msrs.get(key, 0) for key in msrs})
        _same(f"{where}: more registers", {}, _extra(state.msrs, msrs))

    return state


def _step(
    driver: RangeDriver, state: RangeState, step: Mapping[str, Any], where: str
) -> RangeState:
    if step["op"] == "get":
        _same(f"{where}: errno", step["errno"], 0)
        count = min(step["n"], len(state.slots))
        _same(f"{where}: count", step["count"], count if count > 0 else len(state.slots))
        return state

    try:
        after = _set(driver, state, step["arg"], traces.request(step))
    except errors.DeviceError as error:
        _same(f"{where}: errno", step["errno"], error.code.name)
        return state

    _same(f"{where}: errno", step["errno"], 0)

    return after


def _set(driver: RangeDriver, state: RangeState, argument: int, desc: RangeDesc) -> RangeState:
    if argument not in (0, 1):
        raise errors.NotSupported(f"mo_arg[0] {argument}")

    change = (driver.remove if argument else driver.update)(state, desc)
    after = state.apply(change)
    different = {slot for slot, row in enumerate(after.slots) if row != state.slots[slot]}
    _same("slots of the change", different, set(change.slots))
    different = {key for key in after.msrs if after.msrs[key] != state.msrs.get(key, 0)}
    _same("registers of the change", different, set(change.msrs))

    return after


def _refuse_all(trace: traces.Trace, errno: str) -> None:
    for step in trace.steps:
        _same(f"{trace.id} {step}", step["errno"], errno)


def _extra(have: Mapping[int, int], expected: Mapping[int, int]) -> dict[int, int]:
    return {key: value for key, value in have.items() if value and key not in expected}


def _same(what: str, expected: object, actual: object) -> None:
    if expected != actual:
        raise Mismatch(f"{what}: expected {expected}, got {actual}")


@pytest.mark.parametrize("name", sorted(ARCHES))
def test_every_recorded_step_is_answered_alike(name: str) -> None:
    scenarios = [replay(ARCHES[name], trace) for trace in traces.load(name)]

    assert len(scenarios) == (400 if name in ("i386", "x86") else 100)


def _changed_slot(step: dict[str, Any]) -> None:
    step["changed"][0][3] ^= 1


def _changed_owner(step: dict[str, Any]) -> None:
    step["changed"][0][4] = "other"


def _changed_register(step: dict[str, Any]) -> None:
    step["msr"][next(iter(step["msr"]))] ^= 0x1000


def _missing_change(step: dict[str, Any]) -> None:
    step["changed"] = step["changed"][1:]


def _changed_errno(step: dict[str, Any]) -> None:
    step["errno"] = "EBUSY"


@pytest.mark.parametrize(
    "mutate", [_changed_slot, _changed_owner, _changed_register, _missing_change, _changed_errno]
)
def test_a_trace_with_one_value_altered_is_noticed(mutate: Any) -> None:
    trace = next(trace for trace in traces.load("x86") if len(trace.table) > 88)
    steps = copy.deepcopy(list(trace.steps))
    mutate(next(step for step in steps if step.get("changed") and step["msr"]))
    replay(ARCHES["x86"], trace)

    with pytest.raises(Mismatch):
        replay(ARCHES["x86"], replace(trace, steps=tuple(steps)))


def test_real_machines_show_the_table_that_the_kernel_shows() -> None:
    driver_of = memhub_amd64_mtrr.AMD64_MTRR.driver
    assert driver_of is not None
    known = [machine for machine in traces.machines() if machine.msrs is not None]
    for machine in known:
        assert machine.msrs is not None
        slots = driver_of(machine.cpu, {}).attach(machine.msrs).slots
        _same(machine.id, list(machine.table), [traces.row(desc) for desc in slots])

    assert len(known) > 20


def test_bytes_behind_a_label_stay_where_the_kernel_leaves_them() -> None:
    """The traces show a label up to its first NUL; GET copies all eight bytes."""
    driver_of = memhub_amd64_mtrr.AMD64_MTRR.driver
    assert driver_of is not None
    trace = next(trace for trace in traces.load("x86") if len(trace.table) > 88)
    driver = driver_of(trace.cpu, {})
    state = driver.attach(trace.msrs)
    base, length, label = 1 << 31, 1 << 20, b"seven77\0"
    free = next(slot for slot, row in enumerate(state.slots) if not row.mr_flags & 1 << 27)
    state = state.apply(driver.update(state, RangeDesc(base, length, 1, label)))
    assert state.slots[free].mr_owner == label

    state = state.apply(driver.remove(state, RangeDesc(base, length)))
    assert state.slots[free].mr_owner == b"\0even77\0"

    relabelled = RangeDesc(base, length, 1, b"\0even77\0")
    state = state.apply(driver.update(state, relabelled))
    assert state.slots[free].mr_owner == b"BIOS\x0077\0"
    assert len(state.slots[free].mr_owner) == OWNER_SIZE
