"""What the service itself says in the log: who came, who went, what was refused and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.audit import records

if TYPE_CHECKING:
    from memhub.core.machine import OpenFile
    from memhub.core.ranges.commits import Instant
    from memhub.core.requests import Principal
    from memhub.errors import DeviceError
    from memhub.service.server.rights import Peer

    Record = dict[str, Any]


def _stamp(event: str, now: Instant) -> Record:
    return {"event": event, "wall_ns": now.wall_ns, "mono_ns": now.mono_ns}


def connected(process: Principal, peer: Peer, now: Instant) -> Record:
    """A client was taken."""
    return {**_stamp("service.connect", now), **records.who(process), "peer": str(peer)}


def disconnected(
    process: Principal, peer: Peer, now: Instant, began: int, cause: str, reason: str | None
) -> Record:
    """A client is gone; its handles are closed and its claims ended."""
    return {
        **_stamp("service.disconnect", now),
        **records.who(process),
        "peer": str(peer),
        "cause": cause,
        "reason": reason,
        "duration_ns": now.mono_ns - began,
    }


def rejected(
    peer: Peer,
    now: Instant,
    op: str,
    error: DeviceError,
    process: Principal | None = None,
    file: OpenFile | None = None,
) -> Record:
    """The service refused a connection or a request before the hub saw it."""
    whose: Record = {"process": None, "process_id": None, "pid": peer.pid, "uid": peer.uid}
    if file is not None:
        whose = file.facts
    elif process is not None:
        whose = records.who(process)

    return {
        **_stamp("service.reject", now),
        **whose,
        "peer": str(peer),
        "op": op,
        "errno": error.code.name,
        "reason": error.reason,
    }


def mapped(
    file: OpenFile, now: Instant, peer: Peer, rights: int, error: DeviceError | None
) -> Record:
    """A machine's memory was handed out as a file, or was not; later accesses are not logged."""
    return {
        **_stamp("memory.map", now),
        **file.facts,
        "peer": str(peer),
        "op": "map",
        "flags": rights,
        "errno": None if error is None else error.code.name,
        "reason": None if error is None else error.reason,
    }
