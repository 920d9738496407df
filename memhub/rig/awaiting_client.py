"""The processes of a rig that await, embedded or over a service."""

from __future__ import annotations

from contextlib import AsyncExitStack
from threading import RLock
from typing import TYPE_CHECKING, Any, Self, final

import anyio
from anyio.lowlevel import checkpoint

from memhub.rig.hub_faults import HubFaults
from memhub.rig.hub_hardware import AwaitedHardware
from memhub.service.local.snapshots import LocalSnapshots

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.health.sickness import Sickness
    from memhub.handles.device_file import AsyncDeviceFile
    from memhub.handles.process import Process
    from memhub.hub.hub import Hub
    from memhub.service.client import RemoteHub
    from memhub.service.client.hardware import RemoteHardware

    OnError = Callable[[BaseException], None]


@final
class AsyncClient:
    """A process that awaits; made by `Clients`, used in `async with`."""

    def __init__(self, name: str, hub: Hub | None, address: str, on_error: OnError) -> None:
        self.name = name
        self._on_error = on_error
        self._hub = hub
        self._address = address
        self._stack = AsyncExitStack()
        self._process: Process | None = None
        self._remote: RemoteHub | None = None
        self._files: list[AsyncDeviceFile] = []

    async def open(
        self,
        path: str = "/dev/mem",
        mode: str = "r+",
        **more: Any,  # noqa: ANN401 - what `Process.open` takes
    ) -> AsyncDeviceFile:
        """Open a device file; arguments and errors are those of `Process.open`.

        Raises:
            RuntimeError: the client is not in use.
        """
        opener = self._process or self._remote
        if opener is None:
            raise RuntimeError(f"client {self.name!r} is not in use: open it in `async with`")

        file: AsyncDeviceFile = await opener.open(path, mode, **more)
        self._files.append(file)

        return file

    async def take_snapshot(self, machine: str | None = None) -> bytes:
        """The machines, or one, as they are now: a file for `memhub.Snapshot`."""
        if self._remote is not None:
            return await self._remote.take_snapshot(machine)

        await checkpoint()

        return self._local().take(machine)

    async def restore_snapshot(self, file: bytes, machine: str | None = None) -> list[str]:
        """Let machines be as a file has them, while files stay open; the machines' names."""
        if self._remote is not None:
            return await self._remote.restore_snapshot(file, machine)

        await checkpoint()

        return self._local().restore(file, machine)

    async def reset(self, machine: str | None = None) -> list[str]:
        """Let the machines, or one, be as they were at their start; their names."""
        if self._remote is not None:
            return await self._remote.reset(machine)

        await checkpoint()

        return self._local().reset(machine)

    async def add_fault(self, rule: FaultRule | Sickness) -> dict[str, Any]:
        """Add a fault rule or a sickness; what the hub has of it."""
        if self._remote is not None:
            return await self._remote.add_fault(rule)

        return HubFaults(self._hub_in_use(), RLock()).add(rule)

    async def remove_fault(self, name: str) -> dict[str, Any]:
        """End a fault rule or a sickness; what the hub had of it, with its counts."""
        if self._remote is not None:
            return await self._remote.remove_fault(name)

        return HubFaults(self._hub_in_use(), RLock()).remove(name)

    async def list_faults(self) -> list[dict[str, Any]]:
        """The fault rules and sicknesses, with their counts."""
        if self._remote is not None:
            return await self._remote.list_faults()

        return HubFaults(self._hub_in_use(), RLock()).list()

    @property
    def hardware(self) -> RemoteHardware | AwaitedHardware:
        """Suspend, resume, re-initialisation and check of the hub's machines."""
        if self._remote is not None:
            return self._remote.hardware

        return AwaitedHardware(self._hub_in_use())

    def _local(self) -> LocalSnapshots:
        return LocalSnapshots(self._hub_in_use().engine, RLock())

    def _hub_in_use(self) -> Hub:
        if self._hub is None or self._process is None:
            raise RuntimeError(f"client {self.name!r} is not in use: open it in `async with`")

        return self._hub

    async def crash(self) -> None:
        """End as a process does that is killed: no file is closed, and its claims end."""
        if self._process is not None:
            self._process.close("disconnect")
        elif self._remote is not None:
            self._remote.hang_up()

        self._process = self._remote = None
        await checkpoint()

    async def __aenter__(self) -> Self:
        if self._hub is not None:
            process = self._hub.process(self.name)
            self._process = await self._stack.enter_async_context(process)
        else:
            from memhub.service.client import connect

            service = connect(self._address, label=self.name)
            self._remote = await self._stack.enter_async_context(service)

        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, anyio.get_cancelled_exc_class()):
            self._on_error(error)

        for file in self._files if self._remote is not None else ():  # a process closes its own
            file.close()

        self._process = self._remote = None
        await self._stack.__aexit__(kind, error, trace)
