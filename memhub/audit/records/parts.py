"""What several records have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub.abi import RangeDesc
    from memhub.core.ranges.commits import Instant
    from memhub.core.requests import Principal
    from memhub.errors import DeviceError

    Record = dict[str, Any]

_COLUMNS: Final = {
    side: (f"{side}_base", f"{side}_length", f"{side}_flags", f"{side}_owner")
    for side in ("before", "after")
}


def failure(error: DeviceError | None) -> Record:
    """The error of a request, or that there was none."""
    if error is None:
        return {"errno": None, "reason": None}

    return {"errno": error.code.name, "reason": error.reason}


def stamp(event: str, now: Instant) -> Record:
    """What happened, and when."""
    return {"event": event, "wall_ns": now.wall_ns, "mono_ns": now.mono_ns}


def columns(side: str, rows: Sequence[RangeDesc]) -> Record:
    """Descriptors as parallel lists: `before_base`, `before_length`, …."""
    base, length, flags, owner = _COLUMNS[side]
    if len(rows) == 1:
        row = rows[0]
        return {
            base: (row.mr_base,),
            length: (row.mr_len,),
            flags: (row.mr_flags,),
            owner: (_label(row.mr_owner),),
        }

    return {
        base: [row.mr_base for row in rows],
        length: [row.mr_len for row in rows],
        flags: [row.mr_flags for row in rows],
        owner: [_label(row.mr_owner) for row in rows],
    }


def _label(mr_owner: bytes) -> str:
    return mr_owner.rstrip(b"\0").decode("latin-1")


def msrs(changed: Mapping[int, tuple[int, int]]) -> Record:
    """Registers that differ, as parallel lists."""
    if not changed:
        return {}

    before, after = zip(*changed.values(), strict=True)

    return {"msrs": list(changed), "before_msr": before, "after_msr": after}


def obstacles(error: DeviceError) -> Record:
    """Who stood in the way, the most important first."""
    first = error.obstacles[0]

    return {"holder": first.process, "holder_id": first.process_id}


def who(process: Principal) -> Record:
    """The fields that name a process."""
    return {
        "process": process.name,
        "process_id": process.id,
        "pid": process.pid,
        "uid": process.uid,
    }
