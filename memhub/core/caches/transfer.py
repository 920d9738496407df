"""`read` and `write` of device files where memory is not coherent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.core.caches.cpu import load_bytes, store_bytes
from memhub.core.caches.stretches import UC, stretches_of
from memhub.core.caches.telling import tell_hazard
from memhub.core.caches.work import Work
from memhub.core.files import Principal
from memhub.core.instant import make_tuple
from memhub.core.memory.pieces import Piece, protected
from memhub.core.memory.steps import Progress, fetch, run_steps
from memhub.core.memory.transfer import IOSIZE_MAX, Transfer, check_transfer
from memhub.errors import BadAddress, DeviceError

if TYPE_CHECKING:
    from collections.abc import Generator, Hashable, Iterable

    from memhub.abi import Buffer as Bytes
    from memhub.core.caches.change import CacheChange
    from memhub.core.caches.state import Caches
    from memhub.core.kernel import TransferRules
    from memhub.core.memory.kmem import KernelMemory
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.memory.physmap import Segment, Window
    from memhub.core.memory.pieces import Buffers, DeviceName, Protection, WritePlan
    from memhub.core.memory.steps import MmioStep
    from memhub.core.spec import WpWrites


class CachedTransfer(Transfer):
    """Reads and writes of one machine whose memory is not coherent.

    `plan_load` and `plan_store` say what a transfer does to caches, for `Caches.apply`. A transfer
    in which a device model takes part (`reading`, `writing`), and `store`, act at once.

    Args:
        memory: the physical memory, which is what the bus sees.
        kernel: the kernel's address space over it.
        rules: how the kernel decides.
        wp_writes: what a write to write-protected memory does.
        caches: what CPUs see.
    """

    __slots__ = ("caches",)

    def __init__(
        self,
        memory: PhysicalMemory,
        kernel: KernelMemory,
        rules: TransferRules,
        wp_writes: WpWrites,
        caches: Caches,
    ) -> None:
        super().__init__(memory, kernel, rules, wp_writes)
        self.caches = caches

    def read(
        self,
        device: DeviceName,
        offset: int,
        length: int,
        process: Hashable = None,
        buffers: Buffers | None = None,
    ) -> bytes:
        """What a read gets; it leaves caches as they are. See `Transfer.read`."""
        work = Work(self.caches, recorded=False)

        return run_steps(self._load_steps(work, device, offset, length, _who(process), buffers))

    def plan_load(
        self, device: DeviceName, offset: int, length: int, who: Principal, *, recorded: bool
    ) -> tuple[bytes, CacheChange | None]:
        """What a read gets, and what it changes; arguments and errors are those of `read`.

        `recorded` says whether the change may be taken back.
        """
        work = Work(self.caches, recorded=recorded)
        address, reach = -1, self._reach
        if 0 < length <= IOSIZE_MAX and not self._memory.windows:
            if device == "kmem":
                address = self._kernel.physical(offset, length)
            elif reach.plain_from <= offset and offset + length <= reach.plain_end:
                address = offset

        if address >= 0:
            data = load_bytes(work, who, address, length)
        else:
            data = run_steps(self._load_steps(work, device, offset, length, who, None))

        return data, work.finish()

    def _load_steps(
        self,
        work: Work,
        device: DeviceName,
        offset: int,
        length: int,
        who: Principal,
        buffers: Buffers | None,
    ) -> Generator[MmioStep, bytes, bytes]:
        if not check_transfer(offset, length):
            return b""

        view, progress = _PlanningView(work, who), Progress()
        parts: list[bytes] = []
        try:
            for piece in self.pieces.reading(device, offset, buffers or ((0, length),), who.id):
                yield from fetch(view, piece, parts, progress)  # type: ignore[arg-type]

        except DeviceError as error:
            self._end_short(error, progress)

        return parts[0] if len(parts) == 1 else b"".join(parts)

    def plan_store(
        self,
        device: DeviceName,
        offset: int,
        data: Bytes,
        who: Principal,
        plan: WritePlan,
        protection: Protection | None,
        *,
        recorded: bool,
    ) -> CacheChange | None:
        """What a write changes in caches and on the bus.

        Args:
            device: `mem` or `kmem`.
            offset: first byte.
            data: the bytes.
            who: who writes.
            plan: from `plan_write`.
            protection: where memory is write-protected; None where it is nowhere.
            recorded: whether the change may be taken back.
        """
        work = Work(self.caches, recorded=recorded)
        done = 0
        for piece in plan.pieces:
            part = data if piece.length == len(data) else data[done : done + piece.length]
            done += piece.length
            if piece.dropped:
                what = "wrote, and the bytes were dropped"
                tell_hazard(
                    work, "protected-write", piece.address, piece.length, who, work.record, what
                )
            elif piece.own is None:
                store_bytes(work, who, piece.address, part)

        if protection is not None and plan.moved < len(data):
            left = len(data) - plan.moved
            self._tell_fault(work, device, offset + plan.moved, left, who, protection)

        return work.finish()

    def _tell_fault(
        self,
        work: Work,
        device: DeviceName,
        offset: int,
        length: int,
        who: Principal,
        protection: Protection,
    ) -> None:
        try:
            at = self.first_piece(device, offset, length)
        except DeviceError:
            return  # it ended for another reason

        stretch = protected(protection, at.address, at.address + at.length)
        if at.own is None and stretch is not None and stretch[0] == at.address:
            what = "wrote, and was refused with EFAULT"
            size = stretch[1] - at.address
            tell_hazard(work, "protected-write", at.address, size, who, work.record, what)

    def moved_pieces(self, pieces: Iterable[Piece]) -> tuple[Piece, ...]:
        """The pieces whose bytes are still to be stored, once a change has those of memory."""
        return tuple(
            [
                it if it.own is not None else make_tuple(Piece, (it.address, it.length, None, True))
                for it in pieces
            ]
        )

    def view_of(self, process: Hashable) -> PhysicalMemory:
        """What the steps of a transfer of a process move bytes through; it acts at once."""
        view: PhysicalMemory = _ActingView(self.caches, _who(process))  # type: ignore[assignment]

        return view


class _View:
    """What `fetch` and `store` need of a memory."""

    __slots__ = ("_memory", "_who")

    def __init__(self, memory: PhysicalMemory, who: Principal) -> None:
        self._memory = memory
        self._who = who

    @property
    def windows(self) -> tuple[Window, ...]:
        return self._memory.windows

    def segment(self, address: int) -> Segment:
        return self._memory.segment(address)


class _PlanningView(_View):
    """Reads as a process does, and plans what that changes."""

    __slots__ = ("_work",)

    def __init__(self, work: Work, who: Principal) -> None:
        super().__init__(work.caches.memory, who)
        self._work = work

    def read(self, address: int, length: int) -> bytes:
        check_inside(self._memory, address, length)

        return load_bytes(self._work, self._who, address, length)


class _ActingView(_View):
    """Reads and writes as a process does, at once."""

    __slots__ = ("_caches",)

    def __init__(self, caches: Caches, who: Principal) -> None:
        super().__init__(caches.memory, who)
        self._caches = caches

    def segment(self, address: int) -> Segment:
        found = self._memory.segment(address)
        if found.window is not None:  # which is accessed next
            work = Work(self._caches, recorded=False)
            _, _, code = stretches_of(work, address, address + 1)[0]
            if code == UC:
                work.drain_buffers(self._who.id, "uncached")
                self._act(work)

        return found

    def read(self, address: int, length: int) -> bytes:
        check_inside(self._memory, address, length)
        work = Work(self._caches, recorded=False)
        data = load_bytes(work, self._who, address, length)
        self._act(work)

        return data

    def write(self, address: int, data: Bytes) -> int:
        check_inside(self._memory, address, len(data))
        work = Work(self._caches, recorded=False)
        store_bytes(work, self._who, address, data)
        self._act(work)

        return len(data)

    def _act(self, work: Work) -> None:
        change = work.finish()
        if change is not None:
            self._caches.apply(change)


def check_inside(memory: PhysicalMemory, address: int, length: int) -> None:
    """Refuse a span that is not all in the address space.

    Raises:
        BadAddress: EFAULT; part of it lies outside.
    """
    if memory.files.closed:
        memory.files.check()

    if address < 0 or address + length > memory.top:
        raise BadAddress(
            f"{address:#x}/{length:#x} is not inside the physical address space of "
            f"{memory.phys_bits} bits"
        )


def _who(process: Hashable) -> Principal:
    if isinstance(process, Principal):
        return process

    number = process if isinstance(process, int) else 0

    return Principal(number, f"process-{number}")
