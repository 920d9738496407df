"""Moving one piece of a transfer: memory at once, device windows in steps that a caller takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from memhub.abi import PAGE_SIZE
from memhub.core.memory.physical import NeedsDevice
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.memory.physmap import MmioDevice, Segment, Window
    from memhub.core.memory.pieces import Piece

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class MmioStep:
    """One access that a device has to answer: at most a page, never over a page border.

    Attributes:
        window: the device window.
        offset: bytes from the start of the window.
        size: bytes.
        data: what to write, or None for a read, whose answer is sent into the generator.
    """

    window: Window
    offset: int
    size: int
    data: bytes | None = None

    @property
    def device(self) -> MmioDevice:
        """The device model that answers."""
        return self.window.device


class Progress:
    """How far a transfer has come.

    Attributes:
        moved: bytes so far.
    """

    __slots__ = ("moved",)

    def __init__(self) -> None:
        self.moved = 0


def _cut_piece(memory: PhysicalMemory, piece: Piece) -> Iterator[tuple[Segment | None, int, int]]:
    """Cut a piece at device windows, and inside them at pages: segment, address, size.

    The map is looked up anew for every cut: it may change while a device is waited for.
    """
    cursor, end = piece.address, piece.address + piece.length
    if not memory.windows:
        yield None, cursor, piece.length
        return

    while cursor < end:
        segment = memory.segment(cursor)
        size = min(end, segment.end) - cursor
        if segment.window:
            size = min(size, PAGE_SIZE - cursor % PAGE_SIZE)

        yield segment, cursor, size
        cursor += size


def fetch(
    memory: PhysicalMemory, piece: Piece, parts: list[bytes], progress: Progress
) -> Generator[MmioStep, bytes, None]:
    """Read one piece: append its bytes to `parts`, yield what a device has to answer.

    Raises:
        DeviceError: a device answered another number of bytes than asked (EIO).
    """
    if piece.own is not None:
        parts.append(bytes(memoryview(piece.own)[piece.address : piece.address + piece.length]))
        progress.moved += piece.length
        return

    for segment, address, size in _cut_piece(memory, piece):
        if segment and segment.window:
            place = address - segment.window.base
            answer = yield MmioStep(segment.window, place, size)
            parts.append(_check_answer(answer, size, segment))
        else:
            parts.append(memory.read(address, size))

        progress.moved += size


def store(
    memory: PhysicalMemory, piece: Piece, view: memoryview, progress: Progress
) -> Generator[MmioStep, bytes | None, None]:
    """Write one piece from where `progress` stands in `view`, yield what a device has to take."""
    if piece.dropped:
        progress.moved += piece.length
        return

    if piece.own is not None:
        part = view[progress.moved : progress.moved + piece.length]
        piece.own[piece.address : piece.address + piece.length] = part
        progress.moved += piece.length
        return

    for segment, address, size in _cut_piece(memory, piece):
        part = view[progress.moved : progress.moved + size]
        if segment and segment.window:
            place = address - segment.window.base
            yield MmioStep(segment.window, place, size, bytes(part))
        else:
            memory.write(address, part)

        progress.moved += size


def _check_answer(answer: bytes, size: int, segment: Segment) -> bytes:
    if len(answer) != size:
        raise DeviceError(
            f"the device at {segment.base:#x} answered {len(answer)} bytes where {size} were asked"
        )

    return answer


def run_steps(steps: Generator[MmioStep, Any, _T]) -> _T:
    """Take steps to their end where no device is involved."""
    try:
        step = next(steps)
    except StopIteration as end:
        return cast("_T", end.value)

    steps.close()
    raise NeedsDevice(step.window)
