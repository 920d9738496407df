"""Requests to a device: opened, closed, ioctls, bytes moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.abi import (
    FLAG_WORDS,
    MDF_ATTRMASK,
    MEMRANGE_SET_REMOVE,
    MEMRANGE_SET_UPDATE,
    flag_words,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.machine import OpenFile
    from memhub.core.ranges.commits import Instant, SetRequest
    from memhub.core.requests import Outcome
    from memhub.errors import DeviceError

    Record = dict[str, Any]

from memhub.audit.records.parts import columns, failure, msrs, obstacles, stamp

_OPERATIONS: Final = {MEMRANGE_SET_UPDATE: "update", MEMRANGE_SET_REMOVE: "remove"}
_ATTRIBUTE_WORDS: Final = {0: (), **{bit: (word,) for bit, word in FLAG_WORDS}}


def opened(
    facts: Mapping[str, Any], now: Instant, began: int, flags: int, error: DeviceError | None
) -> Record:
    """A device was opened, or was not."""
    return {
        **stamp("request.open", now),
        **facts,
        "op": "open",
        "flags": flags,
        **failure(error),
        "duration_ns": now.mono_ns - began,
    }


def closed(file: OpenFile, now: Instant, began: int, cause: str) -> Record:
    """A handle was closed."""
    return {
        **stamp("request.close", now),
        **file.facts,
        "op": "close",
        "cause": cause,
        **failure(None),
        "duration_ns": now.mono_ns - began,
    }


def got(
    file: OpenFile,
    now: Instant,
    began: int,
    count: int,
    generation: int,
    error: DeviceError | None = None,
) -> Record:
    """MEMRANGE_GET."""
    return {
        "event": "request.get",
        "wall_ns": now.wall_ns,
        "mono_ns": now.mono_ns,
        **file.facts,
        "op": "list" if count > 0 else "count",
        "count": count,
        "generation": generation,
        "errno": None if error is None else error.code.name,
        "reason": None if error is None else error.reason,
        "duration_ns": now.mono_ns - began,
    }


def was_set(
    request: SetRequest, now: Instant, began: int, generation: int, outcome: Outcome
) -> Record:
    """MEMRANGE_SET, with what it changed."""
    desc, error = request.desc, outcome.error
    asked = desc.mr_flags & MDF_ATTRMASK
    words = _ATTRIBUTE_WORDS.get(asked)
    record = {
        "event": "request.set",
        "wall_ns": now.wall_ns,
        "mono_ns": now.mono_ns,
        **request.file.facts,
        "op": _OPERATIONS.get(request.arg) or f"arg {request.arg}",
        "owner": desc.owner,
        "base": desc.mr_base,
        "length": desc.mr_len,
        "attributes": flag_words(asked) if words is None else words,
        "flags": desc.mr_flags,
        "errno": None if error is None else error.code.name,
        "reason": None if error is None else error.reason,
        "slots": outcome.slots,
        **columns("before", outcome.before),
        **columns("after", outcome.after),
        "claimed": outcome.claimed,
        "released": outcome.released,
        "fence": outcome.fence,
        "generation": generation,
        "duration_ns": now.mono_ns - began,
    }
    if outcome.msrs:
        record |= msrs(outcome.msrs)

    if error is not None and error.obstacles:
        record |= obstacles(error)

    return record


def malformed(file: OpenFile, now: Instant, began: int, ioctl: int, error: DeviceError) -> Record:
    """An ioctl that is none of mem(4)'s, or whose buffers are wrong."""
    return {
        **stamp("request.ioctl", now),
        **file.facts,
        "op": "ioctl",
        "ioctl": ioctl,
        **failure(error),
        "duration_ns": now.mono_ns - began,
    }


def moved(
    file: OpenFile,
    now: Instant,
    began: int,
    op: str,
    base: int,
    length: int,
    count: int,
    error: DeviceError | None = None,
) -> Record:
    """A read or write: `op` is `read`, `pread`, `write` or `pwrite`."""
    return {
        "event": "request.read" if op.endswith("read") else "request.write",
        "wall_ns": now.wall_ns,
        "mono_ns": now.mono_ns,
        **file.facts,
        "op": op,
        "base": base if 0 <= base < 1 << 64 else None,
        "length": length if 0 <= length < 1 << 64 else None,
        "moved": count,
        "errno": None if error is None else error.code.name,
        "reason": None if error is None else error.reason,
        "duration_ns": now.mono_ns - began,
    }
