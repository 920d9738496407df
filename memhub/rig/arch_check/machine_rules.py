"""A sequence of requests through the engine, as clients make them, compared with the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import MEMRANGE_SET_REMOVE, MEMRANGE_SET_UPDATE
from memhub.clock import ManualClock
from memhub.core.files import Principal
from memhub.core.machine import Machine
from memhub.core.requests import Close, GetRanges, Open, SetRange
from memhub.core.spec import MachineSpec
from memhub.engine.engine import Engine
from memhub.engine.lifecycle import open_file
from memhub.errors import DeviceError
from memhub.faces.freebsd import EVERY_SLOT, decode_ioctl, encode_get
from memhub.rig.arch_check.arch_rules import check_copies
from memhub.rig.arch_check.asking import Request, ask_driver
from memhub.rig.arch_check.finding import Fault
from memhub.rig.arch_check.ground import MACHINE_NAME, Ground

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.abi import RangeDesc


def check_machine(ground: Ground, requests: Sequence[Request]) -> Iterator[Fault]:
    """Make the requests on a machine of an engine, read the table after each, and undo all."""
    spec = MachineSpec(
        name=MACHINE_NAME,
        arch=ground.arch.name,
        cpu=ground.cpu,
        options=dict(ground.options),
        msrs=dict(ground.msrs),
        commit_latency=0.0,
    )
    machine = Machine.make(spec, ground.arch)
    if machine.table is None or not machine.table.state.slots:
        return

    machine.table.driver.mark = ground.mark
    try:
        bench = _Bench(ground, machine)
        for request in requests:
            yield from bench.take(request)

        yield from check_copies(ground.arch, machine, machine.table.driver)
        yield from bench.undo()
    finally:
        machine.close()


class _Bench:
    def __init__(self, ground: Ground, machine: Machine) -> None:
        self._ground, self._machine = ground, machine
        self._driver = ground.new_driver()
        self._model = ground.arch.model
        self._engine = Engine({MACHINE_NAME: machine}, MACHINE_NAME, ManualClock(), None)
        self._handle = open_file(self._engine, Open(Principal(1, "check"), "/dev/mem", undo=True))
        self._looker = open_file(self._engine, Open(Principal(2, "look"), "/dev/mem"))
        assert machine.table is not None
        self._first = machine.table.state
        self._state = self._first

    def take(self, request: Request) -> Iterator[Fault]:
        """Make a request and compare the table that MEMRANGE_GET shows."""
        due = ask_driver(self._ground, self._driver, self._state, request)
        arg = MEMRANGE_SET_REMOVE if request.op == "remove" else MEMRANGE_SET_UPDATE
        granted = True
        try:
            self._engine.submit(SetRange(self._handle, arg, request.desc))
        except DeviceError:
            granted = False

        if due.fault is None and granted != (due.plan is not None):
            words = f"{request}: the driver alone answers ({due.in_words()}), a machine does not"
            yield Fault("get-differs", request.op, words)
            return

        if due.plan is not None:
            self._state = due.plan.after

        shown = self._read_table(self._handle)
        if shown != self._state.slots:
            slot = next(
                (it for it, row in enumerate(self._state.slots) if shown[it : it + 1] != (row,)), 0
            )
            words = f"{request}: MEMRANGE_GET shows {shown[slot : slot + 1]} in slot {slot}"
            yield Fault("get-differs", request.op, f"{words}, not {self._state.slots[slot]}")

    def undo(self) -> Iterator[Fault]:
        """Close the file, and see whether all is as it was before."""
        settled = self._first.settled
        self._engine.submit(Close(self._handle))
        shown = self._read_table(self._looker)
        if settled and shown != self._first.slots:
            slot = next(it for it, row in enumerate(self._first.slots) if shown[it] != row)
            words = f"slot {slot} holds {shown[slot]}; before, it held {self._first.slots[slot]}"
            yield Fault("undo-leaves", "restore", f"after the file was closed, {words}")

    def _read_table(self, handle: int) -> tuple[RangeDesc, ...]:
        op = self._model.op.pack(0, EVERY_SLOT, 0)
        request = decode_ioctl(self._model, handle, self._model.get, op, b"", None)
        assert isinstance(request, GetRanges)
        reply = encode_get(self._model, op, self._engine.submit(request))

        return self._model.unpack_table(reply.descs)
