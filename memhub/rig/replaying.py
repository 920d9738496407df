"""Run a machine against recorded answers: every errno, count, descriptor and register.

A trace is replayed as a client would make its requests: one process on one machine makes ioctls in
the architecture's binary layout, and the rules of claims apply. After every step the whole table
and every register are compared, also those that should not have changed. A difference is reported
once; the replay then goes on from what was found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.clock import ManualClock
from memhub.core.deciding.hardware import decide_reinit
from memhub.core.effective.typemap import TYPE_OF_CODE
from memhub.core.files import Principal
from memhub.core.machine import Machine
from memhub.core.requests import Open, SetRange
from memhub.core.spec import MachineSpec
from memhub.engine.engine import Engine
from memhub.engine.lifecycle import open_file
from memhub.errors import DeviceError
from memhub.faces.freebsd import EVERY_SLOT, IoctlReply, decode_ioctl, encode_get
from memhub.rig.outcome import Replay
from memhub.rig.trace_steps import GetStep, IoctlStep, ResumeStep, SetStep
from memhub.rig.traces import DriverTrace, KernelTrace, MachineTrace, TraceError, TypesTrace
from memhub.rig.transfer_replay import replay_transfers
from memhub.rig.transfer_traces import TransferTrace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.drivers.driver import Arch
    from memhub.kernels import KernelBook
    from memhub.rig.trace_steps import Row
    from memhub.rig.traces import Trace

    #: Makes a machine from a text: text, address width, architecture; ValueError if it cannot.
    Importer = Callable[[str, int, str], MachineSpec]

    Raw = tuple[int, int, int, bytes]


def replay(
    trace: Trace,
    arches: Mapping[str, Arch],
    importer: Importer | None = None,
    kernels: KernelBook | None = None,
) -> Replay:
    """Replay one trace.

    Args:
        trace: the recorded answers.
        arches: the installed architectures.
        importer: makes machines of texts; a MachineTrace needs it.
        kernels: the installed kernels; a KernelTrace needs them.

    Returns:
        the steps compared, and every difference. An architecture that raises something other
        than a DeviceError is a difference too, and ends the trace.

    Raises:
        ArchNotInstalled: the trace's architecture is not installed.
        TraceError: no installed kernel is the one that was recorded.
    """
    if isinstance(trace, KernelTrace):
        return _replay_kernel(trace, kernels)

    arch = arches[trace.arch]
    done = Replay(trace.id, arch.name)
    try:
        if isinstance(trace, DriverTrace):
            done.steps = len(trace.steps)
            _Bench(_make_spec(trace), arch, done).run(trace)
        elif isinstance(trace, TransferTrace):
            replay_transfers(trace, arch, done)
        elif isinstance(trace, TypesTrace):
            done.steps = len(trace.types)
            _replay_types(done, Machine.make(_make_spec(trace), arch), trace.types, 0)
        else:
            _machine(done, trace, arch, importer)

    except Exception as error:  # noqa: BLE001 - a stranger's architecture may raise anything
        done.differ(None, "answer", "one of mem(4)'s", f"{type(error).__name__}: {error}")

    return done


def _replay_kernel(trace: KernelTrace, kernels: KernelBook | None) -> Replay:
    profile = None if kernels is None else kernels.find_recorded(trace.kernel)
    if profile is None:
        profiles = () if kernels is None else kernels.kernels.values()
        known = ", ".join([it for known in profiles for it in known.recorded]) or "none"
        raise TraceError(f"scenario {trace.id}: no kernel answers as {trace.kernel!r} ({known})")

    done = Replay(trace.id, profile.name)
    try:
        profile.replay(trace.raw, done)
    except Exception as error:  # noqa: BLE001 - a stranger's kernel, or a damaged line
        done.differ(None, "answer", "the kernel's", f"{type(error).__name__}: {error}")

    return done


def _make_spec(trace: DriverTrace | TypesTrace) -> MachineSpec:
    return MachineSpec(name="trace", arch=trace.arch, cpu=trace.cpu, msrs=trace.msrs)


class _Bench:
    """One machine, one process and one open handle, compared with the trace step by step."""

    def __init__(self, spec: MachineSpec, arch: Arch, done: Replay) -> None:
        self._done = done
        self._machine = Machine.make(spec, arch)
        self._engine = Engine({spec.name: self._machine}, spec.name, ManualClock(), None)
        self._model = arch.model
        self._handle = open_file(self._engine, Open(Principal(1, "replay"), "/dev/mem"))
        self._every = self._pack_op(EVERY_SLOT)
        self._raw: list[Raw] = []
        self._rows: list[Row] = []
        self._msrs: dict[int, int] = {}

    def run(self, trace: DriverTrace) -> None:
        done, table = self._done, self._machine.table
        done.differ(None, "supported", trace.supported, table is not None)
        self._raw = self._read_table()
        self._rows, self._msrs = list(trace.table), dict(trace.msrs)
        done.differ(None, "descriptors", len(self._rows), len(self._raw))
        self._compare_slots(None, range(min(len(self._rows), len(self._raw))))
        self._rows = [_make_row(raw) for raw in self._raw]
        self._compare_registers(None)
        for number, step in enumerate(trace.steps):
            if isinstance(step, GetStep):
                self._replay_get(number, step)
            elif isinstance(step, SetStep):
                self._replay_set(number, step)
            elif isinstance(step, IoctlStep):
                self._replay_ioctl(number, step)
            elif isinstance(step, ResumeStep):
                self._replay_resume(number, step)
            else:
                done.skip("a request that kills the kernel")

        self._machine.close()

    def _pack_op(self, argument: int) -> bytes:
        """`struct mem_range_op`; C keeps the low 32 bits of `mo_arg[0]`, as a signed int."""
        return self._model.op.pack(0, ((argument + (1 << 31)) & 0xFFFFFFFF) - (1 << 31), 0)

    def _do_ioctl(
        self, number: int, op: bytes, desc: bytes = b"", room: int | None = None
    ) -> IoctlReply:
        request = decode_ioctl(self._model, self._handle, number, op, desc, room)
        if isinstance(request, SetRange):
            self._engine.submit(request)
            return IoctlReply(op, b"")

        return encode_get(self._model, op, self._engine.submit(request))

    def _read_table(self) -> list[Raw]:
        try:
            reply = self._do_ioctl(self._model.get, self._every)
        except DeviceError:
            return []

        return list(self._model.desc.iter_unpack(reply.descs))

    def _replay_get(self, number: int, step: GetStep) -> None:
        try:
            room = 0 if step.null else None
            reply = self._do_ioctl(self._model.get, self._pack_op(step.n), room=room)
        except DeviceError as error:
            self._done.differ(number, "errno", step.errno, error.code.name)
            return

        self._done.differ(number, "errno", step.errno, 0)
        self._done.differ(number, "count", step.count, self._model.op.unpack(reply.op)[1])
        copied = list(self._model.desc.iter_unpack(reply.descs))
        due = self._raw[: step.count] if step.n > 0 else []
        self._done.differ(number, "descriptors copied", len(due), len(copied))
        self._done.differ(number, "what is copied", due, copied[: len(due)])

    def _replay_ioctl(self, number: int, step: IoctlStep) -> None:
        errno: str | int = 0
        try:
            self._do_ioctl(step.number, self._pack_op(0))
        except DeviceError as error:
            errno = error.code.name

        self._done.differ(number, "errno", step.errno, errno)

    def _replay_resume(self, number: int, step: ResumeStep) -> None:
        if self._machine.table is None:  # no driver is there that could write a register
            self._done.differ(number, "registers", step.msrs, {})
            return

        if not self._machine.table.state.slots:
            self._done.skip("a CPU that starts while ranges are off")
            return

        engine = self._engine
        engine.perform(self._machine, decide_reinit(self._machine, engine.now()))
        self._msrs.update(step.msrs)
        self._compare_registers(number)

    def _replay_set(self, number: int, step: SetStep) -> None:
        desc = self._model.desc.pack(step.base, step.length, step.flags, step.owner)
        desc = b"" if step.null else desc
        errno: str | int = 0
        try:
            self._do_ioctl(self._model.set[0], self._pack_op(step.arg), desc)
        except DeviceError as error:
            errno = error.code.name

        self._done.differ(number, "errno", step.errno, errno)
        self._compare_table(number, step)
        self._msrs.update(step.msrs)
        self._compare_registers(number)

    def _compare_table(self, number: int, step: SetStep) -> None:
        before, self._raw = self._raw, self._read_table()
        if len(self._raw) != len(before):
            self._done.differ(number, "descriptors", len(before), len(self._raw))
            self._rows = [_make_row(raw) for raw in self._raw]
            return

        suspects = {slot for slot, _ in step.changed}
        if self._raw != before:
            suspects |= {slot for slot, raw in enumerate(self._raw) if raw != before[slot]}

        for slot, row in step.changed:
            if slot < len(self._rows):
                self._rows[slot] = row
            else:
                self._done.differ(number, f"slot {slot}", row, "there is no such slot")

        self._compare_slots(number, sorted(s for s in suspects if 0 <= s < len(self._raw)))

    def _compare_slots(self, number: int | None, slots: range | list[int]) -> None:
        for slot in slots:
            found = _make_row(self._raw[slot])
            if found != self._rows[slot]:
                self._done.differ(number, f"slot {slot}", self._rows[slot], found)
                self._rows[slot] = found

    def _compare_registers(self, number: int | None) -> None:
        table = self._machine.table
        if table is None or table.state.msrs == self._msrs:
            return

        found = table.state.msrs
        for msr in sorted({*found, *self._msrs}):
            expected, value = self._msrs.get(msr, 0), found.get(msr, 0)
            self._done.differ(number, f"register {msr:#x}", expected, value)

        self._msrs = dict(found)


def _machine(done: Replay, trace: MachineTrace, arch: Arch, importer: Importer | None) -> None:
    known = trace.msrs is not None
    done.steps = 1 + known + len(trace.types)
    if importer is None:
        raise ValueError("a machine's text needs an importer")

    machine = Machine.make(importer(trace.text, trace.phys_bits, arch.name), arch)
    table = machine.table
    rows = [] if table is None else table.state.slots
    found = [(row.mr_base, row.mr_len, row.mr_flags, row.owner) for row in rows]
    done.differ(0, "descriptors", len(trace.table), len(found))
    for slot, (expected, row) in enumerate(zip(trace.table, found, strict=False)):
        done.differ(0, f"slot {slot}", expected, row)

    if trace.msrs is not None:
        msrs = machine.spec.msrs
        for msr in sorted({*msrs, *trace.msrs}):
            done.differ(1, f"register {msr:#x}", trace.msrs.get(msr, 0), msrs.get(msr, 0))

    _replay_types(done, machine, trace.types, 1 + known)


def _replay_types(
    done: Replay, machine: Machine, types: tuple[tuple[int, str], ...], first: int
) -> None:
    """Compare the types one by one and as an array; both must agree with the trace."""
    table = machine.table
    if table is None:
        done.differ(None, "supported", True, False)
        return

    codes = table.types.of([address for address, _ in types])
    for number, (address, expected) in enumerate(types, first):
        alone, together = table.types.at(address), TYPE_OF_CODE[codes[number - first]]
        done.differ(number, f"type of {address:#x}", expected, alone)
        if together != alone:
            done.differ(number, f"type of {address:#x} in an array", expected, together)

    machine.close()


def _make_row(raw: Raw) -> Row:
    base, length, flags, owner = raw

    return base, length, flags, owner.split(b"\0", 1)[0].decode("latin-1")
