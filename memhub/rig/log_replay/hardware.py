"""What became of the hardware of a machine, as a log tells, put to a machine of a replay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from memhub.audit.rows.hardware import health_of
from memhub.core.files import Principal
from memhub.errors import DeviceError
from memhub.faults.hardware import Hardware
from memhub.rig.log_replay.asking import Unplayable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.health.sickness import Sickness
    from memhub.rig.log_replay.asking import Life

    Row = Mapping[str, Any]


def put_hardware(life: Life, row: Row) -> None:
    """Put a `hardware.` record.

    Raises:
        Unplayable: the machine cannot have this sickness, or is not as the log has it.
    """
    by, hardware = None, Hardware(life.engine)
    if row["process_id"] is not None:
        by = Principal(row["process_id"], row["process"], row["pid"], row["uid"])

    hardware.begin()
    op = row["event"].removeprefix("hardware.")
    try:
        if op == "sicken":
            hardware.add(_sickness_in(life, row), by=by)
        elif op == "cure":
            hardware.remove(row["sickness"][0], by=by)
        else:
            act = {"check": hardware.check_cpus, "reinit": hardware.reinit}
            act |= {"suspend": hardware.suspend, "resume": hardware.resume}
            act[op](by=by)
    except DeviceError as error:
        raise Unplayable(f"its machine cannot {op}: {error.code.name}") from None


def _sickness_in(life: Life, row: Row) -> Sickness:
    active = health_of(orjson.loads(row["health"])).find(row["sickness"][0])
    if active is None:
        raise Unplayable("the log does not keep its sickness")

    return replace(active.sickness, machine=life.engine.default)
