"""Puts the steps of a log to machines, at the times at which they took effect."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from memhub.core.deciding.restoring import tell_fork
from memhub.core.instant import Instant
from memhub.engine.engine import Engine
from memhub.engine.lifecycle import close_file
from memhub.engine.startup import record_ends, record_starts
from memhub.rig.log_replay.asking import PUTS, Life, Unplayable
from memhub.rig.log_replay.beginning import begin_held
from memhub.rig.log_replay.devices import DevicePort, MachinesAgain
from memhub.rig.log_replay.going_back import go_back
from memhub.rig.log_replay.hardware import put_hardware
from memhub.rig.log_replay.steps import HARDWARE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.audit import AuditLog
    from memhub.core.drivers.driver import Arch
    from memhub.core.machine import Machine
    from memhub.rig.log_replay.steps import LogStep

    Row = Mapping[str, Any]
    #: Makes the machine of a `device.attach` record; None leaves the machine out.
    MakeMachine = Callable[[Row], Machine | None]


class LogClock:
    """A clock that shows what the log says."""

    def __init__(self) -> None:
        self.now = Instant(0, 0)

    def wall_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self.now.wall_ns

    def mono_ns(self) -> int:
        """Nanoseconds on the monotonic clock."""
        return self.now.mono_ns

    async def sleep_until(self, mono_ns: int) -> None:
        """Nobody sleeps here."""
        raise NotImplementedError(mono_ns)


class Told(NamedTuple):
    """A record that a replay has led to.

    Attributes:
        seq: of the step, or of the record at whose time it came.
        row: the record.
    """

    seq: int
    row: Row


class LogPlayer:
    """Puts steps to machines.

    Args:
        make: makes each machine.
        log: an open audit log for what comes of it, or None.

    Attributes:
        told: the records that have come, in order.
        unplayed: how many steps were not put, by the reason.
        skipped: the numbers of those steps.
        left_out: the machines that were not made.
        port: asks the devices of the machines.
        not_held: the claims, by machine and number, that another machine does not begin with.
    """

    def __init__(self, make: MakeMachine, log: AuditLog | None = None) -> None:
        self.told: list[Told] = []
        self.unplayed = Counter[str]()
        self.skipped: set[int] = set()
        self.left_out: set[str] = set()
        self.not_held: set[tuple[str, int]] = set()
        self.port = DevicePort()
        self._make = make
        self._log = log
        self._clock = LogClock()
        self._lives: dict[str, Life] = {}
        self._seq = 0
        self._numbered: list[Row] = []
        self._ended = False

    def play(self, step: LogStep) -> None:
        """Put one step."""
        self._pass_time(step.row)
        try:
            self._put(step)
        except Unplayable as error:
            self.skipped.add(step.seq)
            if step.machine not in self.left_out:
                self.unplayed[str(error)] += 1

        self._learn_number(step.row)

    def follow(self, row: Row) -> None:
        """Take note of a record of what followed by itself."""
        self._pass_time(row)
        self._learn_number(row)

    def _pass_time(self, row: Row) -> None:
        """Let it be the time of a record, and let end what is due then."""
        self._seq = row["seq"]
        self._clock.now = Instant(row["wall_ns"], row["mono_ns"])
        life = self._lives.get(row["machine"])
        if life is not None:
            life.engine.tick()

    def end(self) -> None:
        """End the machines that are left; of that nothing is told."""
        self._ended = True
        for name in list(self._lives):
            self._end(name)

    def _put(self, step: LogStep) -> None:
        row, event = step.row, step.row["event"]
        if event == "device.attach":
            self._start(row)
            return

        if event == "device.detach":
            self._end(step.machine)
            return

        if step.begins_held:
            self._start_held(step)
            return

        life = self._lives.get(step.machine)
        if life is None:
            raise Unplayable("its machine was not started")

        if event == "device.restore":
            go_back(life, step)
        elif event in HARDWARE:
            put_hardware(life, row)
        else:
            PUTS[event](life, row)

    def _start(self, row: Row) -> None:
        self._end(row["machine"])
        machine = self._make(row)
        if machine is None:
            self.left_out.add(row["machine"])
            return

        record_starts(self._live(row, machine).engine)

    def _live(self, row: Row, machine: Machine) -> Life:
        engine = Engine({machine.name: machine}, machine.name, self._clock, self._log)
        engine.listen(self._tell)
        self._lives[row["machine"]] = Life(engine, self.port)

        return self._lives[row["machine"]]

    def _start_held(self, step: LogStep) -> None:
        """Start a machine that holds something; of a fork it takes the place of the bare start."""
        row = step.row
        machine = self._make(row)
        if machine is None:
            self.left_out.add(row["machine"])
            return

        bare = self._lives.pop(row["machine"], None)
        life = self._live(row, machine)
        left_out = begin_held(life, step)
        self.not_held |= {(step.machine, fence) for fence in left_out}
        if bare is None:
            record_starts(life.engine)
            return

        for old in bare.engine.machines.values():
            old.close()

        life.engine.note(*tell_fork(machine, self._clock.now))

    def _end(self, name: str) -> None:
        life = self._lives.pop(name, None)
        if life is not None:
            for number in life.files.values():
                close_file(life.engine, number, "stop")

            record_ends(life.engine)
            for machine in life.engine.machines.values():
                machine.close()

    def _tell(self, row: Row) -> None:
        if not self._ended:
            self.told.append(Told(self._seq, row))
            if row.get("fence") is not None:
                self._numbered.append(row)

    def _learn_number(self, row: Row) -> None:
        """Note which claim of the replay is which of the log, by the records that tell of both."""
        life = self._lives.get(row["machine"])
        if life is None or row.get("fence") is None:
            return

        key = _claim_key(row)
        for told in self._numbered:
            if _claim_key(told) == key:
                life.fences[row["fence"]] = told["fence"]
                self._numbered.remove(told)
                return


def _claim_key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ("event", "machine", "process_id", "base", "length"))


def machine_again(arches: Mapping[str, Arch]) -> MakeMachine:
    """Make the machines that the log describes, with the tables that they began with."""
    return MachinesAgain(arches).make
