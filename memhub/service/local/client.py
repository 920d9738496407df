"""The blocking client's face on machines in this process, without a socket or an event loop.

For scripts and the command line on a configuration file: the machines are made fresh, live as
long as the client, and have one process. Its methods may be called from several threads; one
that waits (for a commit, or for a range that another thread's commit holds) keeps nobody out.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self, final

from memhub.clock import SystemClock
from memhub.core.files import Principal
from memhub.devices.shown import describe_devices, find_shown, read_shown
from memhub.engine.startup import make_engine, record_ends, record_starts
from memhub.faults.hardware import Hardware, add_faults
from memhub.faults.hub_rules import Delayed, FaultRules
from memhub.handles.process import Process
from memhub.hub.memory_images import dump_memory, load_memory
from memhub.hub.report import report
from memhub.service.local.handle import LocalHandle
from memhub.service.local.passing_time import PassingTime
from memhub.service.local.snapshots import LocalSnapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memhub.abi import DataModel
    from memhub.audit import AuditLog
    from memhub.clock import Clock
    from memhub.core.caches.seen import DumpView
    from memhub.core.drivers.driver import Arch
    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.health.sickness import Sickness
    from memhub.core.machine import Machine
    from memhub.core.spec import Content, MachineSpec
    from memhub.images.dump import MemoryDump


@final
class LocalClient:
    """One process on machines of its own; use it in `with`.

    Args:
        specs: the machines; the first is the default one unless `default` names another.
        default: the machine that a bare `/dev/mem` means.
        arches: architectures by name; None loads those that are installed.
        log: an open audit log, which the caller closes; None keeps no log.
        name: what the process is called.
        clock: where time comes from; None takes the system's clocks.
        sleep: lets so many seconds of that clock pass; a clock that stands still until it is told
            otherwise needs its own `advance`.
        faults: fault rules, as of `Hub`.

    Raises:
        ValueError: there is no machine, two have one name, the default is none of them, or a
            machine's description contradicts itself.
        ArchNotInstalled: a machine names an architecture that no plugin provides.
        OptionError: an option of an architecture is wrong.
    """

    def __init__(
        self,
        specs: Iterable[MachineSpec],
        *,
        default: str | None = None,
        arches: Mapping[str, Arch] | None = None,
        log: AuditLog | None = None,
        name: str = "local",
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
        faults: Iterable[FaultRule | Sickness] = (),
    ) -> None:
        self._engine = make_engine(specs, default, arches, log, clock or SystemClock())
        #: Faults on demand: see `FaultRules.add`.
        self.faults = FaultRules(self._engine)
        #: Sick hardware, suspend and resume: see `Hardware.add`.
        self.hardware = Hardware(self._engine)
        add_faults(faults, self.faults, self.hardware)
        self._process = Process(self._engine, Principal(1, name))
        self._lock = threading.RLock()
        self._time = PassingTime(self._engine, self._lock, sleep)
        self._snapshots = LocalSnapshots(self._engine, self._lock)
        record_starts(self._engine)
        self.hardware.begin()

    @property
    def machines(self) -> Mapping[str, Machine]:
        """The machines by name."""
        return self._engine.machines

    @property
    def default(self) -> str:
        """The machine that a bare `/dev/mem` means."""
        return self._engine.default

    def open(
        self, path: str, mode: str = "r", *, undo: bool = False, model: DataModel | None = None
    ) -> LocalHandle:
        """Open a device file; arguments and errors are those of `Process.open`."""
        try:
            with self._lock:
                handle = self._process.open_nowait(path, mode, undo=undo, model=model)
        except Delayed as late:  # by a fault rule
            self._time.sleep_for(late)
            with self._lock, late.passing():
                handle = self._process.open_nowait(path, mode, undo=undo, model=model)

        return LocalHandle(self._engine, handle, self._lock, self._time)

    def list_devices(self, machine: str | None = None) -> list[dict[str, Any]]:
        """The devices that a machine (the default one if None) declares."""
        with self._lock:
            return describe_devices(self._engine.machine(machine or ""))

    def read_device(self, device: str | None = None, machine: str | None = None) -> bytes:
        """The bytes of a device that shows memory, as it reads them itself; see `Hub.show`."""
        with self._lock:
            found = self._engine.machine(machine or "")

            return read_shown(self._engine, found, find_shown(found, device))

    def report(self) -> dict[str, Any]:
        """Who has what open, who holds what, who waits for what, and since when.

        Returns:
            plain data (`memhub.hub.report`), fit for JSON.
        """
        with self._lock:
            return report(self.machines.values(), self._engine.now())

    def dump_memory(self, machine: str | None = None, *, view: DumpView = "bus") -> MemoryDump:
        """What the RAM of a machine (the default one if None) holds; see `Hub.dump_memory`."""
        with self._lock:
            return dump_memory(self._engine, machine or "", view)

    def load_memory(
        self, contents: Iterable[Content], machine: str | None = None, *, clear: bool = False
    ) -> int:
        """Put contents into the RAM of a machine (the default one if None); see `Hub`."""
        with self._lock:
            return load_memory(self._engine, contents, machine or "", clear=clear)

    def take_snapshot(self, machine: str | None = None) -> bytes:
        """The machines, or one, as they are now: a file for `memhub.Snapshot`."""
        return self._snapshots.take(machine)

    def restore_snapshot(self, file: bytes, machine: str | None = None) -> list[str]:
        """Let machines be as a file has them, while files stay open; the machines' names."""
        return self._snapshots.restore(file, machine)

    def reset(self, machine: str | None = None) -> list[str]:
        """Let the machines, or one, be as they were at their start; their names."""
        return self._snapshots.reset(machine)

    def close(self) -> None:
        """Close every handle and release the machines. Closing twice does nothing.

        Raises:
            LogFailed: EIO; all is closed, but the log does not say so.
        """
        with self._lock:
            if self._process.closed:
                return

            try:
                self._process.close("stop")
                record_ends(self._engine)
            finally:
                self._engine.files.ended = True
                for machine in self.machines.values():
                    machine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
