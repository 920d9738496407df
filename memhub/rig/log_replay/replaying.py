"""A log replayed: its requests are put to the same or other machines, and the answers compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from memhub.arches import load_arches
from memhub.core.machine import Machine
from memhub.engine.startup import make_machine
from memhub.rig.log_replay.comparing import LogDifference, compare
from memhub.rig.log_replay.devices import MachinesAgain
from memhub.rig.log_replay.player import LogPlayer
from memhub.rig.log_replay.steps import LogRun, read_run

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from memhub.audit import AuditLog
    from memhub.core.drivers.driver import Arch
    from memhub.core.spec import MachineSpec
    from memhub.device_kinds import DeviceBook
    from memhub.rig.log_replay.player import MakeMachine

    Row = Mapping[str, Any]


@dataclass(slots=True)
class LogReplay:
    """What a replay of a log came to.

    Attributes:
        steps: how many requests were put and compared.
        differences: the differences, in the order of the log.
        unplayed: how many requests were not put, by the reason.
        notes: what machines of the replay lack that those of the log had.
    """

    steps: int = 0
    differences: list[LogDifference] = field(default_factory=list)
    unplayed: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "steps": self.steps,
            "differences": [it._asdict() for it in self.differences],
            "not_put": dict(self.unplayed),
            "notes": list(self.notes),
        }


def replay_log(
    path: str | os.PathLike[str],
    *,
    arch: str | None = None,
    machine: str | None = None,
    specs: Mapping[str, MachineSpec] | None = None,
    arches: Mapping[str, Arch] | None = None,
    verified: bool = True,
    device_kinds: DeviceBook | None = None,
) -> LogReplay:
    """Put the requests of an audit log again, at the times of the log, and compare the answers.

    The machines are those that the log describes. Their memory begins as zeros, since a log does
    not keep it, and a write writes zeros.

    Args:
        path: a file or a folder of segments.
        arch: machines of this architecture instead; then slots and registers are not compared.
        machine: only the requests to this machine.
        specs: machines to take instead, by name; from a configuration, for another kernel or CPU.
        arches: architectures by name; None loads those that are installed.
        verified: whether the chain of the log is checked.
        device_kinds: the kinds of its devices; None loads those that are installed.

    Raises:
        DamagedLog: the chain breaks.
        AuditError: the log cannot be read.
        ArchNotInstalled: an architecture is not installed.
        ValueError: a machine cannot be of that architecture, or the log has no such machine.
    """
    known = load_arches() if arches is None else arches
    again = MachinesAgain(known, device_kinds)
    run = read_run(path, machine, verified=verified)
    done = replay_run(run, choose_machines(again, known, arch, specs))
    done.notes += again.notes

    return done


def choose_machines(
    again: MachinesAgain,
    arches: Mapping[str, Arch],
    arch: str | None,
    specs: Mapping[str, MachineSpec] | None,
) -> MakeMachine:
    """What makes the machines of a replay.

    Args:
        again: makes those of the log.
        arches: architectures by name.
        arch: see `replay_log`.
        specs: see `replay_log`.
    """
    if arch is not None:
        chosen = arches[arch]

        return lambda row: _of_another_arch(again.make(row), chosen)

    if specs is not None:
        return lambda row: _of_specs(row, specs, arches)

    return again.make


def _of_another_arch(machine: Machine, arch: Arch) -> Machine:
    if machine.arch.name == arch.name:
        return machine

    machine.close()
    plain = replace(
        machine.spec,
        arch=arch.name,
        options={},
        kmem=(),
        kmem_entries=None,
        kernel=None,
        symbols={},
    )

    return Machine.make(plain, arch, machine.devices)


def _of_specs(
    row: Row, specs: Mapping[str, MachineSpec], arches: Mapping[str, Arch]
) -> Machine | None:
    spec = specs.get(row["machine"])

    return None if spec is None else make_machine(spec, arches[spec.arch])


def replay_run(run: LogRun, make: MakeMachine, log: AuditLog | None = None) -> LogReplay:
    """Replay what was read of a log.

    Args:
        run: the steps, and what followed.
        make: makes each machine.
        log: an open audit log for what comes of it, or None.
    """
    player = play_run(run, make, log)
    made = LogRun(
        [it for it in run.steps if it.machine not in player.left_out],
        [it for it in run.followed if _can_follow(it, player)],
    )
    found = compare(made, player.told, player.skipped)
    asked = sum(not step.framing for step in made.steps)
    put = asked - sum(player.unplayed.values())

    return LogReplay(put, sorted(found, key=lambda it: it.seq), player.unplayed)


def _can_follow(row: Row, player: LogPlayer) -> bool:
    machine = row["machine"]

    return machine not in player.left_out and (machine, row.get("fence")) not in player.not_held


def play_run(run: LogRun, make: MakeMachine, log: AuditLog | None = None) -> LogPlayer:
    """Put the steps of a run, and let time pass as it says; arguments are those of `replay_run`."""
    player = LogPlayer(make, log)
    with player.port:
        _play_all(player, run)

    return player


def _play_all(player: LogPlayer, run: LogRun) -> None:
    steps = {step.seq: step for step in run.steps}
    rows = [*(step.row for step in run.steps), *run.followed]
    for row in sorted(rows, key=lambda it: int(it["seq"])):
        if row["seq"] in steps:
            player.play(steps[row["seq"]])
        else:
            player.follow(row)

    player.end()
