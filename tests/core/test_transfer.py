"""Transfers: what moves, how they end on each architecture, and where devices come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memhub.abi import Errno
from memhub.core.driver import KernelLayout, TransferRules
from memhub.core.kmem import KernelMemory
from memhub.core.memory import NeedsDevice, PhysicalMemory
from memhub.core.memtypes import TypeMap
from memhub.core.pieces import Pieces
from memhub.core.spec import KernelMapping, Region, WpWrites
from memhub.core.transfer import IOSIZE_MAX, Transfer
from memhub.errors import BadAddress, DeviceError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

PAGE = 4096
BITS = 16
TOP = 1 << BITS
DIRECT = 0xFFFFF80000000000
KERNEL = 0xFFFFFFFF80000000
LAST = (1 << 64) - PAGE

REGIONS = (
    Region(base=0, length=0x2C00, data=b"low"),
    Region(base=0x2C00, length=0x400, kind="reserved"),
    Region(base=0x3000, length=0x2000, kind="rom", data=b"rom" * 700),
    Region(base=0x6000, length=0x3000),
    Region(base=0x9000, length=0x1000, kind="acpi"),
    Region(base=0xF000, length=0x1000),
)
#: A window over RAM that begins and ends inside pages, and one over nothing.
WINDOWS = ((0x7800, 0x1A00), (0xC010, 0x20))

I386 = KernelLayout(kernel_base=0xC0000000, uarea_end=0xF0000000)
I386_RULES = TransferRules(short_count=False, check_kmem_span=True)
I386_MAPPINGS = (
    (0xC0000000, 0x0, 3, True),
    (0xC0003000, 0x3000, 2, False),
    (0xC0006000, 0x6000, 4, True),
    (0xC000A000, 0x1000, 1, True),
    (0xEFFFD000, 0x2000, 1, True),
)
AMD64 = KernelLayout(kernel_base=KERNEL, direct_map=DIRECT)
AMD64_RULES = TransferRules(short_count=True, check_kmem_span=False)
AMD64_MAPPINGS = (
    (KERNEL, 0x0, 3, True),
    (KERNEL + 0x3000, 0x6000, 1, False),
    (KERNEL + 0x4000, 0x7000, 3, True),
    (LAST, 0x1000, 1, True),
)


class Registers:
    """A device of plain bytes, played without an event loop."""

    def __init__(self, size: int) -> None:
        self.cells = bytearray(b"\xd0" * size)
        self.sizes: list[int] = []

    async def read(self, offset: int, size: int) -> bytes:
        raise AssertionError("the core called a device")

    async def write(self, offset: int, data: bytes) -> None:
        raise AssertionError("the core called a device")

    def play(self, offset: int, size: int, data: bytes | None) -> bytes:
        self.sizes.append(size)
        if data is not None:
            assert len(data) == size
            self.cells[offset : offset + size] = data

        return bytes(self.cells[offset : offset + size])


T = TypeVar("T")


def drive(steps: Generator[Any, Any, T]) -> T:
    """Take every step with the device it names."""
    try:
        step = next(steps)
        while True:
            step = steps.send(step.device.play(step.offset, step.size, step.data))
    except StopIteration as end:
        result: T = end.value
        return result


@dataclass
class Machine:
    memory: PhysicalMemory
    kernel: KernelMemory
    transfer: Transfer
    devices: list[Registers]


def machine(
    *, amd64: bool = True, wp: WpWrites = "fault", windows: tuple[tuple[int, int], ...] = ()
) -> Machine:
    memory = PhysicalMemory(BITS, REGIONS)
    mappings = [
        KernelMapping(virtual=v, physical=p, length=n * PAGE, writable=w)
        for v, p, n, w in (AMD64_MAPPINGS if amd64 else I386_MAPPINGS)
    ]
    kernel = KernelMemory(AMD64 if amd64 else I386, mappings, memory)
    devices = [Registers(length) for _, length in windows]
    for (base, length), device in zip(windows, devices, strict=True):
        memory.map_mmio(base, length, device)

    rules = AMD64_RULES if amd64 else I386_RULES

    return Machine(memory, kernel, Transfer(memory, kernel, rules, wp), devices)


def wp_map(*runs: tuple[int, int]) -> TypeMap:
    return TypeMap.from_ranges("WB", [(lo, hi, "WP", "test") for lo, hi in runs])


# The model: every byte is looked up by itself, in the tables above.


class Model:
    def __init__(self, amd64: bool, wp: WpWrites, windows: bool, runs: list[Any]) -> None:
        self.amd64, self.wp, self.runs = amd64, wp, runs
        self.windows = WINDOWS if windows else ()
        self.cells = bytearray(b"\xff" * TOP)
        self.ram = [False] * TOP
        for region in REGIONS:
            if region.kind == "reserved":
                continue

            fill = b"\xff" if region.kind == "rom" else b"\0"
            content = region.data.ljust(region.length, fill)
            self.cells[region.base : region.base + region.length] = content
            if region.kind != "rom":
                for address in range(region.base, region.base + region.length):
                    self.ram[address] = True

        self.devices = [bytearray(b"\xd0" * length) for _, length in self.windows]
        self.own: dict[Any, bytearray] = {}

    def place(self, device: str, at: int, process: Any, write: bool) -> tuple[Any, int] | None:
        """Where one byte lies: a store and an index into it; None where it faults."""
        if device == "mem":
            return (None, at) if at < TOP else None

        if not self.amd64 and 0xEFFFE000 <= at < 0xF0000000:
            return self.own.setdefault(process, bytearray(2 * PAGE)), at - 0xEFFFE000

        if self.amd64 and DIRECT <= at < DIRECT + TOP:
            return None, at - DIRECT

        for virtual, physical, pages, writable in AMD64_MAPPINGS if self.amd64 else I386_MAPPINGS:
            if virtual <= at < virtual + pages * PAGE:
                target = physical + at - virtual
                refused = (write and not writable) or (self.amd64 and target < PAGE)
                return None if refused else (None, target)

        return None

    def cell(self, place: tuple[Any, int]) -> tuple[Any, int, bool]:
        """The bytes that hold a place, the index there, and whether they are a device's."""
        store, at = place
        if store is not None:
            return store, at, False

        for (base, length), cells in zip(self.windows, self.devices, strict=True):
            if base <= at < base + length:
                return cells, at - base, True

        return self.cells, at, False

    def move(self, device: str, offset: int, length: int, process: Any, data: bytes | None) -> Any:
        """The outcome, and whether a device had a part in it."""
        write = data is not None
        moved, touched, fault = bytearray(), False, False
        span = range(offset, offset + length)
        if not self.amd64 and device == "kmem":
            fault = any(self.place(device, at, process, write) is None for at in span)

        for index, at in enumerate(span if not fault else ()):
            place = self.place(device, at, process, write)
            protected = place is not None and place[0] is None and write and self.is_wp(place[1])
            if place is None or (protected and self.wp == "fault"):
                fault = True
                break

            if protected and self.wp == "drop":
                moved.append(0)
                continue

            cells, slot, mmio = self.cell(place)
            touched |= mmio
            if data is not None and (cells is not self.cells or self.ram[slot]):
                cells[slot] = data[index]

            moved.append(cells[slot])

        if fault and not (moved and self.amd64):
            return ("EFAULT", len(moved)), touched

        return (len(moved) if write else bytes(moved)), touched

    def is_wp(self, address: int) -> bool:
        return any(lo <= address < hi for lo, hi in self.runs)


BORDERS = sorted(
    {0, 0x2C00, 0x3000, 0x5000, 0x6000, 0x7800, 0x9000, 0x9200, 0xA000, 0xC010, 0xF000, TOP}
)
VIRTUAL = {
    False: [v + end * n * PAGE for v, _, n, _ in I386_MAPPINGS for end in (0, 1)] + [0xF0000000],
    True: [v + end * n * PAGE for v, _, n, _ in AMD64_MAPPINGS for end in (0, 1)]
    + [DIRECT + border for border in BORDERS[::3]],
}


def around(borders: list[int]) -> st.SearchStrategy[int]:
    jitter = st.sampled_from([0, 0, 1, -1, 8, -8, 0x10, 0x400, -0x400, 0x1234])
    return st.builds(int.__add__, st.sampled_from(borders), jitter).map(
        lambda at: min(max(at, 0), (1 << 64) - 1)
    )


LENGTHS = st.sampled_from([0, 1, 2, 7, 8, 9, 64, 0x400, 0x1000, 0x1001, 0x2801])
RUNS = st.lists(
    st.tuples(st.integers(0, 15), st.integers(1, 3)).map(
        lambda run: (run[0] * PAGE, (run[0] + run[1]) * PAGE)
    ),
    max_size=2,
)


def operations(amd64: bool) -> st.SearchStrategy[Any]:
    places = st.one_of(
        st.tuples(st.just("mem"), around(BORDERS)),
        st.tuples(st.just("kmem"), around(VIRTUAL[amd64])),
    )
    operation = st.tuples(
        st.booleans(), places, LENGTHS, st.sampled_from("ab"), st.integers(0, 255)
    )

    return st.tuples(st.just(amd64), st.lists(operation, min_size=1, max_size=8))


def outcome(call: Any) -> Any:
    try:
        return call()
    except DeviceError as error:
        return (error.code.name, error.moved)


@settings(max_examples=max(300, settings.default.max_examples if settings.default else 0))
@given(
    st.booleans().flatmap(operations),
    st.sampled_from(["fault", "drop", "allow"]),
    st.booleans(),
    RUNS,
)
def test_transfers_do_what_a_byte_by_byte_model_says(
    case: Any, wp: Any, windows: bool, runs: Any
) -> None:
    """The fast way, the way in steps and the model agree, on both architectures."""
    amd64, ops = case
    world = machine(amd64=amd64, wp=wp, windows=WINDOWS if windows else ())
    transfer, types = world.transfer, wp_map(*runs) if runs else None
    model = Model(amd64, wp, windows, runs)
    for write, (device, offset), length, process, seed in ops:
        data = bytes((seed + i * 7) % 256 for i in range(length)) if write else None
        expected, touched = model.move(device, offset, length, process, data)
        args: Any = (device, offset, length if data is None else data, process)
        call: Any = transfer.read
        steps: Any = transfer.reading
        if data is not None:
            call, steps, args = transfer.write, transfer.writing, (*args, types)

        if touched:
            with pytest.raises(NeedsDevice):
                call(*args)
        elif data is None or seed % 2:
            assert outcome(lambda: call(*args)) == expected  # noqa: B023 -- called at once

        if touched or data is None or not seed % 2:
            assert outcome(lambda: drive(steps(*args))) == expected  # noqa: B023 -- called at once

    assert [bytes(d.cells) for d in world.devices] == [bytes(d) for d in model.devices]
    for window in world.memory.windows:
        world.memory.unmap(window)

    assert world.memory.read(0, TOP) == bytes(model.cells)
    world.memory.close()


def test_an_empty_transfer_ends_before_anything_else() -> None:
    transfer = machine().transfer

    assert transfer.read("mem", 1 << 70, 0) == b""
    assert transfer.write("kmem", 0, b"") == 0


@pytest.mark.parametrize("offset", [-1, 1 << 64, -(1 << 64)])
@pytest.mark.parametrize("device", ["mem", "kmem"])
def test_an_offset_is_an_unsigned_64_bit_number(device: Any, offset: int) -> None:
    transfer = machine().transfer

    with pytest.raises(InvalidArgument, match="is not an unsigned 64-bit number"):
        transfer.read(device, offset, 8)
    with pytest.raises(InvalidArgument, match="is not an unsigned 64-bit number"):
        transfer.write(device, offset, b"x")


@pytest.mark.parametrize("length", [-1, IOSIZE_MAX + 1])
@pytest.mark.parametrize("device", ["mem", "kmem"])
def test_a_length_is_not_negative_and_fits_an_int(device: Any, length: int) -> None:
    memory = PhysicalMemory(36)
    transfer = Transfer(memory, KernelMemory(AMD64, (), memory), AMD64_RULES)

    with pytest.raises(InvalidArgument, match="length"):
        transfer.read(device, 0 if device == "mem" else DIRECT, length)


def test_offsets_do_not_wrap() -> None:
    """The last page is mapped, address 0 would come next: it is no neighbour."""
    transfer = machine().transfer

    assert len(transfer.read("kmem", LAST + 0xFF0, 64)) == 16
    assert transfer.write("kmem", LAST + 0xFF8, bytes(16)) == 8


def test_amd64_answers_a_short_count_after_progress() -> None:
    transfer = machine().transfer

    assert transfer.read("mem", TOP - 3, 8) == bytes(3)
    assert transfer.write("mem", TOP - 3, b"abcdefgh") == 3
    with pytest.raises(BadAddress) as caught:
        transfer.read("mem", TOP, 8)
    assert (caught.value.code, caught.value.moved) == (Errno.EFAULT, 0)


def test_i386_answers_the_error_though_bytes_moved() -> None:
    world = machine(amd64=False)

    with pytest.raises(BadAddress) as caught:
        world.transfer.write("mem", TOP - 3, b"abcdefgh")

    assert caught.value.moved == 3
    assert world.memory.read(TOP - 3, 3) == b"abc"


def test_i386_kmem_checks_the_whole_span_and_moves_nothing() -> None:
    world = machine(amd64=False)

    for offset in (0xC0002FF8, 0xC000AFF8):
        with pytest.raises(BadAddress) as caught:
            world.transfer.write("kmem", offset, b"x" * 16)
        assert caught.value.moved == 0

    assert world.memory.read(0x1FF8, 8) == bytes(8)


def test_writing_to_protected_memory_faults_at_its_first_byte() -> None:
    world = machine()
    types = wp_map((0x1000, 0x2000))

    assert world.transfer.write("mem", 0xFFC, b"abcdefgh", None, types) == 4
    with pytest.raises(BadAddress, match="0x1000/0x4 is write-protected"):
        world.transfer.write("mem", 0x1000, b"abcd", None, types)
    assert world.memory.read(0xFFC, 8) == b"abcd" + bytes(4)


def test_i386_reports_what_moved_before_protected_memory() -> None:
    world = machine(amd64=False)

    with pytest.raises(BadAddress) as caught:
        world.transfer.write("kmem", 0xC0000FFC, b"abcdefgh", None, wp_map((0x1000, 0x2000)))

    assert caught.value.moved == 4
    assert world.memory.read(0xFFC, 8) == b"abcd" + bytes(4)


@pytest.mark.parametrize(("wp", "kept"), [("drop", b"ab\0\0gh"), ("allow", b"abcdgh")])
def test_protected_writes_can_be_dropped_or_allowed(wp: WpWrites, kept: bytes) -> None:
    world = machine(wp=wp)
    types = wp_map((0x1002, 0x1004))

    assert world.transfer.write("mem", 0x1000, b"abcdgh", None, types) == 6
    assert world.memory.read(0x1000, 6) == kept


def test_a_protected_u_area_cannot_be() -> None:
    """Types are of physical memory; a u-area's pages are the process's own."""
    transfer = machine(amd64=False).transfer

    assert transfer.write("kmem", 0xEFFFE000, b"abcd", "a", wp_map((0, 1 << 36))) == 4


def test_a_long_stretch_is_one_piece() -> None:
    memory = PhysicalMemory(36, (Region(base=0, length=1 << 26),))
    kernel = KernelMemory(AMD64, (), memory)
    pieces = Pieces(memory, kernel, AMD64_RULES, "fault")

    assert len(list(pieces.reading("kmem", DIRECT + 5, 1 << 24, None))) == 1
    assert len(list(pieces.writing("mem", 5, 1 << 24, None, wp_map((1 << 30, 1 << 31))))) == 1


def test_a_device_is_accessed_page_by_page_between_memory() -> None:
    world = machine(windows=WINDOWS)
    read = drive(world.transfer.reading("mem", 0x77F0, 0x1A20))

    assert read == bytes(16) + b"\xd0" * 0x1A00 + bytes(16)
    assert world.devices[0].sizes == [0x800, 0x1000, 0x200]


def test_kernel_addresses_reach_devices_too() -> None:
    world = machine(windows=WINDOWS)

    assert drive(world.transfer.writing("kmem", DIRECT + 0xC018, b"abcd")) == 4
    assert world.devices[1].cells[8:12] == b"abcd"


def test_a_write_that_needs_a_device_moves_nothing_without_it() -> None:
    world = machine(windows=WINDOWS)

    with pytest.raises(NeedsDevice) as caught:
        world.transfer.write("kmem", KERNEL + 0x4000, b"x" * 0x1000)

    assert caught.value.window.base == 0x7800
    assert world.memory.read(0x7000, 0x800) == bytes(0x800)


def test_a_write_in_pieces_moves_nothing_either_without_the_device() -> None:
    world = machine(wp="drop", windows=WINDOWS)
    types = wp_map((0x7400, 0x7500))

    with pytest.raises(NeedsDevice):
        world.transfer.write("mem", 0x7000, b"x" * 0x900, None, types)

    assert world.memory.read(0x7000, 0x800) == bytes(0x800)


def test_dropped_bytes_reach_no_device() -> None:
    world = machine(wp="drop", windows=WINDOWS)

    assert world.transfer.write("mem", 0xC010, bytes(0x20), None, wp_map((0xC000, 0xD000))) == 0x20
    assert world.devices[1].sizes == []


def test_nothing_is_written_through_a_read_only_mapping() -> None:
    world = machine()
    assert world.transfer.read("kmem", KERNEL + 0x3000, 8) == bytes(8)

    with pytest.raises(BadAddress, match="read-only"):
        world.transfer.write("kmem", KERNEL + 0x3000, b"abcd")

    assert world.memory.read(0x6000, 4) == bytes(4)


def test_protection_before_a_device_answers_without_it() -> None:
    world = machine(windows=WINDOWS)

    assert world.transfer.write("mem", 0x6FFE, b"x" * 0x900, None, wp_map((0x7000, 0x8000))) == 2
    assert world.devices[0].sizes == []


def failing(steps: Generator[Any, Any, Any], error: Exception) -> Any:
    """Take the first step, and let the device of the second fail."""
    first = next(steps)
    steps.send(first.device.play(first.offset, first.size, first.data))
    try:
        steps.throw(error)
    except StopIteration as end:
        return end.value

    raise AssertionError("the transfer went on")


def test_a_device_that_fails_ends_the_transfer_by_the_rules() -> None:
    amd64, i386 = (machine(amd64=amd64, windows=WINDOWS).transfer for amd64 in (True, False))

    assert failing(amd64.reading("mem", 0x7800, 0x1A00), DeviceError("gone")) == b"\xd0" * 0x800
    assert failing(amd64.writing("mem", 0x7800, bytes(0x1A00)), DeviceError("gone")) == 0x800
    with pytest.raises(DeviceError, match="gone") as caught:
        failing(i386.reading("mem", 0x7800, 0x1A00), DeviceError("gone"))
    assert (caught.value.code, caught.value.moved) == (Errno.EIO, 0x800)


def test_another_exception_of_a_device_is_not_a_reply() -> None:
    transfer = machine(windows=WINDOWS).transfer

    with pytest.raises(ZeroDivisionError):
        failing(transfer.reading("mem", 0x7800, 0x1A00), ZeroDivisionError())


def test_a_device_that_answers_too_little_is_an_error() -> None:
    steps = machine(windows=WINDOWS).transfer.reading("mem", 0xC010, 8)
    next(steps)

    with pytest.raises(DeviceError, match="0xc010 answered 3 bytes where 8 were asked") as caught:
        steps.send(b"abc")
    assert caught.value.code is Errno.EIO


def test_a_window_may_go_while_its_device_is_waited_for() -> None:
    world = machine(windows=WINDOWS)
    world.memory.write(0x6000, b"x")
    steps = world.transfer.reading("mem", 0x7FFF, 3)
    next(steps)
    world.memory.unmap(world.memory.windows[0])

    with pytest.raises(StopIteration) as end:
        steps.send(b"\xd0")
    assert end.value.value == b"\xd0\0\0"


def test_bytes_may_come_as_any_buffer() -> None:
    transfer = machine().transfer
    buffers: Iterator[bytes | bytearray | memoryview] = iter(
        (b"abc", bytearray(b"abc"), memoryview(b"xabc")[1:])
    )
    for number, data in enumerate(buffers):
        at = 0x2BFE - 0x1000 * number
        assert transfer.write("mem", at, data) == 3
        assert transfer.read("mem", at, 2) == b"ab"
