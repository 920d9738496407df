"""What questions should answer, by a walk over the records one after another."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from memhub.abi import (
    MDF_ACTIVE,
    MDF_ATTRMASK,
    MDF_FIXACTIVE,
    MDF_FIXBASE,
    MDF_FIXLEN,
    MDF_UNCACHEABLE,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memhub.abi import RangeDesc

    Record = dict[str, Any]
    Range = tuple[int, int, int, str]

BUSY = ("EBUSY", "EDEADLK", "ETIMEDOUT")


def contention(records: Iterable[Record]) -> dict[tuple[Any, Any], Counter[str]]:
    """Refusals and waits by process and holder."""
    found: dict[tuple[Any, Any], Counter[str]] = defaultdict(Counter)
    begun: dict[int, Record] = {}
    last = 0
    for it in records:
        name = it["event"]
        last = last if name.startswith("log.") else it["mono_ns"]
        if name == "wait.begin":
            begun[it["wait"]] = it
        elif name == "wait.end":
            first = begun.pop(it["wait"])
            holder = it["holder"] or first.get("holder")
            counts = found[it["process"], holder]
            counts.update(waited=1, wait_ns=it["duration_ns"])
            counts.update(
                {
                    "granted": it["cause"] == "granted",
                    "timed_out": it["cause"] == "timeout",
                    "deadlocks": it["cause"] == "deadlock",
                }
            )
        elif it.get("errno") in BUSY and name != "undo":
            found[it["process"], it.get("holder")]["refused"] += 1

    for it in begun.values():
        counts = found[it["process"], it.get("holder")]
        counts.update(waited=1, wait_ns=last - it["mono_ns"])

    return found


def sides(it: Record) -> Iterator[tuple[int, Range, Range]]:
    """Each slot of a change, before and after."""
    for place, slot in enumerate(it["slots"]):
        before, after = (
            tuple(it[f"{side}_{name}"][place] for name in ("base", "length", "flags", "owner"))
            for side in ("before", "after")
        )
        yield slot, before, after


def changes(records: Iterable[Record]) -> Iterator[Record]:
    for it in records:
        if it["event"] in ("request.set", "undo") and it["errno"] is None:
            yield it


def is_used(it: Range, arch: str) -> bool:
    return bool(it[1] if arch == "k6" else it[2] & MDF_ACTIVE)


def hijacks(records: Sequence[Record]) -> list[tuple[int, str, Any, Any]]:
    """Each break and each change of another's range: seq, kind, whose, by whom."""
    setter: dict[int, tuple[str, int]] = {}
    found: list[tuple[int, str, Any, Any]] = [
        (it["seq"], "break", it["process"], it.get("holder"))
        for it in records
        if it["event"] == "claim.break"
    ]
    for it in changes(records):
        for slot, before, after in sides(it):
            whose = setter.get(slot)
            undone = it["event"] == "undo"
            if whose and not undone and is_used(before, it["arch"]) and before != after:
                other = whose[1] != it["process_id"]
                if other and (whose[0] != it["process"] or before[3] != after[3]):
                    kind = "overwrite" if is_used(after, it["arch"]) else "remove"
                    found.append((it["seq"], kind, whose[0], it["process"]))

            if undone:
                setter.pop(slot, None)
            else:
                setter[slot] = (it["process"], it["process_id"])

    return sorted(found, key=repr)


def flapping(records: Iterable[Record], least: int, within_ns: int) -> dict[Any, tuple[int, int]]:
    """Changes and bursts of each range that has bursts."""
    times: dict[tuple[int, int], list[int]] = defaultdict(list)
    for it in changes(records):
        came: dict[tuple[int, int], set[int]] = defaultdict(set)
        went: dict[tuple[int, int], set[int]] = defaultdict(set)
        for _, before, after in sides(it):
            if is_used(before, it["arch"]):
                went[before[:2]].add(before[2])
            if is_used(after, it["arch"]):
                came[after[:2]].add(after[2])

        for where in came.keys() | went.keys():
            moved = bool(came[where]) != bool(went[where])
            if moved or len(came[where] | went[where]) > 1:
                times[where].append(it["mono_ns"])

    found = {}
    for where, at in times.items():
        bursts = sum(b - a <= within_ns for a, b in zip(at, at[least - 1 :], strict=False))
        if bursts:
            found[where] = (len(at), bursts)

    return found


def ended(records: Iterable[Record]) -> dict[int, str]:
    """How each claim ended that a record of its own says."""
    names = ("claim.release", "claim.expire", "claim.break")

    return {
        it["fence"]: it["cause"]
        for it in records
        if it["event"] in names and it["cause"] != "request"
    }


def wasted(slots: Sequence[RangeDesc], arch: str) -> set[tuple[int, str, int]]:
    """Slots that could go: slot, why, the other slot."""
    used = [
        (slot, it)
        for slot, it in enumerate(slots)
        if is_used((it.mr_base, it.mr_len, it.mr_flags, ""), arch)
    ]
    found = set()
    for a, one in used:
        for b, other in used:
            if a != b and not one.mr_flags & (MDF_FIXBASE | MDF_FIXLEN | MDF_FIXACTIVE):
                why = why_wasted(a > b, one, other, mtrr=arch in ("i386", "amd64-mtrr"))
                found |= {(a, why, b)} if why else set()

    return found


def why_wasted(second: bool, one: RangeDesc, other: RangeDesc, *, mtrr: bool) -> str | None:
    kind, others = one.mr_flags & MDF_ATTRMASK, other.mr_flags & MDF_ATTRMASK
    if (one.mr_base, one.mr_len) == (other.mr_base, other.mr_len):
        return "duplicate" if kind == others and second else None

    if other.mr_base <= one.mr_base and one.mr_end <= other.mr_end:
        return "shadowed" if kind == others or (mtrr and others == MDF_UNCACHEABLE) else None

    alike = kind == others and one.mr_len == other.mr_len and one.mr_end == other.mr_base
    power = one.mr_len >= 4096 and one.mr_len.bit_count() == 1

    return "mergeable" if alike and power and one.mr_base % (2 * one.mr_len) == 0 else None
