"""What several rows have in common, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.abi import MEMRANGE_SET_REMOVE, MEMRANGE_SET_UPDATE, RangeDesc
from memhub.core.instant import Instant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.files import Principal
    from memhub.errors import DeviceError

    Row = dict[str, Any]

#: `mo_arg[0]` and its word in the log.
OPERATIONS: Final = {MEMRANGE_SET_UPDATE: "update", MEMRANGE_SET_REMOVE: "remove"}

#: The columns of descriptors, by side.
DESC_COLUMNS: Final = {
    side: (f"{side}_base", f"{side}_length", f"{side}_flags", f"{side}_owner")
    for side in ("before", "after")
}


def error_columns(error: DeviceError | None) -> Row:
    """The error of a request, or that there was none."""
    if error is None:
        return {"errno": None, "reason": None}

    return {"errno": error.code.name, "reason": error.reason}


def holder_columns(error: DeviceError | None) -> Row:
    """Who stood in the way, the most important first."""
    if error is None or not error.obstacles:
        return {}

    first = error.obstacles[0]

    return {"holder": first.process, "holder_id": first.process_id}


def stamp_columns(event: str, at: Instant) -> Row:
    """What happened, and when."""
    return {"event": event, "wall_ns": at.wall_ns, "mono_ns": at.mono_ns}


def instant_of(row: Mapping[str, Any]) -> Instant:
    """When it happened."""
    return Instant(row["wall_ns"], row["mono_ns"])


def process_columns(process: Principal) -> Row:
    """The fields that name a process."""
    return {
        "process": process.name,
        "process_id": process.id,
        "pid": process.pid,
        "uid": process.uid,
    }


def descs_of(side: str, row: Mapping[str, Any]) -> tuple[RangeDesc, ...]:
    """The descriptors of a row."""
    columns = (row[name] for name in DESC_COLUMNS[side])

    return tuple(
        RangeDesc(base, length, flags, owner_of(owner))
        for base, length, flags, owner in zip(*columns, strict=True)
    )


def label_of(mr_owner: bytes) -> str:
    """`mr_owner` as text: Latin-1, trailing NULs cut, inner ones kept."""
    return mr_owner.rstrip(b"\0").decode("latin-1")


def owner_of(label: str) -> bytes:
    """`mr_owner` of such a text."""
    return label.encode("latin-1").ljust(8, b"\0")


def msrs_of(row: Mapping[str, Any]) -> dict[int, tuple[int, int]]:
    """The registers that differ, of a row."""
    if "msrs" not in row:
        return {}

    columns = zip(row["msrs"], row["before_msr"], row["after_msr"], strict=True)

    return {number: (before, after) for number, before, after in columns}


def wall_time(mono_ns: int | None, at: Instant) -> int | None:
    """A moment of the monotonic clock on the wall clock, as the clocks stood at `at`."""
    return None if mono_ns is None else at.wall_ns + mono_ns - at.mono_ns


def mono_time(wall_ns: int | None, at: Instant) -> int | None:
    """The opposite of `wall_time`."""
    return None if wall_ns is None else at.mono_ns + wall_ns - at.wall_ns


def asked_operation(arg: int) -> str:
    """The word for a `mo_arg[0]`, also one that MEMRANGE_SET does not know."""
    return OPERATIONS.get(arg) or f"arg {arg}"


def lease_ns(lease: float | None) -> int | None:
    """A lease in seconds as nanoseconds."""
    return None if lease is None else round(lease * 1e9)
