"""The state of machines at one moment as a value, and as the JSON of `memhub audit state`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from memhub.abi import MDF_BUSY
from memhub.core.deciding.kernel_health import out_of_step, patch_item
from memhub.core.instant import Instant
from memhub.core.kernel_items import kernel_state_item
from memhub.core.ranges.slot_extents import extent_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.abi import RangeDesc
    from memhub.audit.history.rebuild import Rebuilder
    from memhub.core.claims import Claim
    from memhub.core.drivers.served_kernel import KernelRanges, KernelState
    from memhub.core.holding.commits import Commit
    from memhub.core.holding.waits import Wait
    from memhub.core.machine import Machine

    Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class MachineState:
    """One machine at one moment.

    Attributes:
        machine: its name.
        arch: its architecture's name.
        generation: how many times the table has changed.
        slots: every descriptor, in slot order; none where there are no range operations.
        used: the slots that decide the type of a byte.
        msrs: its registers by number.
        claims: the claims, oldest first; None where the log does not tell.
        waits: the waits in their order; likewise.
        commits: the MEMRANGE_SETs on their way to all CPUs; likewise.
        at: the moment, by which `expires_ns` of claims and `deadline_ns` of waits are turned
            into times of the wall clock.
        registers: the ranges of another kernel than FreeBSD; None where the slots are those.
        kernel: the state of that kernel, with the registers of each CPU; None for FreeBSD.
        wrong: why the machine is marked failed, or its kernel has died, since when it is suspended,
            what is sick and which CPUs are out of step; empty where nothing is.
        kernel_name: the name of another kernel than FreeBSD; empty for that.
    """

    machine: str
    arch: str
    generation: int
    slots: tuple[RangeDesc, ...]
    used: tuple[int, ...]
    msrs: Mapping[int, int]
    claims: tuple[Claim, ...] | None
    waits: tuple[Wait, ...] | None
    commits: tuple[Commit, ...] | None
    at: Instant
    registers: KernelRanges | None = None
    kernel: KernelState | None = None
    wrong: Mapping[str, Any] = field(default_factory=dict)
    kernel_name: str = ""

    def facts(self) -> Facts:
        """The machine as JSON; times are nanoseconds of the wall clock, since 1970 UTC."""
        claims, waits = self.claims, self.waits

        return {
            "machine": self.machine,
            "arch": self.arch,
            "generation": self.generation,
            "slots": [{"slot": slot, **desc_facts(it)} for slot, it in enumerate(self.slots)],
            "claims": None if claims is None else [_claim(it, self.at) for it in claims],
            "waits": None if waits is None else [_wait(it, self.at) for it in waits],
            "msrs": {f"{number:#x}": value for number, value in sorted(self.msrs.items())},
            **({} if self.registers is None else {"registers": _registers(self.registers)}),
            **({} if self.kernel is None else {"kernel": self._kernel_facts(self.kernel)}),
            **({"wrong": dict(self.wrong)} if self.wrong else {}),
        }

    def _kernel_facts(self, state: KernelState) -> Facts:
        """The kernel, what it keeps, and the CPUs that have other registers than CPU 0."""
        item, first = kernel_state_item(state), state.msrs
        cpus = {str(cpu): patch_item(first, own) for cpu, own in enumerate(state.cpus)}
        unlike = {cpu: patch for cpu, patch in cpus.items() if patch}

        return {
            "name": self.kernel_name,
            "own": item["own"],
            "files": item["files"],
            "cpus": unlike,
        }


def _registers(ranges: KernelRanges) -> Facts:
    return {"total": ranges.total, "used": [it._asdict() for it in ranges.used]}


@dataclass(frozen=True, slots=True)
class State:
    """All machines at one moment.

    Attributes:
        seq: the last record before it.
        wall_ns: when that was, nanoseconds since 1970 UTC.
        machines: the machines by name, in the order in which they were started.
        notes: what the log does not tell of them, in words.
        ended: the record by which each machine was detached that is there no more.
    """

    seq: int
    wall_ns: int
    machines: Mapping[str, MachineState]
    notes: tuple[str, ...] = ()
    ended: Mapping[str, int] = field(default_factory=dict)

    def facts(self) -> Facts:
        """The state as JSON; `notes` is there where something is not known."""
        facts: Facts = {
            "seq": self.seq,
            "time": time_text(self.wall_ns),
            "machines": [it.facts() for it in self.machines.values()],
        }

        return facts | {"notes": list(self.notes)} if self.notes else facts

    def without(self, name: str | None) -> str:
        """That a machine is not there, or that there is none, with what is not known of it."""
        what = "no machine" if name is None else f"no machine {name!r}"
        reason = (
            f"there is {what} at record {self.seq} (machines: {', '.join(self.machines) or 'none'})"
        )

        return "; ".join([reason, *self.ends_of(name), *self.notes_on(name)])

    def ends_of(self, name: str | None) -> list[str]:
        """When a machine that is there no more was, in words; None for the first that ended."""
        end = min(self.ended.values(), default=0) if name is None else self.ended.get(name, 0)
        what = "the first of them" if name is None and len(self.ended) > 1 else "it"

        return [f"{what} was detached by record {end}: ask for what was at {end - 1}"] * bool(end)

    def notes_on(self, name: str | None) -> tuple[str, ...]:
        """The notes on a machine and those on the whole log, or all notes."""
        return tuple(
            note
            for note in self.notes
            if name is None or note.startswith((f"machine {name}: ", "line ", "record "))
        )


def state_of(
    rebuilder: Rebuilder,
    last: Mapping[str, Any],
    at: Instant | None,
    notes: tuple[str, ...] = (),
    ended: Mapping[str, int] | None = None,
) -> State:
    """The present state of rebuilt machines.

    Args:
        rebuilder: the machines.
        last: the record that was read last.
        at: what the hub's clocks showed last; None where it has said nothing yet.
        notes: more that the log does not tell.
        ended: the record by which each machine was detached that is there no more.
    """
    at, partial = at or Instant(last["wall_ns"], last["mono_ns"]), rebuilder.partial
    machines = {
        name: machine_state(machine, at, partial=name in partial)
        for name, machine in rebuilder.machines.items()
    }
    begins = tuple(partial_note(name, why) for name, why in partial.items())

    return State(last["seq"], last["wall_ns"], machines, (*begins, *notes), ended or {})


def machine_state(machine: Machine, at: Instant, *, partial: bool = False) -> MachineState:
    """A machine as it is; `partial` where nothing but its table is known."""
    table = machine.table

    return MachineState(
        machine.name,
        machine.arch.name,
        machine.generation,
        () if table is None else table.state.slots,
        () if table is None else tuple(n for n in range(len(table)) if extent_of(table, n)),
        machine.spec.msrs if table is None else table.state.msrs,
        None if partial else tuple(machine.claims.claims.values()),
        None if partial else tuple(machine.waits),
        None if partial else tuple(machine.commits),
        at,
        None if machine.served is None else machine.served.ranges(),
        None if machine.served is None else machine.served.state,
        _wrong(machine),
        "" if machine.served is None else machine.spec.kernel_name,
    )


def _wrong(machine: Machine) -> Facts:
    health, failed = machine.health, machine.failed
    since = None if health is None else health.suspended_ns
    facts: Facts = {
        "failed": None if failed is None else failed.reason,
        "dead": None if machine.served is None else machine.served.why_dead() or None,
        "suspended": None if since is None else time_text(since),
        "sicknesses": [] if health is None else [it.sickness.name for it in health.sicknesses],
        "cpus": out_of_step(machine),
    }

    return {name: it for name, it in facts.items() if it not in (None, [])}


def partial_note(name: str, why: str) -> str:
    """What is not known of a machine whose beginning is in an earlier file."""
    return (
        f"machine {name}: the log begins in the middle ({why}): its claims, waits and commits are "
        f"not known"
    )


def desc_facts(desc: RangeDesc) -> Facts:
    """A descriptor as JSON, without MDF_BUSY."""
    owner = desc.mr_owner.rstrip(b"\0").decode("latin-1")
    flags = desc.mr_flags & ~MDF_BUSY

    return {"base": desc.mr_base, "length": desc.mr_len, "flags": flags, "owner": owner}


def _claim(claim: Claim, at: Instant) -> Facts:
    return {
        "fence": claim.fence,
        "kind": claim.kind,
        "process": claim.process.name,
        "process_id": claim.process.id,
        "base": claim.base,
        "length": claim.end - claim.base,
        "slots": sorted(claim.slots),
        "expires_ns": _on_wall(claim.expires_ns, at),
    }


def _wait(wait: Wait, at: Instant) -> Facts:
    from memhub.audit.rows import wait_words

    op, owner = wait_words(wait)

    return {
        "wait": wait.number,
        "op": op,
        "process": wait.caller.process.name,
        "process_id": wait.caller.process.id,
        "owner": owner,
        "base": wait.base,
        "length": wait.end - wait.base,
        "since_ns": wait.since.wall_ns,
        "expires_ns": _on_wall(wait.deadline_ns, at),
    }


def _on_wall(mono_ns: int | None, at: Instant) -> int | None:
    from memhub.audit.rows.columns import wall_time

    return wall_time(mono_ns, at)


def time_text(wall_ns: int) -> str:
    """A time as text, in UTC with nanoseconds: `2026-01-31T12:00:00.000000001Z`."""
    seconds, rest = divmod(wall_ns, 10**9)
    when = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)

    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest:09}Z"
