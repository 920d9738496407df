"""The hub: many machines, many processes, one event loop."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self, final

import anyio

from memhub.arguments import take_integer, take_kind, take_text
from memhub.clock import SystemClock
from memhub.core.caches.report import hazards_of
from memhub.core.files import Principal
from memhub.core.requests import BreakClaim
from memhub.devices.bus import Bus, find_machine
from memhub.devices.shown import find_model, show_device
from memhub.engine.group_commit import settle_commits
from memhub.engine.lifecycle import break_claim
from memhub.engine.log_keeping import LogKeeper
from memhub.engine.startup import make_engine
from memhub.engine.subscriptions import CHANGES, make_subscription
from memhub.errors import BadHandle
from memhub.faults.hardware import Hardware, add_faults
from memhub.faults.hub_rules import FaultRules
from memhub.handles.async_shell import go_on
from memhub.handles.handle import Handle
from memhub.handles.kernel_calls import KernelCalls
from memhub.handles.process import Process
from memhub.hub.hub_lifetime import HubLifetime
from memhub.hub.memory_images import dump_memory, load_memory
from memhub.hub.report import report
from memhub.snapshots.snapshot import fork_engine, reset_machines, restore_machines, take_machines

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from memhub.abi import DataModel
    from memhub.audit import AuditLog
    from memhub.clock import Clock
    from memhub.core.caches.hazards import Hazard
    from memhub.core.caches.seen import DumpView
    from memhub.core.claims import Claim
    from memhub.core.drivers.driver import Arch
    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.health.sickness import Sickness
    from memhub.core.machine import Machine
    from memhub.core.memory.physmap import MmioDevice, Window
    from memhub.core.ranges.range_table import TableState
    from memhub.core.spec import Content, MachineSpec
    from memhub.device_kinds import DeviceBook
    from memhub.engine.engine import Engine
    from memhub.engine.subscriptions import Subscription
    from memhub.fault_kinds import FaultBook
    from memhub.handles.async_shell import OwnTurns, Turns
    from memhub.images.dump import MemoryDump
    from memhub.plugin.pictures import Pixels, TextCells
    from memhub.snapshots.snapshot import Snapshot


@final
class Hub(anyio.AsyncContextManagerMixin):
    """Serves `/dev/mem` and `/dev/kmem` of its machines; use it in `async with`.

    Args:
        specs: the machines; the first is the default one unless `default` names another.
        default: the machine that a bare `/dev/mem` means.
        arches: architectures by name; None loads those that are installed.
        log: an open audit log, which the embedder closes; None keeps no log.
        clock: where time comes from; None takes the system's clocks.
        tables: what machines begin with instead of what firmware left, by name; from
            `memhub.audit.history.restore`.
        turns: decides which process goes on, so that a run can be repeated; None leaves it to
            the event loop. See `memhub.rig.Simulation`.
        faults: fault rules and sicknesses to begin with, as a configuration has them.
        driver_failures: failures of a range driver after which its machine is marked failed, and
            what is asked of it is refused with EIO; 0 is never.
        device_kinds, fault_kinds: of devices and faults; None loads those installed, if needed.

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
        """Record that the machines start; see `HubLifetime.begin`."""
        self._lifetime.begin()

    def keep_time(self) -> AbstractAsyncContextManager[None]:
        """Meet deadlines on this event loop; see `HubLifetime.keep_time`."""
        return self._lifetime.keep_time()

    def end(self, failure: BaseException | None = None) -> None:
        """Close every file and detach the machines; see `HubLifetime.end`."""
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

        Arguments are those of `Principal`; without a name it is numbered.

        Raises:
            RuntimeError: the hub was never entered, or is closed.
        """
        if not self._lifetime.entered:
            raise RuntimeError(self._lifetime.say_unused())

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

        return Handle(self.engine, handle.number, lambda _: None, self._turns_of(handle.process.id))

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

        Arguments and errors are those of `memhub.engine.subscriptions.make_subscription`.
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

    # Memory, its bus and its devices

    def bus(self, machine: str | None = None) -> Bus:
        """The bus of a machine (the default one if None), as a DMA device uses it."""
        return Bus(self.engine, find_machine(self.engine, machine))

    def hazards(self, machine: str | None = None) -> list[Hazard]:
        """What would go wrong on hardware, on a machine that is not coherent: docs/memory.md."""
        return hazards_of(find_machine(self.engine, machine).caches)

    def map_device(
        self, base: int, length: int, device: MmioDevice, *, machine: str | None = None
    ) -> Window:
        """Let a device model answer for a stretch of physical addresses; see `Bus.map_device`."""
        return self.bus(machine).map_device(base, length, device)

    def device(self, name: str, machine: str | None = None) -> Any:  # noqa: ANN401 - what a plugin made
        """The model of a declared device; see `memhub.devices.shown.find_model`."""
        return find_model(self.engine, name, machine)

    def show(self, device: str | None = None, machine: str | None = None) -> Pixels | TextCells:
        """What a device of memory shows; see `memhub.devices.shown.show_device`."""
        return show_device(self.engine, device, machine)

    def dump_memory(self, machine: str | None = None, *, view: DumpView = "bus") -> MemoryDump:
        """What the RAM of a machine holds; see `memhub.hub.memory_images.dump_memory`."""
        return dump_memory(self.engine, "" if machine is None else machine, view)

    def load_memory(
        self,
        contents: Iterable[Content],
        machine: str | None = None,
        *,
        clear: bool = False,
        source: str | None = None,
    ) -> int:
        """Put contents into the RAM of a machine; see `memhub.hub.memory_images.load_memory`."""
        return load_memory(self.engine, contents, machine or "", clear=clear, source=source)

    # For the embedder

    def break_claim(self, machine: str, fence: int, reason: str) -> None:
        """Take a claim from its holder; see `memhub.engine.lifecycle.break_claim`."""
        break_claim(self.engine, BreakClaim(machine, fence, reason))

    def claims(self, machine: str | None = None) -> list[Claim]:
        """The live claims on a machine (the default one if None), oldest first."""
        return list(find_machine(self.engine, machine).claims.claims.values())

    async def suspend(self, machine: str | None = None) -> None:
        """Suspend a machine (the default one if None); see `Hardware.suspend`."""
        await self._lifetime.checkpoint()
        self.hardware.suspend(machine)

    async def resume(self, machine: str | None = None) -> None:
        """Resume a machine (the default one if None); see `Hardware.resume`."""
        await self._lifetime.checkpoint()
        self.hardware.resume(machine)

    def snapshot(self, machine: str | None = None) -> Snapshot:
        """The machines as they are now, or one; see `memhub.snapshots.snapshot.take_machines`."""
        return take_machines(self.engine, machine)

    def restore(self, snapshot: Snapshot, machine: str | None = None) -> None:
        """Go back while files stay open; see `memhub.snapshots.snapshot.restore_machines`."""
        restore_machines(self.engine, snapshot, machine)

    def reset(self, machine: str | None = None) -> None:
        """Let the machines, or one, be as they were at their start; errors as for `restore`."""
        reset_machines(self.engine, machine)

    def fork(self, *, log: AuditLog | None = None, clock: Clock | None = None) -> Hub:
        """Another hub whose machines are as they are here now; use it in `async with` too.

        Files are open and claims held there as here; `adopt` gives handles to them. Nothing waits
        there and no commit is on its way. Fault rules and subscriptions are not taken over.

        Arguments and errors are those of `memhub.snapshots.snapshot.fork_engine`.
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
