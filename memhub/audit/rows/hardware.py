"""Facts of the hardware to rows and back; what is wrong with a machine is JSON text in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

import orjson

from memhub.audit.rows.columns import instant_of, msrs_of, process_columns, stamp_columns
from memhub.audit.rows.ranges import msr_columns
from memhub.core.drivers.driver import RangeState
from memhub.core.files import Principal
from memhub.core.health.hardware_events import (
    CpusChecked,
    HardwareChanged,
    HardwareOp,
    describe_differences,
)
from memhub.core.health.health import ActiveSickness, Health
from memhub.core.health.sickness import sickness_of_dict
from memhub.core.holdings import Holdings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memhub.core.instant import Instant
    from memhub.core.machine import Machine

    Row = dict[str, Any]

_NOBODY: Final = dict.fromkeys(("process", "process_id", "pid", "uid"))


def health_item(health: Health) -> Row:
    """What is wrong with a machine, as plain values for JSON."""
    return {
        "sicknesses": [
            {
                "what": it.sickness.as_dict(),
                "bits": [list(pair) for pair in it.bits],
                "count": it.count,
            }
            for it in health.sicknesses
        ],
        "cpus": [
            [cpu, [[number, value] for number, value in msrs.items()]]
            for cpu, msrs in health.cpus.items()
        ],
        "suspended_ns": health.suspended_ns,
        "strayed": health.strayed,
    }


def health_of(item: Mapping[str, Any]) -> Health:
    """The opposite of `health_item`.

    Raises:
        KeyError: a member is missing.
        ValueError: a sickness is none.
        TypeError: a value has the wrong type.
    """
    return Health(
        tuple(
            ActiveSickness(
                sickness_of_dict(it["what"]),
                tuple((number, bits) for number, bits in it["bits"]),
                it["count"],
            )
            for it in item["sicknesses"]
        ),
        {cpu: dict(map(tuple, msrs)) for cpu, msrs in item["cpus"]},
        item["suspended_ns"],
        item["strayed"],
    )


def health_in(items: Sequence[Mapping[str, Any]], _machine: Machine, _at: Instant) -> Holdings:
    """What is wrong, of a `held.part` row."""
    (it,) = items

    return Holdings(health=health_of(it))


def _by_columns(by: Principal | None) -> Row:
    return _NOBODY if by is None else process_columns(by)


def _changed(it: HardwareChanged, _ended: int) -> Row:
    health = it.health[1]
    row = {
        **stamp_columns(f"hardware.{it.op}", it.at),
        "machine": it.machine,
        "arch": it.arch,
        **_by_columns(it.by),
        "sickness": list(it.sickness),
        "cpus": [] if health is None else list(health.cpus),
        "health": None if health is None else orjson.dumps(health_item(health)).decode(),
        "generation": it.generation,
    }
    if it.op == "sicken" and health is not None:
        active = health.find(it.sickness[0])
        row["action"] = None if active is None else active.sickness.action

    if it.states is not None:
        before, after = (state.msrs for state in it.states)
        changed = {
            number: (before.get(number, 0), after.get(number, 0))
            for number in sorted({**before, **after})
            if before.get(number, 0) != after.get(number, 0)
        }
        if changed:
            row |= msr_columns(changed)

    return row


def _checked(it: CpusChecked, _ended: int) -> Row:
    return {
        **stamp_columns("hardware.check", it.at),
        "machine": it.machine,
        "arch": it.arch,
        **_by_columns(it.by),
        "count": len(it.found),
        "cpus": [one.cpu for one in it.found],
        "reason": describe_differences(it.found),
        "generation": it.generation,
    }


#: Writers of these rows, by the kind of fact.
HARDWARE_WRITERS: Final[Mapping[type, Callable[[Any, int], Row]]] = {
    HardwareChanged: _changed,
    CpusChecked: _checked,
}


def _change(row: Mapping[str, Any], machine: Machine) -> HardwareChanged:
    op: HardwareOp = row["event"].removeprefix("hardware.")
    by = None
    if row["process_id"] is not None:
        by = Principal(row["process_id"], row["process"], row["pid"], row["uid"])

    health = None if row["health"] is None else health_of(orjson.loads(row["health"]))
    states, table = None, machine.table
    if table is not None:
        before, msrs = table.state, {number: new for number, (_, new) in msrs_of(row).items()}
        after = RangeState(before.slots, {**before.msrs, **msrs}) if msrs else before
        states = (before, after)

    return HardwareChanged(
        machine.name,
        machine.arch.name,
        instant_of(row),
        op,
        by,
        tuple(row["sickness"]),
        (machine.health, health),
        states,
        row["generation"],
    )


#: Readers of the rows that change a machine, by event.
HARDWARE_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], Machine], HardwareChanged]]] = (
    dict.fromkeys((f"hardware.{op}" for op in get_args(HardwareOp)), _change)
)
