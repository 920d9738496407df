"""The members of records by name: types, units and meanings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

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


#: The fields of records: their types and meanings.
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
    "device": Field("str", "`/dev/mem`, `/dev/kmem`, or a file of another kernel", nullable=True),
    "arch": Field("str", "name of the machine's architecture"),
    "process": Field(
        "str",
        "name of the process that asked, or whose claim ended; null if the hub acted",
        True,
    ),
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
    "state": Field("str", "what `base` is to the kernel: `invalid`, `valid` or `mapped`"),
    "physical": Field("u64", "the physical address behind `base`; null where none is", True),
    "digest": Field(
        "str", "SHA-256 of the bytes that were written, in hex; null where a device took part", True
    ),
    "line_bases": Field("[u64]", "first byte of each line or buffer that reached the bus"),
    "line_lengths": Field("[u64]", "bytes of each, up to the last that was written"),
    "line_causes": Field(
        "[str]",
        "why: `evicted`, `flushed`, `written back`, `snooped`, `full`, `fence`, `uncached` or "
        "`read`",
    ),
    "count": Field(
        "int",
        "descriptors asked for or returned; records, in `log.close`; which of its rule's, "
        "in `fault`; records that follow, in `device.restore`; newer bytes that were replaced, in "
        "`memory.load`",
    ),
    "rule": Field("str", "name of the fault rule"),
    "action": Field(
        "str",
        "what it did: `errno`, `delay`, `drop`, `short`, `cut`, `hang`, or a plugin's, as "
        "`acme.flip`; or the sickness's",
    ),
    "sickness": Field("[str]", "names of the sicknesses that began, ended or struck"),
    "cpus": Field("[int]", "the CPUs whose registers are not those of CPU 0, after it"),
    "health": Field(
        "str", "what is wrong with the registers after it, as JSON text; null for nothing", True
    ),
    "args": Field("str", "arguments of a call to another kernel, as JSON text; bytes are Latin-1"),
    "answer": Field("str", "what it answered, as JSON text; null for an error", True),
    "printed": Field("[str]", "what the kernel printed: `level: text` of each line"),
    "changed": Field(
        "str",
        "what it changed, as JSON text: registers of CPUs, the kernel's variables, the names of "
        "those that it has no more, what it keeps of open files; null for nothing",
        True,
    ),
    "delay_ns": Field("ns", "by how much a fault rule delayed the request"),
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
        "`error`, `garbage` or `stop`; of a claim `request`, `fence` (only the claim of that "
        "number was given back), `expire` or `break`; of a wait's end "
        "`granted`, `refused`, `timeout`, `deadlock`, `cancelled`, `close` or `log`; `undo`; of a "
        "client's end `goodbye`, `disconnect`, `handshake`, `slow`, `idle`, `protocol`, `error` or "
        "`stop`; `reopen`; of a machine that went back `restore`, `reset` or `fork`",
        True,
    ),
    "holder": Field(
        "str",
        "of a break the process that broke the claim, whose holder is `process`; of a refusal or a "
        "wait, a process whose claim was in the way",
        True,
    ),
    "holder_id": Field("int", "that process's number", True),
    "peer": Field("str", "who a client of the service is: `uid 0`, a certificate, a token's name"),
    "config": Field("str", "the machine's description as JSON text", True),
    "phys_bits": Field("int", "physical address width in bits"),
    "part": Field(
        "str",
        "`files`, `claims`, `losses`, `waits`, `commits`, `notes`, `failed`, `health`, `kernel` or "
        "`numbers`: what `held` is",
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
