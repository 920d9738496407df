"""What machines hold, as rows: a file of the log that has them can be read by itself.

A `held.machine` row has the machine's table and how many `held.part` rows follow with the rest.
Each of those has a list of one kind as JSON text, of bounded length. A stretch of addresses is
given by its first and its last byte there, since its end may not fit 64 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.abi import DATA_MODELS, RangeDesc
from memhub.audit.rows.claims import wait_begun_row
from memhub.audit.rows.columns import (
    label_of,
    process_columns,
    stamp_columns,
    wall_time,
)
from memhub.audit.rows.description import describe_spec
from memhub.audit.rows.files import ACCESS_FLAGS, table_columns
from memhub.audit.rows.hardware import health_item
from memhub.audit.rows.ranges import commit_row, desc_columns
from memhub.core.files import PATHS
from memhub.core.holdings import holdings_of
from memhub.core.kernel_items import kernel_state_item
from memhub.core.restored import HeldPart, Restored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from memhub.core.claims import Claim, LostClaim
    from memhub.core.drivers.driver import RangeState
    from memhub.core.files import OpenFile
    from memhub.core.holding.commits import Commit
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine

    Row = dict[str, Any]
    Item = Mapping[str, Any]

#: Things that one row holds at most.
PART_MAX: Final = 1000

_NUMBERS: Final = ("last_fence", "last_wait", "last_commit")
_MODELS: Final = {model.name: model for model in DATA_MODELS}


def held_rows(machine: Machine, at: Instant) -> list[Row]:
    """A machine as rows: its table, then what it holds.

    Args:
        machine: the machine.
        at: the moment; times of the monotonic clock are written as those of the wall clock then.
    """
    parts, spec, table = part_rows(machine, at), machine.spec, machine.table
    state = None if table is None else table.state
    first = {
        **stamp_columns("held.machine", at),
        **table_columns(machine.name, machine.arch.name, spec.cpu.phys_bits, state),
        "config": describe_spec(spec),
        "generation": machine.generation,
        "count": len(parts),
    }

    return [first, *parts]


def part_rows(machine: Machine, at: Instant) -> list[Row]:
    """What a machine holds beside its table, as `held.part` rows; the numbers are in the last."""
    held, name, arch = holdings_of(machine), machine.name, machine.arch.name
    notes = held.notes.before.items() if held.notes is not None else ()
    lists: list[tuple[str, Iterable[Any]]] = [
        ("files", held.files),
        ("claims", held.claims),
        ("losses", held.losses),
        ("waits", held.waits),
        ("commits", held.commits),
        ("notes", notes),
        ("failed", [] if held.failed is None else [held.failed]),
        ("health", [] if held.health is None else [held.health]),
        ("kernel", [] if held.kernel is None else [held.kernel]),
        ("numbers", [(held.last_fence, held.last_wait, held.last_commit)]),
    ]

    return [
        part_row(HeldPart(name, arch, at, part, some))
        for part, items in lists
        for some in _slices(tuple(items))
    ]


def part_row(it: HeldPart, _ended: int = 0) -> Row:
    """Things of one kind that a machine holds, as a `held.part` row."""
    make, at = _WRITERS[it.part], it.at

    return {
        **stamp_columns("held.part", at),
        "machine": it.machine,
        "arch": it.arch,
        "part": it.part,
        "held": orjson.dumps([make(item, at) for item in it.items]).decode(),
    }


def _slices(items: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for first in range(0, len(items), PART_MAX):
        yield items[first : first + PART_MAX]


def restored_row(it: Restored, _ended: int) -> Row:
    """A machine that went back to a snapshot: its whole table; what it holds follows."""
    spec, before, after = it.spec, it.before.state, it.after

    return {
        **stamp_columns("device.restore", it.at),
        **table_columns(spec.name, it.arch, spec.cpu.phys_bits, after.state),
        **desc_columns("before", () if before is None else before.slots),
        "config": describe_spec(spec),
        "generation": after.generation,
        "cause": it.cause,
        "reason": it.reason,
        "count": it.parts,
    }


#: Writers of these rows, by the kind of fact.
HELD_WRITERS: Final[Mapping[type, Callable[[Any, int], Row]]] = {
    Restored: restored_row,
    HeldPart: part_row,
}


def _file_item(file: OpenFile, _at: Instant) -> Row:
    caller = file.caller

    return {
        "handle": caller.handle,
        "device": PATHS[caller.device],
        **process_columns(caller.process),
        "flags": ACCESS_FLAGS[file.readable, file.writable],
        "undo": file.undo,
        "model": file.model.name,
        "offset": file.offset,
    }


def _claim_item(claim: Claim, at: Instant) -> Row:
    return {
        "fence": claim.fence,
        "kind": claim.kind,
        **process_columns(claim.process),
        "base": claim.base,
        "last": claim.end - 1,
        "since_ns": claim.since_ns,
        "expires_ns": wall_time(claim.expires_ns, at),
        "slots": [[slot, base, end - 1] for slot, (base, end) in claim.slots.items()],
    }


def _loss_item(lost: LostClaim, at: Instant) -> Row:
    return {
        "fence": lost.fence,
        **process_columns(lost.process),
        "base": lost.base,
        "last": lost.end - 1,
        "since_ns": lost.since_ns,
        "lost_ns": wall_time(lost.lost_ns, at),
        "cause": lost.cause,
        "reason": lost.reason,
        "by": None if lost.by is None else process_columns(lost.by),
        "order": lost.order,
    }


def _commit_item(commit: Commit, _at: Instant) -> Row:
    lo, hi = commit.bounds

    return {
        **commit_row(commit, 0),
        "asked_ns": commit.asked_ns,
        "after": [[slot, *_desc_item(desc)] for slot, desc in commit.after.items()],
        "bounds": [lo, hi - 1],
    }


def _note_item(noted: tuple[int, Mapping[int, RangeState]], _at: Instant) -> Row:
    """A process's notes; a state that several slots share is written once."""
    process, kept = noted
    states: dict[int, RangeState] = {id(state): state for state in kept.values()}
    index = {key: number for number, key in enumerate(states)}

    return {
        "process_id": process,
        "slots": [[slot, index[id(state)]] for slot, state in kept.items()],
        "states": [_state_item(state) for state in states.values()],
    }


def _state_item(state: RangeState) -> Row:
    return {
        "slots": [_desc_item(desc) for desc in state.slots],
        "msrs": [[number, value] for number, value in state.msrs.items()],
    }


def _desc_item(desc: RangeDesc) -> list[Any]:
    return [desc.mr_base, desc.mr_len, desc.mr_flags, label_of(desc.mr_owner)]


_WRITERS: Final[Mapping[str, Callable[[Any, Instant], Row]]] = {
    "files": _file_item,
    "claims": _claim_item,
    "losses": _loss_item,
    "waits": lambda it, _at: wait_begun_row(*it),
    "commits": _commit_item,
    "notes": _note_item,
    "failed": lambda it, _at: it._asdict(),
    "health": lambda it, _at: health_item(it),
    "kernel": lambda it, _at: kernel_state_item(it),
    "numbers": lambda it, _at: dict(zip(_NUMBERS, it, strict=True)),
}
