"""Replay what a kernel's read, write and lseek answered.

One process opens, reads, writes and seeks through the same requests as any client. Calls with
several buffers, which have no request of their own, go to the machine's transfer rules directly.

A step that memhub cannot be asked is not judged: it is counted by its reason, and what it left
(memory, the descriptor's offset) is taken over from the trace, so that later steps start right.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from memhub.abi import PAGE_SIZE, U64_MAX
from memhub.clock import ManualClock
from memhub.core.deciding.transfers import check_request
from memhub.core.drivers.driver import Cpu
from memhub.core.files import Principal
from memhub.core.machine import Machine
from memhub.core.requests import Open, Read, Seek, Write
from memhub.core.spec import KernelEntry, KernelMapping, MachineSpec, Region
from memhub.engine.engine import Engine
from memhub.engine.lifecycle import close_file, open_file
from memhub.errors import DeviceError, InvalidArgument
from memhub.rig.patterns import page_at, written
from memhub.rig.transfer_traces import CloseStep, MapStep, MoveStep, OpenStep, SeekStep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.core.drivers.driver import Arch
    from memhub.core.files import OpenFile
    from memhub.core.kernel import KernelLayout
    from memhub.rig.outcome import Replay
    from memhub.rig.transfer_traces import Step, TransferTrace

#: Notes of steps that are not judged, and why.
_UNJUDGED: Final = (
    ("ufault", "user fault"),
    ("ulimit", "user fault"),
    ("beyond", "beyond the CPU's address width"),
    ("vtopde_outside", "page tables outside the kernel's"),
)
#: The data of a longer write is not made before it is known how much of it moves.
_LONG: Final = 1 << 20
_BUFFERS_MAX: Final = 1024
_MODES: Final = {"r": "r", "w": "w", "rw": "r+", "none": "none"}


def replay_transfers(trace: TransferTrace, arch: Arch, done: Replay) -> None:
    """Replay one scenario; see the module."""
    bench = TransferBench(trace, arch, done)
    try:
        bench.run(trace)
    finally:
        bench.close()


def spec_of(trace: TransferTrace, arch: Arch) -> MachineSpec:
    """The machine of a scenario."""
    layout = arch.kernel_of(trace.options).layout

    return MachineSpec(
        name="trace",
        arch=arch.name,
        cpu=Cpu(phys_bits=trace.phys_bits),
        options=trace.options,
        memory=tuple(Region(base=base, length=length) for base, length in trace.ram),
        kmem=tuple(_make_mappings(trace, layout.space_end)),
        kmem_entries=tuple(
            KernelEntry(
                virtual=start,
                length=min(end, layout.space_end) - start,
                readable="r" in prot,
                writable="w" in prot,
            )
            for start, end, prot in trace.entries
        ),
        kernel=_layout_of(trace, layout),
    )


def _make_mappings(trace: TransferTrace, space_end: int) -> Iterator[KernelMapping]:
    """The pages; those past the CPU's addresses cannot be reached and are left out."""
    for virtual, physical, count, prot in trace.pages:
        length = min(count * PAGE_SIZE, (1 << trace.phys_bits) - physical, space_end - virtual)
        if length > 0:
            yield KernelMapping(
                virtual=virtual, physical=physical, length=length, writable="w" in prot
            )


def _layout_of(trace: TransferTrace, layout: KernelLayout) -> KernelLayout:
    params = trace.params
    direct_map = None if params.get("direct_map") == 0 else layout.direct_map

    return replace(
        layout,
        direct_map=direct_map,
        uarea_end=None,
        map_max=params.get("kmap_max", layout.map_max),
        direct_start=params.get("dmap_base", layout.direct_start),
        direct_limit=params.get("dmap_limit", layout.direct_limit),
    )


class TransferBench:
    """One machine and one process, and the descriptors that it has open."""

    def __init__(self, trace: TransferTrace, arch: Arch, done: Replay) -> None:
        self._done = done
        self._machine = Machine.make(spec_of(trace, arch), arch)
        self._engine = Engine({"trace": self._machine}, "trace", ManualClock(), None)
        self._handles: dict[int, int] = {}

    def run(self, trace: TransferTrace) -> None:
        """Fill the memory, take every step, and compare the memory."""
        memory = self._machine.memory
        for number in trace.touched:
            memory.write(number * PAGE_SIZE, page_at(number))

        for number, step in enumerate(trace.steps):
            self._take_step(number, step)

        last = len(trace.steps) - 1
        for page in trace.touched:
            found = zlib.crc32(memory.read(page * PAGE_SIZE, PAGE_SIZE))
            expected = trace.changed.get(page)
            if expected is None:
                expected = zlib.crc32(page_at(page))

            self._done.differ(last, f"memory at {page * PAGE_SIZE:#x}", expected, found)

    def close(self) -> None:
        """Give the memory back."""
        self._machine.close()

    def _take_step(self, number: int, step: Step) -> None:
        if isinstance(step, MapStep):
            self._done.skip("mmap")
            return

        if isinstance(step, MoveStep):
            for note, reason in _UNJUDGED:
                if note in step.notes:
                    self._done.skip(reason)
                    self._adopt_step(step, step.moved)
                    return

        self._done.steps += 1
        if isinstance(step, OpenStep):
            self._replay_open(number, step)
        elif isinstance(step, SeekStep):
            self._replay_seek(number, step)
        elif isinstance(step, MoveStep):
            self._replay_move(number, step)
        else:
            self._replay_close(step)

    def _replay_open(self, number: int, step: OpenStep) -> None:
        machine = self._machine
        machine.spec = replace(machine.spec, securelevel=step.securelevel)
        process = Principal(1, "replay", privileged=step.root)
        errno: str | int = 0
        try:
            handle = open_file(
                self._engine, Open(process, f"/dev/{step.device}", _MODES[step.mode])
            )
            self._handles[step.fd] = handle
        except DeviceError as error:
            errno = error.code.name

        self._done.differ(number, "errno", step.errno, errno)

    def _replay_close(self, step: CloseStep) -> None:
        handle = self._handles.pop(step.fd, None)
        if handle is not None:
            close_file(self._engine, handle)

    def _find_file(self, fd: int) -> OpenFile | None:
        handle = self._handles.get(fd)

        return None if handle is None else self._engine.files.file(handle)

    def _replay_seek(self, number: int, step: SeekStep) -> None:
        file, returned = self._find_file(step.fd), -1
        errno: str | int = "EBADF"
        if file is not None:
            try:
                found = self._engine.submit(Seek(self._handles[step.fd], step.to, step.whence))
                errno, returned = 0, found - (1 << 64) if found >> 63 else found
            except DeviceError as error:
                errno = error.code.name

        self._done.differ(number, "errno", step.errno, errno)
        self._done.differ(number, "return value", step.returned, returned)
        if file is not None:
            self._done.differ(number, "offset", step.at, file.offset)

    def _replay_move(self, number: int, step: MoveStep) -> None:
        done, file = self._done, self._find_file(step.fd)
        expected = "EFAULT" if step.errno is None else step.errno
        data: bytes | None = None
        errno: str | int = 0
        try:
            moved, data = self._make_call(step, file)
        except DeviceError as error:
            errno, moved = error.code.name, error.moved

        done.differ(number, "errno", expected, errno)
        done.differ(number, "bytes moved", step.moved, moved)
        if errno == 0 and step.errno is not None:
            done.differ(number, "return value", step.returned, moved)

        if data is not None and step.crc is not None:
            done.differ(number, "bytes read", step.crc, zlib.crc32(data))

        if file is not None and step.errno is not None:
            done.differ(number, "offset", step.at, file.offset)

        if step.stray:
            self._adopt_stray(step)

    def _make_call(self, step: MoveStep, file: OpenFile | None) -> tuple[int, bytes | None]:
        """Make the call; how many bytes moved, and those that were read.

        Raises:
            DeviceError: what it is refused with.
        """
        if file is None:
            return self._without_file(step)

        length, user_pages = step.length, self._machine.transfer.rules.user_pages
        if len(step.buffers) > 1 or user_pages or (step.writes and length > _LONG):
            return self._move_directly(step, file)

        handle = self._handles[step.fd]
        if not step.writes:
            data = self._engine.submit(Read(handle, length, step.offset))
            return len(data), data

        data = written(step.seed, length)

        return self._engine.submit(Write(handle, data, step.offset)), None

    def _without_file(self, step: MoveStep) -> tuple[int, bytes | None]:
        check_vector(step)
        check_request(self._machine.transfer.rules, None, step.length, write=step.writes)
        raise AssertionError("a descriptor that is not open passed")

    def _move_directly(self, step: MoveStep, file: OpenFile) -> tuple[int, bytes | None]:
        """Transfer without a request: several buffers, or data of which little is needed."""
        check_vector(step)
        transfer, length = self._machine.transfer, step.length
        check_request(transfer.rules, file, length, write=step.writes)
        at = file.offset if step.offset is None else step.offset
        device, moved = file.caller.device, 0
        data: bytes | None = None
        try:
            if step.writes:
                plan = transfer.plan_write(device, at, length, buffers=step.buffers)
                moved = plan.moved
                transfer.store(plan.pieces, written(step.seed, moved))
                if plan.error is not None:
                    raise plan.error
            else:
                data = transfer.read(device, at, length, buffers=step.buffers)
                moved = len(data)
        except DeviceError as error:
            moved = error.moved
            raise
        finally:
            if step.offset is None:
                file.move(moved)

        return moved, data

    def _adopt_step(self, step: MoveStep, moved: int) -> None:
        """Take over what a step that is not judged left."""
        file = self._find_file(step.fd)
        if file is not None:
            file.offset = step.at

        if step.writes:
            data, done = written(step.seed, moved), 0
            for physical, length in step.runs:
                self._store_bytes(physical, memoryview(data)[done : done + length])
                done += length

        self._adopt_stray(step)

    def _adopt_stray(self, step: MoveStep) -> None:
        """Take over the bytes that moved and were not counted; memhub moves what it counts."""
        if not step.writes:
            return

        stray = sum(length for _, length in step.stray)
        data, done = written(step.seed, step.moved + stray), step.moved
        for physical, length in step.stray:
            self._store_bytes(physical, memoryview(data)[done : done + length])
            done += length

    def _store_bytes(self, physical: int, data: memoryview) -> None:
        """Store bytes; addresses wrap at 2**64, and what is past the CPU's width is lost."""
        memory, end = self._machine.memory, U64_MAX + 1
        if physical + len(data) > end:
            self._store_bytes(0, data[end - physical :])

        inside = min(len(data), memory.top - physical)
        if inside > 0:
            memory.write(physical, data[:inside])


def check_vector(step: MoveStep) -> None:
    """Refuse what copyinuio refuses: more buffers than UIO_MAXIOV.

    Raises:
        InvalidArgument: EINVAL.
    """
    if len(step.buffers) > _BUFFERS_MAX:
        raise InvalidArgument(f"{len(step.buffers)} buffers are more than {_BUFFERS_MAX}")
