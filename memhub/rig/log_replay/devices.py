"""The declared devices of a replay's machines: made anew by their kinds, and asked again.

A log names a machine's devices and their options. It has no bytes, so that a replay writes zeros to
their registers: what a model refuses for what was written is not compared.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from memhub.audit.rows import machine_of
from memhub.clock import SystemClock
from memhub.core.machine import Machine
from memhub.core.memory.placed import DeviceRefused
from memhub.core.requests import Read
from memhub.device_kinds import load_device_kinds, place_devices
from memhub.devices.device_transfers import read_devices, write_devices
from memhub.errors import DeviceError
from memhub.rig.log_replay.unplayable import Unplayable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyio.from_thread import BlockingPortal

    from memhub.core.drivers.driver import Arch
    from memhub.core.memory.placed import PlacedDevice
    from memhub.core.requests import Write
    from memhub.core.spec import MachineSpec
    from memhub.device_kinds import DeviceBook
    from memhub.engine.engine import Engine

    Row = Mapping[str, Any]

_REFUSED = "a device refuses it, which may depend on bytes that a log does not have"


class MachinesAgain:
    """Makes the machines that a log describes, with their devices.

    Args:
        arches: architectures by name.
        book: the kinds of devices; None loads those that are installed, when one is needed.

    Attributes:
        notes: what machines lack that they had, in words.
    """

    def __init__(self, arches: Mapping[str, Arch], book: DeviceBook | None = None) -> None:
        self.notes: list[str] = []
        self._arches = arches
        self._book = book

    def make(self, row: Row) -> Machine:
        """The machine that a `device.attach` record starts."""
        bare = machine_of(row, self._arches)
        spec, devices = self._place(bare.spec)
        if not devices:
            return bare

        machine = Machine.make(spec, bare.arch, devices)
        if machine.table is not None and bare.table is not None:
            machine.table.start_as(bare.table.state, bare.table.generation)

        bare.close()

        return machine

    def _place(self, spec: MachineSpec) -> tuple[MachineSpec, tuple[PlacedDevice, ...]]:
        """A machine's devices; those that cannot be made are left out, and noted."""
        if not spec.devices:
            return spec, ()

        if self._book is None:
            self._book = load_device_kinds()

        known = []
        for it in spec.devices:
            try:
                place_devices(replace(spec, devices=(it,)), self._book)
            except DeviceRefused as error:
                self._note(f"{spec.name}: {error}; what lies there answers as without it")
            else:
                known.append(it)

        if not known:
            return spec, ()

        return place_devices(replace(spec, devices=tuple(known)), self._book)

    def _note(self, words: str) -> None:
        if words not in self.notes:
            self.notes.append(words)


class DevicePort:
    """Awaits device models, in an event loop on a thread of its own; use it in `with`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> DevicePort:
        return self

    def __exit__(self, *_: object) -> None:
        self._portal = None
        self._stack.close()

    def move(self, engine: Engine, request: Read | Write, row: Row) -> None:
        """Put a transfer that reaches a device.

        Args:
            engine: the machine.
            request: the transfer.
            row: its record.

        Raises:
            Unplayable: the model refuses it, then or now.
        """
        if self._portal is None:
            from anyio.from_thread import start_blocking_portal

            self._portal = self._stack.enter_context(start_blocking_portal())

        clock = SystemClock()  # a model that hangs has its limit in real time
        handle, at = request.handle, request.offset
        moving: Any
        if isinstance(request, Read):
            moving = partial(read_devices, engine, handle, request.length, at, clock=clock)
        else:
            moving = partial(write_devices, engine, handle, request.data, at, clock=clock)

        try:
            self._portal.call(moving)
        except DeviceError as error:
            if isinstance(error.__cause__, DeviceError):
                raise Unplayable(_REFUSED) from None
        else:
            if row["errno"] is not None and " refused " in row["reason"]:
                raise Unplayable(_REFUSED)
