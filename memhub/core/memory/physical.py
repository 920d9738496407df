"""A machine's physical memory: sparse RAM, ROM, open bus, and windows that devices answer.

Everything here is synchronous. A span that reaches a device window cannot be read or written
here: NeedsDevice says so before a byte moves, and `memhub.core.memory.transfer` hands the
accesses to a caller that can wait for the device.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from memhub.core.memory.device_states import copy_windows, save_device
from memhub.core.memory.files import MemoryFiles
from memhub.core.memory.needs_device import NeedsDevice as NeedsDevice
from memhub.core.memory.pages import fill_pages
from memhub.core.memory.physmap import (
    Extent,
    MmioDevice,
    Segment,
    Window,
    flatten,
    overlay,
    pack,
    sorted_regions,
    with_window,
    without_window,
)
from memhub.errors import BadAddress

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterable, Iterator, Sequence

    from memhub.abi import Buffer
    from memhub.core.memory.files import Content
    from memhub.core.memory.image import MemoryImage
    from memhub.core.memory.placed import PlacedDevice
    from memhub.core.spec import Region


class PhysicalMemory:
    """The physical address space of one machine, `[0, 2**phys_bits)`.

    RAM, ACPI and NVS regions read back what was written; ROM swallows writes; addresses with
    nothing behind them (outside the memory map, reserved, unusable) read as 0xff and swallow
    writes. What the memory map does not say in the ISA hole 0xa0000-0xfffff is such open bus.

    No descriptor is taken before the first access to RAM, and no page before the first write.

    Attributes:
        phys_bits: physical address width in bits.
        top: one past the last physical address.
        ram_top: one past the last byte of usable RAM (FreeBSD's Maxmem, in bytes).
        extents: the backed memory and its place in its file, in address order.
        files: what keeps their bytes, and what may be handed out.
        windows: the device windows, in address order.

    Args:
        phys_bits: physical address width in bits.
        regions: the memory map, in any order.

    Raises:
        ValueError: a region is empty, negative, past `phys_bits`, overlaps another, or has
            content that it cannot hold.
    """

    __slots__ = (
        "_ground",
        "_read_delta",
        "_read_end",
        "_read_from",
        "_segments",
        "_source",
        "_starts",
        "_write_delta",
        "_write_end",
        "_write_from",
        "_written",
        "extents",
        "files",
        "phys_bits",
        "ram_top",
        "top",
        "windows",
    )

    _source: mmap.mmap | bytes
    _written: mmap.mmap

    def __init__(self, phys_bits: int, regions: Iterable[Region] = ()) -> None:
        ordered = sorted_regions(regions, phys_bits)
        self.phys_bits = phys_bits
        self.top = 1 << phys_bits
        self.ram_top = max((r.base + r.length for r in ordered if r.kind == "ram"), default=0)
        self.extents: tuple[Extent, ...] = pack(ordered)
        self._ground = flatten(self.extents, ordered, phys_bits)
        self.windows: tuple[Window, ...] = ()
        self.files = MemoryFiles(self.extents, self._ground)
        self._rebuild_segments()

    def read(self, address: int, length: int) -> bytes:
        """Copy `length` bytes out, which is not negative, from `address` on; all or none.

        Raises:
            BadAddress: part of the span lies outside the physical address space (EFAULT).
            NeedsDevice: a device answers part of the span.
            BadHandle: the memory is closed (EBADF).
        """
        if self._read_from <= address <= (end := address + length) <= self._read_end:
            delta = self._read_delta
            return self._source[address + delta : end + delta]

        return self._read_segments(address, length)

    def write(self, address: int, data: Buffer) -> int:
        """Copy bytes in, all or none; ROM and open bus take them and keep nothing.

        Args:
            address: first physical byte.
            data: the bytes; a memoryview of single bytes. All of them are written.

        Raises:
            BadAddress: part of the span lies outside the physical address space (EFAULT).
            NeedsDevice: a device answers part of the span.
            BadHandle: the memory is closed (EBADF).
        """
        length = len(data)
        if self._write_from <= address and (end := address + length) <= self._write_end:
            delta = self._write_delta
            self._written[address + delta : end + delta] = data  # type: ignore[assignment,unused-ignore]
            return length

        return self._write_segments(address, data)

    def segment(self, address: int) -> Segment:
        """What lies at `address`; BadAddress (EFAULT) if it is no physical address."""
        self._check_span(address, 1)

        return self._segments[bisect_right(self._starts, address) - 1]

    def segments(self, address: int, length: int) -> Iterator[Segment]:
        """The segments that a span touches, in order, not cut to it; errors are those of `read`."""
        self._check_span(address, length)
        index = bisect_right(self._starts, address) - 1
        while index < len(self._segments) and self._segments[index].base < address + length:
            yield self._segments[index]
            index += 1

    def map_mmio(
        self, base: int, length: int, device: MmioDevice, placed: PlacedDevice | None = None
    ) -> Window:
        """Let a device answer a stretch of addresses, over whatever lies there.

        Args:
            base: first physical byte.
            length: bytes.
            device: what answers; offsets count from `base`.
            placed: what was declared of it.

        Raises:
            ValueError: the window is empty, leaves the physical address space, or overlaps
                another window.
        """
        window = Window(base, length, device, save_device(device), placed)
        self.windows = with_window(self.windows, window, self.phys_bits)
        self._rebuild_segments()
        return window

    def unmap(self, window: Window) -> None:
        """Take a device window away; what it hid is back.

        Raises:
            ValueError: the window is not mapped here.
        """
        self.windows = without_window(self.windows, window)
        self._rebuild_segments()

    def fileno(self) -> int:
        """The memfd of the RAM, or -1; to hand one out, and for its errors, see `files`."""
        self._forget_hits()

        return self.files.own_file().fd

    def capture(self) -> MemoryImage:
        """What the RAM holds now; see `MemoryFiles.capture`."""
        self._forget_hits()  # the store may go on in another mapping

        return self.files.capture()

    def put(self, content: Content) -> None:
        """Let the RAM be what `MemoryFiles.plan_replace` answered."""
        self._forget_hits()
        self.files.put(content)

    def open_ram(self, *, writable: bool) -> int:
        """Hand out the RAM; see `MemoryFiles.open_ram`."""
        self._forget_hits()  # others may write from now on where nothing was written yet

        return self.files.open_ram(writable=writable)

    @property
    def touched(self) -> bool:
        """Whether a store exists, that is, whether anything reached RAM."""
        return self.files.store is not None

    def close(self) -> None:
        """Give pages and descriptors back; later accesses answer EBADF."""
        self._forget_hits()
        self.files.close()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PhysicalMemory):
            return NotImplemented

        return self.__getstate__() == other.__getstate__()

    __hash__ = None  # type: ignore[assignment]

    def fork(self) -> PhysicalMemory:
        """Another memory that holds the same; for its devices and errors see `copy_windows`."""
        twin, files = PhysicalMemory.__new__(PhysicalMemory), self.files
        twin.__setstate__((*self._layout(), copy_windows(self.windows), {}))
        if files.store is not None or files.closed:
            twin.put(twin.files.make_store(self.capture()))

        return twin

    def _layout(self) -> tuple[Any, ...]:
        return self.phys_bits, self.ram_top, self.extents, self._ground, self.files.sealed

    def __getstate__(self) -> tuple[Any, ...]:
        return (*self._layout(), self.windows, self.files.pages())

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.phys_bits, self.ram_top, self.extents, self._ground, sealed = state[:5]
        self.windows, pages = state[5:]
        self.top = 1 << self.phys_bits
        self.files = MemoryFiles(self.extents, self._ground)
        self.files.sealed = sealed
        self._rebuild_segments()
        if pages:
            fill_pages(self.files.ram(), pages)

    def _rebuild_segments(self) -> None:
        self._segments = tuple(overlay(self._ground, self.windows))
        self._starts = [segment.base for segment in self._segments]
        self._forget_hits()

    def _forget_hits(self) -> None:
        """Drop the stretches that the last read and the last write hit: nothing is in [1, 0)."""
        self._read_from = self._write_from = 1
        self._read_end = self._write_end = self._read_delta = self._write_delta = 0

    def _check_span(self, address: int, length: int) -> None:
        if self.files.closed:
            self.files.check()

        if address < 0 or length < 0 or address + length > self.top:
            raise BadAddress(
                f"{address:#x}/{length:#x} is not inside the physical address space of "
                f"{self.phys_bits} bits"
            )

    def _read_segments(self, address: int, length: int) -> bytes:
        index = bisect_right(self._starts, address) - 1
        segment = self._segments[index]
        within = index >= 0 and 0 < length <= segment.end - address
        if within and segment.delta is not None and not self.files.closed:
            return self._read_part(segment, address, address + length)

        segments = self._reachable_segments(address, length)
        if len(segments) > 1:
            return b"".join([self._read_part(s, address, address + length) for s in segments])

        return self._read_part(segments[0], address, address + length)

    def _read_part(self, segment: Segment, address: int, end: int) -> bytes:
        low, high = max(address, segment.base), min(end, segment.end)
        if segment.delta is None:
            return b"\xff" * (high - low)

        if segment.content:
            self._source = segment.content
            self._read_from, self._read_end = segment.base, segment.end
            self._read_delta = segment.delta

            return segment.content[low + segment.delta : high + segment.delta]

        store = self.files.ram()
        place = low + segment.delta
        found = store.stretch(place)
        if found is None or place + high - low > found[1]:
            return store.read(place, high - low)

        start, stop, source, shift = found
        self._source = source
        self._read_from = max(segment.base, start - segment.delta)
        self._read_end = min(segment.end, stop - segment.delta)
        self._read_delta = segment.delta + shift

        return source[place + shift : place + shift + high - low]

    def _write_segments(self, address: int, data: Buffer) -> int:
        segments = self._reachable_segments(address, len(data))
        view = memoryview(data)
        for segment in segments:
            if segment.kind == "ram" and segment.delta is not None:
                low, high = max(address, segment.base), min(address + len(data), segment.end)
                self._store_part(segment, low, view[low - address : high - address])

        return len(data)

    def _store_part(self, segment: Segment, address: int, data: Buffer) -> None:
        store, delta = self.files.ram(), segment.delta or 0
        if store.write(address + delta, data):
            self._forget_hits()

        start, stop = store.written(address + delta)
        self._written = store.map
        self._write_from = max(segment.base, start - delta)
        self._write_end = min(segment.end, stop - delta)
        self._write_delta = delta

    def _reachable_segments(self, address: int, length: int) -> Sequence[Segment]:
        """The segments of a span, at least one, none of them a device's."""
        self._check_span(address, length)
        index = bisect_right(self._starts, address) - 1
        segment = self._segments[index]
        if address + length <= segment.end:
            segments: Sequence[Segment] = (segment,)
        else:
            segments = list(self.segments(address, length))

        for segment in segments:
            if segment.window and length:
                raise NeedsDevice(segment.window)

        return segments

    def refuse_windows(self, address: int, length: int) -> None:
        """Refuse a span that a device answers part of.

        Raises:
            BadAddress: part of the span lies outside the physical address space (EFAULT).
            NeedsDevice: a device answers part of the span.
        """
        self._reachable_segments(address, length)
