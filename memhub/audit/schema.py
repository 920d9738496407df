"""What a record holds: every field by name, and which fields each event has.

People who analyse logs rely on names, types and units. A new optional field or event keeps
SCHEMA_VERSION; a change that could mislead a reader raises it. A test compares `docs/audit.md` with
these tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.fields import FIELDS as FIELDS
from memhub.audit.fields import Field as Field

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The version of the schema that records follow, their field `v`.
SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of record.

    Attributes:
        meaning: when it is written.
        required: fields always present, beside `v`, `seq`, `prev`, `hash`, `event` and the clocks.
        optional: fields that may be present.
    """

    meaning: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


#: The fields that every record has.
ALWAYS: Final = ("v", "seq", "prev", "event", "wall_ns", "mono_ns", "hash")
_WHERE: Final = ("machine", "arch")
_WHO: Final = ("process", "process_id", "pid", "uid")
_CALL: Final = (*_WHERE, "device", *_WHO, "op", "errno", "reason", "duration_ns")
_RANGE: Final = ("owner", "base", "length")
_AFTER: Final = ("slots", "after_base", "after_length", "after_flags", "after_owner")
_BEFORE: Final = ("before_base", "before_length", "before_flags", "before_owner")
_TABLE: Final = (*_AFTER, *_BEFORE)
_MSRS: Final = ("msrs", "before_msr", "after_msr")
_CLAIM: Final = (*_WHERE, *_WHO, "claim", "fence", *_RANGE, "slots", "cause", "generation")
_BY: Final = ("holder", "holder_id")
_CLAIM_MORE: Final = (
    "device",
    "handle",
    "expires_ns",
    "duration_ns",
    "holder",
    "holder_id",
    "errno",
    "reason",
)
_SET_MORE: Final = (
    "handle",
    "claim",
    "fence",
    "claimed",
    "released",
    "expires_ns",
    "commit",
    "written",
    *_BY,
)
_WAITING: Final = (*_WHERE, "device", *_WHO, "op", *_RANGE)
_TIMES: Final = ("expires_ns", "generation", "duration_ns")
_HARDWARE: Final = (*_WHERE, *_WHO, "sickness", "cpus", "health", "generation")
_LOG: Final = ("log_id", "software", "hash_algorithm", "continued")
_HOST: Final = ("pid", "uid", "config", "key")

#: The kinds of records, by the name in their field `event`.
EVENTS: Final[dict[str, Event]] = {
    "log.open": Event("a log is begun; always the first record", _LOG, _HOST),
    "log.resume": Event("a log is continued by a new process", (*_LOG, "clean"), _HOST),
    "log.recovered": Event(
        "an unfinished last line was cut off", ("cut_offset", "cut_length", "cut_hash")
    ),
    "log.close": Event("the log was closed in order", ("count",)),
    "log.segment": Event(
        "a segment is begun that goes on where the one before ended; its first record",
        (*_LOG, "segment"),
        (*_HOST, "tree"),
    ),
    "log.rotate": Event("the log goes on in the next segment", ("segment",)),
    "log.seal": Event("all records before this one are sealed", ("count", "checkpoint")),
    "log.snapshot": Event(
        "the next `count` records are every machine as it is now; nothing has changed", ("count",)
    ),
    "held.machine": Event(
        "a machine's whole table, followed by `count` of `held.part`",
        (*_WHERE, *_AFTER, "generation", "count"),
        ("msrs", "after_msr", "phys_bits", "config"),
    ),
    "held.part": Event("what that machine holds beside its table", (*_WHERE, "part", "held")),
    "device.attach": Event(
        "a machine starts: its whole table, from which later records rebuild any other",
        (*_WHERE, *_AFTER, "generation"),
        ("msrs", "after_msr", "phys_bits", "config", "count", "device", "cause", "errno", "reason"),
    ),
    "device.detach": Event("a machine is taken away", (*_WHERE, "generation"), ("cause",)),
    "device.fail": Event(
        "a machine is marked failed, since its driver failed `count` times; what is asked of it is "
        "refused from now on",
        (*_WHERE, "count", "errno", "reason", "generation"),
    ),
    "device.restore": Event(
        "a machine went back to a snapshot, or to its start: its whole table, before and after, "
        "followed by `count` of `held.part`; nothing waits and no commit is on its way",
        (*_WHERE, *_AFTER, "generation", "count", "cause", "reason"),
        (*_BEFORE, "msrs", "after_msr", "phys_bits", "config"),
    ),
    "request.open": Event("a device was opened", (*_CALL, "flags"), ("handle", "undo", "model")),
    "request.close": Event("a handle was closed", _CALL, ("handle", "cause")),
    "request.get": Event(
        "MEMRANGE_GET", (*_CALL, "count", "generation"), ("handle", "ioctl", "owner", "moved")
    ),
    "request.set": Event(
        "MEMRANGE_SET whose descriptor was read",
        (*_CALL, *_RANGE, "attributes", "flags", *_TABLE, "generation"),
        (*_SET_MORE, *_MSRS),
    ),
    "commit.begin": Event(
        "a MEMRANGE_SET is on its way to all CPUs; a `request.set` says how it ended",
        (*_WAITING, "attributes", "flags", "slots", "commit", "fence", "lease_ns", *_TIMES),
        ("handle",),
    ),
    "request.read": Event(
        "read or pread", (*_CALL, "base", "length", "moved"), ("handle", "cause")
    ),
    "request.write": Event(
        "write or pwrite", (*_CALL, "base", "length", "moved", "digest"), ("handle",)
    ),
    "request.flush": Event(
        "lines were flushed or written back, or the process made a fence",
        (*_CALL, "base", "length"),
        ("handle",),
    ),
    "bus.access": Event(
        "a device read or wrote memory over the bus, or every cache was flushed",
        (*_WHERE, "op", "base", "length", "errno", "reason"),
    ),
    "bus.lines": Event(
        "lines and combining buffers reached the bus, in this order",
        (*_WHERE, *_WHO, "line_bases", "line_lengths", "line_causes"),
    ),
    "request.extract": Event(
        "MEM_EXTRACT_PADDR was answered", (*_CALL, "base", "state", "physical"), ("handle",)
    ),
    "request.ioctl": Event(
        "an ioctl that is malformed, or is not one of mem(4)'s; no descriptor was read",
        _CALL,
        ("handle", "ioctl", "cause"),
    ),
    "claim.take": Event("slots were claimed", _CLAIM, _CLAIM_MORE),
    "claim.renew": Event("a lease was prolonged", _CLAIM, _CLAIM_MORE),
    "claim.release": Event("a claim ended; its range stays programmed", _CLAIM, _CLAIM_MORE),
    "claim.expire": Event("a lease ran out", _CLAIM, _CLAIM_MORE),
    "claim.wait": Event(
        "a process asked to be told when a range is free; nothing was claimed", _CLAIM, _CLAIM_MORE
    ),
    "claim.break": Event("a claim was broken by another process", _CLAIM, _CLAIM_MORE),
    "undo": Event(
        "slots were put back as a handle opened for undo was closed",
        (*_WHERE, *_WHO, *_TABLE, "cause", "generation"),
        ("handle", "errno", "reason", "written", *_MSRS),
    ),
    "wait.begin": Event(
        "a process waits for a range",
        (*_WAITING, "wait", "reason", "expires_ns", "generation"),
        ("handle", "flags", "fence", "lease_ns", *_BY),
    ),
    "wait.end": Event(
        "a wait ended: granted, refused, timed out, cancelled, by a deadlock, by a close, or as "
        "the log failed",
        (*_WAITING, "wait", "errno", "reason", "cause", *_BY, "duration_ns", "generation"),
        ("handle",),
    ),
    "fault": Event(
        "a fault rule met a request; with an `errno` the request is refused and has no other "
        "record, else its own record follows if it comes to one",
        (*_WHERE, "device", *_WHO, "op", "rule", "action", "count", "errno", "reason"),
        ("handle", "base", "length", "delay_ns", "moved"),
    ),
    "kernel.call": Event(
        "another kernel than FreeBSD was called: by a process through its file, by a driver, or by "
        "the machine; `boot` is its start. `slots` are those that FreeBSD's driver would then read "
        "otherwise; `base` and `length` are of the range that it means by a register's number, as "
        "`disable=1`",
        (*_CALL, "args", "answer", "printed", "changed", "generation"),
        ("handle", "base", "length", *_TABLE, *_MSRS),
    ),
    "hardware.sicken": Event(
        "something became wrong with a machine's registers", _HARDWARE, ("action", *_MSRS)
    ),
    "hardware.cure": Event("a sickness ended; the registers stay as they are", _HARDWARE),
    "hardware.store": Event(
        "what a MEMRANGE_SET or an undo, whose record is the one before, has made of other CPUs' "
        "registers, or firmware then",
        _HARDWARE,
        _MSRS,
    ),
    "hardware.reinit": Event(
        "every CPU has written the table into its registers", _HARDWARE, _MSRS
    ),
    "hardware.suspend": Event("a machine was suspended", _HARDWARE),
    "hardware.resume": Event(
        "a machine was resumed, and its registers re-initialised", _HARDWARE, _MSRS
    ),
    "hardware.check": Event(
        "the registers of a machine's CPUs were compared; `cpus` are those out of step",
        (*_WHERE, *_WHO, "count", "cpus", "reason", "generation"),
    ),
    "memory.load": Event(
        "bytes were put into a machine's RAM from outside: `reason` says of what; `op` is `load`, "
        "or `replace` where the rest of the RAM became zero; `count`, where memory is not "
        "coherent, are the newer bytes of lines and buffers that it replaced",
        (*_WHERE, "op", "base", "length", "moved", "reason"),
        ("count",),
    ),
    "memory.map": Event(
        "a client of the service was handed a machine's memory to map, or was not; what it does "
        "there is not logged",
        (*_WHERE, "device", *_WHO, "op", "flags", "errno", "reason"),
        ("handle", "peer"),
    ),
    "service.connect": Event("the service accepted a client", (*_WHO, "peer")),
    "service.disconnect": Event(
        "a client has disconnected, and what it held has ended",
        (*_WHO, "peer", "cause", "reason", "duration_ns"),
    ),
    "service.reject": Event(
        "the service refused a connection or a request before the hub saw it",
        (*_WHO, "peer", "op", "errno", "reason"),
        (*_WHERE, "device", "handle"),
    ),
}


def problems(record: Mapping[str, Any]) -> list[str]:
    """How a record differs from the schema.

    Args:
        record: a record as it was read from a log, or an event with its stamp.

    Returns:
        one sentence for each difference; empty if it fits.
    """
    name = record.get("event", "")
    event = EVENTS.get(name) if isinstance(name, str) else None
    if event is None:
        return [f"event {record.get('event')!r} is unknown"]

    known = {*ALWAYS, *event.required, *event.optional}
    found = [f"{name} is missing" for name in (*ALWAYS, *event.required) if name not in record]
    for name, value in record.items():
        if name not in known:
            found.append(f"{name} is not a field of {record['event']}")
        elif not FIELDS[name].admits(value):
            found.append(f"{name} is {value!r}, which is not {FIELDS[name].type}")

    return found + _uneven(record)


def _uneven(record: Mapping[str, Any]) -> list[str]:
    """Lists that should have the same length and do not."""
    groups = (("slots", _TABLE[1:]), ("msrs", _MSRS[1:]))

    return [
        f"{name} and {lead} differ in length"
        for lead, names in groups
        for name in names
        if name in record and _length(record[name]) != _length(record.get(lead))
    ]


def _length(value: object) -> int:
    return len(value) if isinstance(value, (list, tuple)) else 0


def markdown() -> str:
    """The tables of `docs/audit.md`."""
    rows = ["| field | type | meaning |", "| --- | --- | --- |"]
    for name, field in FIELDS.items():
        kind = f"{field.type} or null" if field.nullable else field.type
        rows.append(f"| `{name}` | {kind} | {field.meaning} |")
    rows += ["", "| event | written when | always | may have |", "| --- | --- | --- | --- |"]
    for name, event in EVENTS.items():
        cells = (" ".join(f"`{f}`" for f in part) for part in (event.required, event.optional))
        rows.append(f"| `{name}` | {event.meaning} | {' | '.join(cells)} |")

    return "\n".join(rows) + "\n"
