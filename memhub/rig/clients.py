"""The processes of a rig that block, and who makes those and the ones that await."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any, Self, final

from memhub.arguments import take_text
from memhub.faults.hub_rules import Delayed
from memhub.rig.awaiting_client import AsyncClient
from memhub.rig.hub_faults import HubFaults
from memhub.rig.hub_hardware import HubHardware
from memhub.service.local.handle import LocalHandle
from memhub.service.local.passing_time import PassingTime
from memhub.service.local.snapshots import LocalSnapshots

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.health.sickness import Sickness
    from memhub.handles.process import Process
    from memhub.hub.hub import Hub
    from memhub.service.blocking.hardware import BlockingHardware

    Sleep = Callable[[float], None]
    OnError = Callable[[BaseException], None]


def _take_name(name: object) -> str:
    """The name of a process; over a service, an unnamed one would get another name."""
    if not take_text("name", name):
        raise ValueError("the name of a process is empty")

    return str(name)


def _ignore_error(_: BaseException) -> None:
    """Nobody wants to know."""


@final
class BlockingRigClient:
    """A process that blocks; made by `Clients`. `with` ends it, and so does the end of the test."""

    def __init__(
        self,
        name: str,
        opener: Any,  # noqa: ANN401 - a Process or a BlockingClient
        open_file: Callable[..., Any],
        on_error: OnError,
        snapshots: LocalSnapshots | None = None,
        faults: HubFaults | None = None,
        hardware: HubHardware | None = None,
    ) -> None:
        self.name = name
        self._hardware = hardware
        self._snapshots = snapshots
        self._faults = faults
        self._on_error = on_error
        self._opener = opener
        self._open_file = open_file
        self._files: list[Any] = []

    def open(
        self,
        path: str = "/dev/mem",
        mode: str = "r+",
        **more: Any,  # noqa: ANN401 - what `Process.open` takes
    ) -> Any:  # noqa: ANN401 - a LocalHandle or a BlockingHandle
        """Open a device file; arguments and errors are those of `Process.open`."""
        file = self._open_file(path, mode, **more)
        self._files.append(file)

        return file

    def take_snapshot(self, machine: str | None = None) -> bytes:
        """The machines, or one, as they are now: a file for `memhub.Snapshot`."""
        if self._snapshots is not None:
            return self._snapshots.take(machine)

        data: bytes = self._opener.take_snapshot(machine)

        return data

    def restore_snapshot(self, file: bytes, machine: str | None = None) -> list[str]:
        """Let machines be as a file has them, while files stay open; the machines' names."""
        if self._snapshots is not None:
            return self._snapshots.restore(file, machine)

        return list(self._opener.restore_snapshot(file, machine))

    def reset(self, machine: str | None = None) -> list[str]:
        """Let the machines, or one, be as they were at their start; their names."""
        if self._snapshots is not None:
            return self._snapshots.reset(machine)

        return list(self._opener.reset(machine))

    def add_fault(self, rule: FaultRule | Sickness) -> dict[str, Any]:
        """Add a fault rule or a sickness; what the hub has of it."""
        return dict((self._faults.add if self._faults else self._opener.add_fault)(rule))

    def remove_fault(self, name: str) -> dict[str, Any]:
        """End a fault rule or a sickness; what the hub had of it, with its counts."""
        return dict((self._faults.remove if self._faults else self._opener.remove_fault)(name))

    def list_faults(self) -> list[dict[str, Any]]:
        """The fault rules and sicknesses, with their counts."""
        return list((self._faults.list if self._faults else self._opener.list_faults)())

    @property
    def hardware(self) -> BlockingHardware | HubHardware:
        """Suspend, resume, re-initialisation and check of the hub's machines."""
        return self._hardware or self._opener.hardware

    def crash(self) -> None:
        """End as a process does that is killed: no file is closed, and its claims end."""
        if hasattr(self._opener, "principal"):  # a process of the embedded hub
            self._opener.close("disconnect")
        else:
            self._opener.close()

        self._files.clear()

    def close(self) -> None:
        """Close every file in order. Closing twice does nothing, nor does a service's end."""
        while self._files:
            with suppress(ConnectionError):
                self._files.pop().close()

        self._opener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            self._on_error(error)

        self.close()


@final
class Clients:
    """Makes the processes of a rig: `memhub_client("Xorg")`.

    Args:
        hub: the embedded hub, or None.
        address: of the service, where there is no hub.
        awaiting: whether a call makes a client that awaits; it blocks otherwise.
        sleep: lets seconds of the hub's clock pass, for clients that block.
        on_error: told of an error that leaves the block of a client, before the client ends.
    """

    def __init__(
        self,
        hub: Hub | None,
        address: str,
        *,
        awaiting: bool,
        sleep: Sleep = time.sleep,
        on_error: OnError = _ignore_error,
    ) -> None:
        self._hub = hub
        self._address = address
        self._awaiting = awaiting
        self._on_error = on_error
        self._lock = RLock()
        self._time = None if hub is None else PassingTime(hub.engine, self._lock, sleep)
        self._made: list[BlockingRigClient] = []

    def __call__(self, name: str = "client") -> Any:  # noqa: ANN401 - by the kind of test
        """A process of this name: an AsyncClient in an async test, else a BlockingRigClient."""
        return self.awaiting(name) if self._awaiting else self.blocking(name)

    def awaiting(self, name: str = "client") -> AsyncClient:
        """A process that awaits."""
        return AsyncClient(_take_name(name), self._hub, self._address, self._on_error)

    def blocking(self, name: str = "client") -> BlockingRigClient:
        """A process that blocks."""
        _take_name(name)
        if self._hub is None:
            from memhub.service.blocking import BlockingClient

            remote = BlockingClient(self._address, label=name)
            made = BlockingRigClient(name, remote, remote.open, self._on_error)
        else:
            process = self._hub.process(name)
            open_file = partial(self._open_local, process)
            snapshots = LocalSnapshots(self._hub.engine, self._lock)
            faults = HubFaults(self._hub, self._lock)
            hardware = HubHardware(self._hub, self._lock)
            parts = (snapshots, faults, hardware)
            made = BlockingRigClient(name, process, open_file, self._on_error, *parts)

        self._made.append(made)

        return made

    def _open_local(self, process: Process, path: str, mode: str, **more: Any) -> LocalHandle:  # noqa: ANN401
        assert self._hub is not None
        assert self._time is not None
        try:
            with self._lock:
                handle = process.open_nowait(path, mode, **more)
        except Delayed as late:  # by a fault rule
            self._time.sleep_for(late)
            with self._lock, late.passing():
                handle = process.open_nowait(path, mode, **more)

        return LocalHandle(self._hub.engine, handle, self._lock, self._time)

    def close(self) -> None:
        """Close the clients that block."""
        for client in self._made:
            client.close()
