"""What a record holds: every field by name, and which fields each event has.

People who analyse logs rely on names, types and units. A new optional field or event keeps
SCHEMA_VERSION; a change that could mislead a reader raises it. A test compares `docs/audit.md` with
these tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION: Final = 1

#: `u64` and `ns` are JSON integers, up to 2^64-1 and 2^63-1.
FieldType = Literal["int", "u64", "ns", "bool", "str", "[int]", "[u64]", "[str]"]

_TOP: Final = {"int": 1 << 63, "ns": 1 << 63, "u64": 1 << 64}


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a record.

    Attributes:
        type: its JSON type.
        meaning: one line, with the unit where there is one.
        nullable: whether null is a value of it.
    """

    type: FieldType
    meaning: str
    nullable: bool = False

    def admits(self, value: object) -> bool:
        """Whether `value` is of this field's type."""
        if value is None:
            return self.nullable

        if self.type.startswith("["):
            inner = self.type[1:-1]

            return isinstance(value, (list, tuple)) and all(_is(inner, item) for item in value)

        return _is(self.type, value)


def _is(kind: str, value: object) -> bool:
    if kind == "str":
        return isinstance(value, str)

    if kind == "bool":
        return isinstance(value, bool)

    if not isinstance(value, int) or isinstance(value, bool):
        return False

    low = 0 if kind in ("u64", "ns") else -(1 << 63)

    return low <= value < _TOP[kind]


FIELDS: Final[dict[str, Field]] = {
    "v": Field("int", "schema version"),
    "seq": Field("int", "place in the chain, from 1, without a gap"),
    "prev": Field("str", "`hash` of the record before; 64 zeros in the first"),
    "hash": Field("str", 'SHA-256 of this line\'s bytes before `,"hash":`, in hex'),
    "event": Field("str", "what happened; one of the events below"),
    "wall_ns": Field("ns", "wall clock when it took effect, nanoseconds since 1970 UTC"),
    "mono_ns": Field("ns", "monotonic clock at the same instant, nanoseconds"),
    "duration_ns": Field("ns", "from the request, or the start of the wait, to this record"),
    "machine": Field("str", "name of the machine"),
    "device": Field("str", "`/dev/mem` or `/dev/kmem`", nullable=True),
    "arch": Field("str", "name of the machine's architecture"),
    "process": Field("str", "name of the process that asked; null if the hub acted", True),
    "process_id": Field("int", "the hub's number for that process, never used twice", True),
    "pid": Field("int", "its process id in the operating system, where known", True),
    "uid": Field("int", "its user id, where known", True),
    "handle": Field("int", "the hub's number for the open file", True),
    "op": Field("str", "the operation: `update`, `remove`, `count`, `list`, `read`, `pread`, …"),
    "ioctl": Field("u64", "the ioctl's number as the caller encoded it"),
    "owner": Field("str", "the label in `mr_owner`, Latin-1, up to its first NUL", True),
    "base": Field("u64", "first byte: physical on `/dev/mem`, kernel virtual on `/dev/kmem`", True),
    "length": Field("u64", "bytes asked for", True),
    "attributes": Field("[str]", "attributes asked for, in memcontrol(8)'s words"),
    "flags": Field("int", "`mr_flags` asked for, the open(2) mode, or the rights of a MAP", True),
    "errno": Field("str", "FreeBSD's name of the error; null on success", True),
    "reason": Field("str", "the error as text, with the values that caused it", True),
    "moved": Field("u64", "bytes transferred, also by a transfer that failed"),
    "digest": Field(
        "str", "SHA-256 of the bytes that were written, in hex; null where a device took part", True
    ),
    "count": Field("int", "descriptors asked for or returned; records, in `log.close`"),
    "slots": Field("[int]", "slots written, ascending; the lists below are parallel to it"),
    "before_base": Field("[u64]", "`mr_base` of each of `slots` before"),
    "before_length": Field("[u64]", "`mr_len` before"),
    "before_flags": Field("[int]", "`mr_flags` before"),
    "before_owner": Field(
        "[str]", "`mr_owner` before: Latin-1, trailing NULs cut, inner ones kept"
    ),
    "after_base": Field("[u64]", "`mr_base` of each of `slots` after"),
    "after_length": Field("[u64]", "`mr_len` after"),
    "after_flags": Field("[int]", "`mr_flags` after"),
    "after_owner": Field("[str]", "`mr_owner` after"),
    "msrs": Field("[int]", "numbers of the registers written; the next two are parallel to it"),
    "before_msr": Field("[u64]", "their values before"),
    "after_msr": Field("[u64]", "their values after"),
    "generation": Field("int", "the machine's table version after this record"),
    "claim": Field("u64", "the hub's number for the claim, never used twice", True),
    "fence": Field("u64", "fence number of the claim; a higher one supersedes it", True),
    "wait": Field("int", "the machine's number for the wait; `wait.begin` and `wait.end` share it"),
    "commit": Field(
        "int", "the machine's number for the commit; `commit.begin` and the `request.set` share it"
    ),
    "undo": Field("bool", 'whether the file was opened "undo on close"'),
    "model": Field("str", "data model of the file's ioctls: `LP64` or `ILP32`"),
    "lease_ns": Field("ns", "length of the lease asked for; null without one", True),
    "written": Field("[int]", "slots that the request itself wrote, where `slots` has others too"),
    "claimed": Field("[int]", "slots that this request claimed for its process"),
    "released": Field("[int]", "slots whose claim this request ended"),
    "expires_ns": Field(
        "ns", "wall clock at which the lease, wait or commit ends; null for one without end", True
    ),
    "cause": Field(
        "str",
        "why: of a close and of the claims that end with it `close`, `disconnect`, `cancelled`, "
        "`error`, `garbage` or `stop`; of a claim `request`, `expire` or `break`; of a wait's end "
        "`granted`, `refused`, `timeout`, `deadlock`, `cancelled`, `close` or `log`; `undo`; of a "
        "client's end `goodbye`, `disconnect`, `handshake`, `slow`, `idle`, `protocol`, `error` or "
        "`stop`; `reopen`",
        True,
    ),
    "holder": Field("str", "process that a break, refusal or wait is about", True),
    "holder_id": Field("int", "that process's number", True),
    "peer": Field("str", "who a client of the service is: `uid 0`, a certificate, a token's name"),
    "config": Field("str", "the machine's description as JSON text", True),
    "phys_bits": Field("int", "physical address width in bits"),
    "part": Field(
        "str",
        "`files`, `claims`, `losses`, `waits`, `commits`, `notes` or `numbers`: what `held` is",
    ),
    "held": Field("str", "a list of what the machine holds, as JSON text"),
    "segment": Field("int", "number of the segment that begins, from 1"),
    "key": Field("str", "the verifier key of the log's seals"),
    "tree": Field("[str]", "roots of the Merkle subtrees over all records before this one, in hex"),
    "checkpoint": Field("str", "a signed C2SP tlog-checkpoint over all records before this one"),
    "log_id": Field("str", "identity of the log, kept over restarts"),
    "software": Field("str", "what writes the log, with its version", True),
    "hash_algorithm": Field("str", "`sha256`"),
    "continued": Field("bool", "whether the file had records before"),
    "clean": Field("bool", "whether the record before is a `log.close`"),
    "cut_offset": Field("u64", "where the unfinished line began, in bytes"),
    "cut_length": Field("u64", "how long it was, in bytes"),
    "cut_hash": Field("str", "SHA-256 of the bytes cut, in hex"),
}


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


ALWAYS: Final = ("v", "seq", "prev", "event", "wall_ns", "mono_ns", "hash")
_WHERE: Final = ("machine", "arch")
_WHO: Final = ("process", "process_id", "pid", "uid")
_CALL: Final = (*_WHERE, "device", *_WHO, "op", "errno", "reason", "duration_ns")
_RANGE: Final = ("owner", "base", "length")
_AFTER: Final = ("slots", "after_base", "after_length", "after_flags", "after_owner")
_TABLE: Final = (*_AFTER, "before_base", "before_length", "before_flags", "before_owner")
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
_LOG: Final = ("log_id", "software", "hash_algorithm", "continued")
_HOST: Final = ("pid", "uid", "config", "key")

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
    "request.open": Event("a device was opened", (*_CALL, "flags"), ("handle", "undo", "model")),
    "request.close": Event("a handle was closed", _CALL, ("handle", "cause")),
    "request.get": Event(
        "MEMRANGE_GET", (*_CALL, "count", "generation"), ("handle", "ioctl", "owner", "moved")
    ),
    "request.set": Event(
        "MEMRANGE_SET, and a request refused before its descriptor was read",
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
    "request.ioctl": Event(
        "an ioctl that is malformed, or is not one of mem(4)'s", _CALL, ("handle", "ioctl", "cause")
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
