"""Snapshots of a hub's machines: taken, gone back to, kept in files.

What becomes of clients that stay connected is decided in `memhub.core.deciding.restoring`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memhub.arguments import take_kind, take_text
from memhub.audit import AuditLog
from memhub.clock import Clock
from memhub.core.deciding.restoring import decide_restore, settle_fork
from memhub.core.decision import take_back
from memhub.core.memory.device_states import load_devices, save_devices
from memhub.core.snapshots import MachineSnapshot, first_snapshot, fork_machine, take_snapshot
from memhub.engine.engine import Engine
from memhub.engine.group_commit import settle_commits
from memhub.errors import InvalidArgument, NoSuchDevice

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from memhub.core.decision import Decision
    from memhub.core.drivers.driver import Arch
    from memhub.core.machine import Machine
    from memhub.core.restored import RestoreCause

    Step = tuple[Machine, MachineSnapshot, Decision]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Machines at a moment; a value, which is compared and pickled.

    Attributes:
        machines: the machines by name.
    """

    machines: Mapping[str, MachineSnapshot]

    def __post_init__(self) -> None:
        take_kind("machines", self.machines, Mapping)
        for name, machine in self.machines.items():
            take_kind(f"machines: {take_text('machines: name', name)!r}", machine, MachineSnapshot)

        object.__setattr__(self, "machines", dict(self.machines))

    __hash__ = None  # type: ignore[assignment]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, in place of one that is there; the file appears whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        from memhub.whole_file import write_whole

        write_whole(path, self.to_bytes(), special="write", mode=0o600)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, arches: Mapping[str, Arch] | None = None
    ) -> Snapshot:
        """Read a file that `save` has written. Nothing that it says is executed.

        Args:
            path: the file.
            arches: architectures by name; None loads those that are installed.

        Raises:
            OSError: the file cannot be read.
            SnapshotError: it is no snapshot, is damaged, or of a newer format.
            ArchNotInstalled: a machine's architecture is not installed.
        """
        return cls.from_bytes(Path(path).read_bytes(), arches=arches)

    def to_bytes(self) -> bytes:
        """What `save` writes."""
        from memhub.snapshots.snapshot_file import encode_machines

        return encode_machines(self.machines)

    @classmethod
    def from_bytes(cls, data: bytes, *, arches: Mapping[str, Arch] | None = None) -> Snapshot:
        """The opposite of `to_bytes`; errors are those of `load`."""
        take_kind("data", data, bytes)
        if arches is None:
            from memhub.arches import load_arches

            arches = load_arches()

        from memhub.snapshots.snapshot_file import decode_machines

        return cls(decode_machines(data, arches))


def fork_engine(engine: Engine, log: AuditLog | None, clock: Clock | None) -> Engine:
    """Another engine whose machines are as they are here now.

    Args:
        engine: the machines.
        log: an open audit log for the new engine, or None.
        clock: where its time comes from; None takes the clock of this one.

    Raises:
        LogFailed: EIO; what is due cannot be recorded.
        DeviceError: ENOMEM, EIO; see `memhub.core.snapshots.fork_machine`.
    """
    engine.files.check_in_use()
    settle_commits(engine.commit)
    then = engine.catch_up()
    if log is not None:
        take_kind("log", log, AuditLog)

    clock = engine.clock if clock is None else clock
    take_kind("clock", clock, Clock)
    machines = {it.name: fork_machine(it) for it in engine.machines.values()}
    twin = Engine(machines, engine.default, clock, log)
    twin.failures_most = engine.failures_most
    now = twin.now()
    for machine in machines.values():
        settle_fork(machine, now, now.mono_ns - then.mono_ns)
        twin.deadlines.note(machine.due_ns)

    twin.files.take_over(machines.values())

    return twin


def take_machines(engine: Engine, machine: str | None = None) -> Snapshot:
    """The machines of an engine, or one of them, as they are now; `restore_machines` goes back.

    Args:
        engine: the machines.
        machine: one machine's name; None takes all.

    Raises:
        NoSuchDevice: ENOENT; no such machine.
        LogFailed: EIO; what is due cannot be recorded.
        DeviceError: ENOMEM; the host has no memory or no descriptor left. EIO; a device model
            could not say what it keeps.
    """
    chosen = _choose(engine, machine)
    settle_commits(engine.commit)
    now = engine.catch_up()

    return Snapshot({it.name: take_snapshot(it, now) for it in chosen})


def restore_machines(
    engine: Engine,
    snapshot: Snapshot,
    machine: str | None = None,
    *,
    may_name: Callable[[str], bool] | None = None,
) -> None:
    """Let machines be as a snapshot has them: all of them or, with an error, none.

    Args:
        engine: the machines.
        snapshot: where to go back to.
        machine: the one machine that goes back; the snapshot has it by this name, or has one
            machine alone. None takes all that the snapshot has.
        may_name: whether a refusal may name a machine that does not go back; None names every one.

    Raises:
        NoSuchDevice: ENOENT; no such machine.
        InvalidArgument: EINVAL; the snapshot does not have the machine, or does not fit it.
        LogFailed: EIO; it cannot be recorded.
        DeviceError: ENOMEM; the host has no memory or no descriptor left. EIO; a device model
            failed.
    """
    take_kind("snapshot", snapshot, Snapshot)
    engine.files.check_in_use()
    if machine is None:
        pairs = [(engine.machine(name), it) for name, it in snapshot.machines.items()]
    else:
        (target,) = _choose(engine, machine)
        pairs = [(target, _machine_in(snapshot, target.name))]

    _restore_all(engine, pairs, "restore", may_name)


def reset_machines(
    engine: Engine,
    machine: str | None = None,
    *,
    may_name: Callable[[str], bool] | None = None,
) -> None:
    """Let machines, or one of them, be as they were at their start; errors as for a restore."""
    pairs = [(it, first_snapshot(it)) for it in _choose(engine, machine)]
    _restore_all(engine, pairs, "reset", may_name)


def _choose(engine: Engine, machine: str | None) -> list[Machine]:
    """All machines, or the one of a name."""
    engine.files.check_in_use()
    if machine is None:
        return list(engine.machines.values())

    if not take_text("machine", machine):
        raise NoSuchDevice("a machine's name is due, and not an empty text; None takes all")

    return [engine.machine(machine)]


def _machine_in(snapshot: Snapshot, name: str) -> MachineSnapshot:
    machines = snapshot.machines
    if name in machines:
        return machines[name]

    if len(machines) == 1:
        return next(iter(machines.values()))

    raise InvalidArgument(f"the snapshot has no machine {name!r}, but {sorted(machines)}")


def _restore_all(
    engine: Engine,
    pairs: Sequence[tuple[Machine, MachineSnapshot]],
    cause: RestoreCause,
    may_name: Callable[[str], bool] | None,
) -> None:
    settle_commits(engine.commit)
    now = engine.catch_up()
    _check_names(engine, pairs, may_name)
    steps = [(it, to, decide_restore(it, to, now, cause, _name_it(to, cause))) for it, to in pairs]
    kept = [(it.memory.windows, save_devices(it.memory.windows)) for it, _ in pairs]
    try:
        for machine, to, _ in steps:
            load_devices(machine.memory.windows, to.devices)

        _make_true(engine, steps)
    except BaseException:
        for windows, states in kept:
            load_devices(windows, states)

        raise

    for machine, _, decision in steps:
        engine.follow_up(machine, decision)


def _check_names(
    engine: Engine,
    pairs: Sequence[tuple[Machine, MachineSnapshot]],
    may_name: Callable[[str], bool] | None,
) -> None:
    """Refuse to bring back a sickness whose name another has on a machine that does not go back."""
    back = {machine.name for machine, _ in pairs}
    healths = [(it.name, it.health) for it in engine.machines.values() if it.name not in back]
    taken: dict[str, str] = {}
    for name, health in (*healths, *((machine.name, to.health) for machine, to in pairs)):
        for active in () if health is None else health.sicknesses:
            called = active.sickness.name
            holder = taken.setdefault(called, name)
            if holder != name:
                named = holder in back or may_name is None or may_name(holder)
                why = f"since {holder} has one" if named else "since the name is in use"
                raise InvalidArgument(f"{name} cannot have a sickness {called!r}, {why}")


def _name_it(snapshot: MachineSnapshot, cause: RestoreCause) -> str | None:
    return None if cause == "reset" else f"a snapshot of {snapshot.spec.name}"


def _make_true(engine: Engine, steps: Sequence[Step]) -> None:
    """Apply the facts and record them in one write."""
    for machine, _, decision in steps:
        for event in decision.events:
            machine.apply(event)

    try:
        engine.note(*(event for _, _, decision in steps for event in decision.events))
    except BaseException:
        for machine, _, decision in reversed(steps):
            take_back(machine, decision)

        raise
