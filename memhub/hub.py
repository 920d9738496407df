"""The hub: many machines, many processes, one event loop."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, final

import anyio

from memhub.arguments import take_integer, take_kind, take_text
from memhub.async_shell import go_on
from memhub.clock import SystemClock
from memhub.core.files import Principal
from memhub.core.requests import BreakClaim
from memhub.errors import BadHandle
from memhub.faults import FaultRules
from memhub.group_commit import settle_commits
from memhub.handle import Handle
from memhub.hardware import Hardware, add_faults
from memhub.hub_lifetime import HubLifetime
from memhub.kernel_calls import KernelCalls
from memhub.lifecycle import break_claim
from memhub.log_keeping import LogKeeper
from memhub.process import Process
from memhub.report import report
from memhub.shown import HubDevices
from memhub.snapshots import fork_engine, reset_machines, restore_machines, take_machines
from memhub.startup import make_engine
from memhub.subscriptions import CHANGES, make_subscription

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from memhub.abi import DataModel
    from memhub.async_shell import OwnTurns, Turns
    from memhub.audit import AuditLog
    from memhub.clock import Clock
    from memhub.core.claims import Claim
    from memhub.core.driver import Arch
    from memhub.core.fault_rules import FaultRule
    from memhub.core.machine import Machine
    from memhub.core.range_table import TableState
    from memhub.core.sickness import Sickness
    from memhub.core.spec import MachineSpec
    from memhub.device_kinds import DeviceBook
    from memhub.engine import Engine
    from memhub.fault_kinds import FaultBook
    from memhub.snapshots import Snapshot
    from memhub.subscriptions import Subscription


@final
class Hub(HubDevices, anyio.AsyncContextManagerMixin):
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
        device_kinds: kinds of devices; None loads those that are installed, where it needs any.
        fault_kinds: the same for kinds of faults.

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
        device_kinds: DeviceBook | None = None,
        fault_kinds: FaultBook | None = None,
    ) -> None:
        taken = SystemClock() if clock is None else clock
        engine = make_engine(specs, default, arches, log, taken, tables, device_kinds)
        if take_integer("driver_failures", driver_failures) < 0:
            raise ValueError(f"driver_failures {driver_failures} is below 0")

        engine.failures_most = driver_failures
        self._compose(engine, log, turns)
        self.faults.kinds = fault_kinds
        add_faults(faults, self.faults, self.hardware)

    def _compose(self, engine: Engine, log: AuditLog | None, turns: Turns | None = None) -> None:
        #: The synchronous half, for servers that answer many requests in one turn.
        self.engine = engine
        #: Faults on demand: see `FaultRules.add`.
        self.faults = FaultRules(engine)
        #: Sick hardware, suspend and resume: see `Hardware.add`.
        self.hardware = Hardware(engine)
        #: What drivers call of other kernels than FreeBSD: see `KernelCalls.call`.
        self.kernels = KernelCalls(engine)
        self._processes = itertools.count(1 + engine.files.last_process())
        self._lifetime = HubLifetime(engine, self.hardware, log)
        self._turns = turns
        #: Of a fork: the machines that it was made of, and the files that were open.
        self._forked_from: tuple[Mapping[str, Machine], frozenset[int]] = ({}, frozenset())

    @asynccontextmanager
    async def __asynccontextmanager__(self) -> AsyncGenerator[Self]:
        async with self._lifetime.last():
            yield self

    def keep_log(self, log: AuditLog) -> None:
        """Keep a log that was opened after the hub was made, and before it is entered."""
        self.engine.keep_log(log)
        self._lifetime.log_keeper = LogKeeper(self.engine, log)

    @property
    def log_keeper(self) -> LogKeeper | None:
        """Rotates and seals the log; None where there is no log."""
        return self._lifetime.log_keeper

    # For test rigs, whose fixtures begin and end a hub outside any event loop

    def begin(self) -> None:
        """Record that the machines start; from now on the hub opens files.

        Raises:
            LogFailed: EIO; it cannot be recorded.
        """
        self._lifetime.begin()

    def keep_time(self) -> AbstractAsyncContextManager[None]:
        """Meet deadlines of leases, waits and commits, and keep the log, on this event loop.

        Without it deadlines are met with the next request. What the block raises is raised bare,
        in no exception group.
        """
        return self._lifetime.keep_time()

    def end(self, failure: BaseException | None = None) -> None:
        """Close every file and detach the machines.

        Args:
            failure: what the embedder's own code raised; it is raised again.

        Raises:
            LogFailed: EIO; all is closed, unlogged. It becomes a note of a `failure`.
        """
        self._lifetime.end(failure)

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
        if not self._lifetime.entered:
            raise RuntimeError("the hub is not in use: open it in `async with Hub(...) as hub`")

        if name is not None:
            take_text("name", name)

        number = next(self._processes)
        who = Principal(number, name or f"process-{number}", pid, uid, privileged)

        return Process(self.engine, who, self._turns_of(number))

    def _turns_of(self, process: int) -> OwnTurns:
        turns = self._turns
        if turns is None:
            return self._lifetime.checkpoint, go_on

        return partial(turns.take_turn, process), partial(turns.take_last_turn, process)

    async def open(
        self, path: str, mode: str = "r", *, undo: bool = False, model: DataModel | None = None
    ) -> Handle:
        """Open a device file as a process of its own; see `Process.open`."""
        return await self.process().open(path, mode, undo=undo, model=model)

    def adopt(self, handle: Handle) -> Handle:
        """A handle of this hub for the file that a handle of the hub it was forked from means.

        Raises:
            TypeError: it is no handle.
            BadHandle: EBADF; it is of another hub, that file was not open when this hub was
                forked, or it is closed here.
        """
        take_kind("handle", handle, Handle)
        machines, numbers = self._forked_from
        if machines.get(handle.machine.name) is not handle.machine or handle.number not in numbers:
            raise BadHandle(f"{handle} was not open in the hub that this one was forked from")

        turns = self._turns_of(handle.process.id)

        return Handle(self.engine, handle.number, lambda _: None, turns)

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
        subscription = make_subscription(
            self.engine.listen,
            machine=machine,
            machines=machines,
            base=base,
            length=length,
            events=events,
            failures=failures,
            size=size,
        )
        self._lifetime.subscriptions.add(subscription)

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
        await self._lifetime.checkpoint()
        self.hardware.suspend(machine)

    async def resume(self, machine: str | None = None) -> None:
        """Resume a machine (the default one if None); see `Hardware.resume`."""
        await self._lifetime.checkpoint()
        self.hardware.resume(machine)

    def snapshot(self, machine: str | None = None) -> Snapshot:
        """The machines as they are now, or one; see `memhub.snapshots.take_machines`."""
        return take_machines(self.engine, machine)

    def restore(self, snapshot: Snapshot, machine: str | None = None) -> None:
        """Go back while files stay open; see `memhub.snapshots.restore_machines`."""
        restore_machines(self.engine, snapshot, machine)

    def reset(self, machine: str | None = None) -> None:
        """Let the machines, or one, be as they were at their start; errors as for `restore`."""
        reset_machines(self.engine, machine)

    def fork(self, *, log: AuditLog | None = None, clock: Clock | None = None) -> Hub:
        """Another hub whose machines are as they are here now; use it in `async with` too.

        Files are open and claims held there as here; `adopt` gives handles to them. Nothing waits
        there and no commit is on its way. Fault rules and subscriptions are not taken over.

        Arguments and errors are those of `memhub.snapshots.fork_engine`.
        """
        twin = Hub.__new__(Hub)
        engine = fork_engine(self.engine, log, clock)
        twin._compose(engine, log, self._turns)  # noqa: SLF001 - of this class
        twin.faults.kinds = self.faults.kinds
        twin._forked_from = self.machines, frozenset(engine.files.machines)  # noqa: SLF001 - of this class

        return twin

    def batch(self) -> AbstractContextManager[None]:
        """Let the records of many looks share one write; see `Engine.batch`."""
        return self.engine.batch()
