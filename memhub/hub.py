"""The hub: many machines, many processes, one event loop."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, final
from weakref import WeakSet

import anyio
from anyio.lowlevel import checkpoint

from memhub.arguments import take_integer, take_names, take_text
from memhub.async_shell import find_checkpoint, go_on, meet_deadlines
from memhub.bus import BusCalls
from memhub.clock import SystemClock
from memhub.core.files import Principal
from memhub.core.requests import BreakClaim
from memhub.errors import LogFailed
from memhub.faults import FaultRules
from memhub.group_commit import settle_commits
from memhub.hardware import Hardware, add_faults
from memhub.lifecycle import break_claim, detach_machines
from memhub.log_keeping import LogKeeper
from memhub.process import Process
from memhub.report import report
from memhub.startup import make_engine, record_starts
from memhub.subscriptions import CHANGES, Subscription, take_span_of_interest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from contextlib import AbstractContextManager

    from memhub.abi import DataModel
    from memhub.async_shell import Checkpoint, Turns
    from memhub.audit import AuditLog
    from memhub.clock import Clock
    from memhub.core.claims import Claim
    from memhub.core.driver import Arch
    from memhub.core.fault_rules import FaultRule
    from memhub.core.machine import Machine
    from memhub.core.range_table import TableState
    from memhub.core.sickness import Sickness
    from memhub.core.spec import MachineSpec
    from memhub.handle import Handle


@final
class Hub(BusCalls, anyio.AsyncContextManagerMixin):
    """Serves `/dev/mem` and `/dev/kmem` of its machines; use it in `async with`.

    Args:
        specs: the machines; the first is the default one unless `default` names another.
        default: the machine that a bare `/dev/mem` means.
        arches: architectures by name; None loads those that are installed.
        log: an open audit log, which the embedder closes; None keeps no log.
        clock: where time comes from; None takes the system's clocks.
        tables: what machines begin with instead of what firmware left, by name; from
            `memhub.audit.restore`.
        turns: decides which process goes on, so that a run can be repeated; None leaves it to
            the event loop. See `memhub.rig.Simulation`.
        faults: fault rules and sicknesses to begin with, as a configuration has them.
        driver_failures: failures of a range driver after which its machine is marked failed, and
            what is asked of it is refused with EIO; 0 is never.

    Raises:
        ValueError: there is no machine, two have one name, the default is not one of them, or a
            machine's description contradicts itself.
        ArchNotInstalled: a machine names an architecture that no plugin provides.
        OptionError: an option of an architecture is wrong.
        DriverFailed: EIO; a range driver could not start.
        TypeError: an argument has the wrong type.
    """

    def __init__(
        self,
        specs: Iterable[MachineSpec],
        *,
        default: str | None = None,
        arches: Mapping[str, Arch] | None = None,
        log: AuditLog | None = None,
        clock: Clock | None = None,
        tables: Mapping[str, TableState] | None = None,
        turns: Turns | None = None,
        faults: Iterable[FaultRule | Sickness] = (),
        driver_failures: int = 100,
    ) -> None:
        #: The synchronous half, for servers that answer many requests in one turn.
        self.engine = make_engine(
            specs, default, arches, log, SystemClock() if clock is None else clock, tables
        )
        if take_integer("driver_failures", driver_failures) < 0:
            raise ValueError(f"driver_failures {driver_failures} is below 0")

        self.engine.failures_most = driver_failures
        #: Rotates and seals the log; None where there is no log.
        self.log_keeper = None if log is None else LogKeeper(self.engine, log)
        #: Faults on demand: see `FaultRules.add`.
        self.faults = FaultRules(self.engine)
        #: Sick hardware, suspend and resume: see `Hardware.add`.
        self.hardware = Hardware(self.engine)
        add_faults(faults, self.faults, self.hardware)

        self._processes = itertools.count(1)
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._entered = False
        self._checkpoint: Checkpoint = checkpoint
        self._turns = turns

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        self.begin()
        failure: BaseException | None = None
        try:
            async with self.keep_time():
                yield self
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - raised below, bare
            failure = error
        finally:
            self.end(failure)

    def keep_log(self, log: AuditLog) -> None:
        """Keep a log that was opened after the hub was made, and before it is entered."""
        self.engine.keep_log(log)
        self.log_keeper = LogKeeper(self.engine, log)

    # For test rigs, whose fixtures begin and end a hub outside any event loop

    def begin(self) -> None:
        """Record that the machines start; from now on the hub opens files.

        Raises:
            LogFailed: EIO; it cannot be recorded.
        """
        record_starts(self.engine)
        self.hardware.begin()
        self._entered = True

    @asynccontextmanager
    async def keep_time(self) -> AsyncGenerator[None]:
        """Meet deadlines of leases, waits and commits, and keep the log, on this event loop.

        Without it deadlines are met with the next request. What the block raises is raised bare,
        in no exception group.
        """
        self._checkpoint = find_checkpoint()
        failure: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(meet_deadlines, self.engine)
            if self.log_keeper is not None:
                tasks.start_soon(self.log_keeper.run)
            try:
                yield
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # noqa: BLE001 - raised below, bare
                failure = error
            finally:
                tasks.cancel_scope.cancel()
                self._checkpoint = checkpoint

        if failure is not None:
            raise failure

    def end(self, failure: BaseException | None = None) -> None:
        """Close every file and detach the machines.

        Args:
            failure: what the embedder's own code raised; it is raised again.

        Raises:
            LogFailed: EIO; all is closed, unlogged. It becomes a note of a `failure`.
        """
        self._entered = False
        try:
            detach_machines(self.engine, list(self._subscriptions))
        except LogFailed as error:
            if failure is None:
                raise

            failure.add_note(f"on its way out the hub met {error}")

        if failure is not None:
            raise failure

    # Opening

    def process(
        self,
        name: str | None = None,
        *,
        pid: int | None = None,
        uid: int | None = None,
        privileged: bool = True,
    ) -> Process:
        """Make a process: a principal that can hold handles and claims.

        Args:
            name: for people; numbered if None.
            pid: its process id, where known.
            uid: its user id, where known.
            privileged: whether the machines' kernels take it for root; from FreeBSD 10 on,
                another cannot open memory for writing (EPERM).

        Raises:
            RuntimeError: the hub was never entered, so that neither its log nor its deadlines
                would work.
        """
        if not self._entered:
            raise RuntimeError("the hub is not in use: open it in `async with Hub(...) as hub`")

        if name is not None:
            take_text("name", name)

        number = next(self._processes)
        who = Principal(number, name or f"process-{number}", pid, uid, privileged)
        turns = self._turns
        if turns is None:
            return Process(self.engine, who, (self._checkpoint, go_on))

        own = partial(turns.take_turn, number), partial(turns.take_last_turn, number)
        return Process(self.engine, who, own)

    async def open(
        self, path: str, mode: str = "r", *, undo: bool = False, model: DataModel | None = None
    ) -> Handle:
        """Open a device file as a process of its own; see `Process.open`."""
        return await self.process().open(path, mode, undo=undo, model=model)

    # Looking

    @property
    def machines(self) -> Mapping[str, Machine]:
        """The machines by name."""
        return self.engine.machines

    @property
    def default(self) -> str:
        """The machine that a bare `/dev/mem` means."""
        return self.engine.default

    def report(self) -> dict[str, Any]:
        """Who has what open, holds and waits for what, and since when; data fit for JSON."""
        settle_commits(self.engine.commit)
        return report(self.machines.values(), self.engine.now())

    def subscribe(
        self,
        *,
        machine: str | None = None,
        machines: Iterable[str] | None = None,
        base: int | None = None,
        length: int | None = None,
        events: Iterable[str] = CHANGES,
        failures: bool = False,
        size: int = 1024,
    ) -> Subscription:
        """Receive changes as they happen, until the hub ends.

        Args:
            machine: of this machine only.
            machines: of these machines only; changes of others are not held and not counted
                as missed.
            base: with `length`: only those that touch a byte of this range.
            length: bytes.
            events: the events wanted, by their names in the audit log.
            failures: also requests that were refused.
            size: how many events are held for a slow reader before the oldest is dropped.

        Raises:
            ValueError: one of `base` and `length` without the other, no range, or no size.
            TypeError: an argument has the wrong type.
        """
        span, size = take_span_of_interest(base, length, size)
        wanted = None if machines is None else take_names("machines", machines)
        if machine is not None:
            take_text("machine", machine)
            wanted = frozenset({machine}) if wanted is None else wanted & {machine}

        subscription = Subscription(
            self.engine.listen,
            machines=wanted,
            span=span,
            events=take_names("events", events),
            failures=failures,
            size=size,
        )
        self._subscriptions.add(subscription)
        return subscription

    # For the embedder

    def break_claim(self, machine: str, fence: int, reason: str) -> None:
        """Take a claim from its holder; the next use that it makes of it fails with EBUSY.

        Args:
            machine: the machine's name.
            fence: the claim's fencing number, as in `report`.
            reason: why; the log and the holder are told.

        Raises:
            NoSuchDevice: ENOENT; no such machine.
            NoSuchRange: ENOENT; no such claim.
        """
        break_claim(self.engine, BreakClaim(machine, fence, reason))

    def claims(self, machine: str | None = None) -> list[Claim]:
        """The live claims on a machine (the default one if None), oldest first."""
        return list(self._find_machine(machine).claims.claims.values())

    async def suspend(self, machine: str | None = None) -> None:
        """Suspend a machine (the default one if None); see `Hardware.suspend`."""
        await self._checkpoint()
        self.hardware.suspend(machine)

    async def resume(self, machine: str | None = None) -> None:
        """Resume a machine (the default one if None); see `Hardware.resume`."""
        await self._checkpoint()
        self.hardware.resume(machine)

    def batch(self) -> AbstractContextManager[None]:
        """Let the records of many looks share one write; see `Engine.batch`."""
        return self.engine.batch()
