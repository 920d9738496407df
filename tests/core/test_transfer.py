"""Transfers: how they end on each architecture, and where devices come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from memhub.abi import Errno
from memhub.core.memory.kmem import KernelMemory
from memhub.core.memory.physical import NeedsDevice, PhysicalMemory
from memhub.core.memory.pieces import Pieces
from memhub.core.memory.transfer import IOSIZE_MAX, Transfer
from memhub.core.spec import Region, WpWrites
from memhub.errors import BadAddress, DeviceError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
from core.transfer_rig import (
    AMD64,
    AMD64_RULES,
    DIRECT,
    KERNEL,
    LAST,
    TOP,
    WINDOWS,
    drive,
    machine,
    wp_map,
)


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

    assert len(list(pieces.reading("kmem", DIRECT + 5, ((0, 1 << 24),), None))) == 1
    assert (
        len(list(pieces.writing("mem", 5, ((0, 1 << 24),), None, wp_map((1 << 30, 1 << 31))))) == 1
    )


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
