"""Physical memory: what lies at an address, what it costs, and what devices hide."""

from __future__ import annotations

import fcntl
import os
import pickle
import sys
from pathlib import Path

import pytest

from memhub.core.memory.physical import NeedsDevice, PhysicalMemory
from memhub.core.spec import Region
from memhub.errors import BadAddress, BadHandle

PAGE = 4096
TIB = 1 << 40

linux = pytest.mark.skipif(sys.platform != "linux", reason="counts memfd pages and descriptors")


class Silent:
    """A device that nobody calls: the core only names it."""

    async def read(self, offset: int, size: int) -> bytes:
        raise AssertionError("the core called a device")

    async def write(self, offset: int, data: bytes) -> None:
        raise AssertionError("the core called a device")


def ram(base: int, length: int, data: bytes = b"") -> Region:
    return Region(base=base, length=length, data=data)


def pc() -> PhysicalMemory:
    """A small PC: low memory, ISA hole with a BIOS, RAM above 1 MiB."""
    return PhysicalMemory(
        36,
        (
            ram(0x100000, 0x700000),
            ram(0, 0x9FC00),
            Region(base=0x9FC00, length=0x400, kind="reserved"),
            Region(base=0xF0000, length=0x10000, kind="rom", data=b"BIOS"),
            Region(base=0x800000, length=0x2000, kind="acpi", data=b"FACP"),
        ),
    )


def pages_held(memory: PhysicalMemory) -> int:
    return os.fstat(memory.fileno()).st_blocks * 512 // PAGE


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_ram_reads_zero_until_it_is_written() -> None:
    memory = pc()

    assert memory.read(0x1000, 8) == bytes(8)
    assert memory.write(0x1002, b"abc") == 3
    assert memory.read(0x1000, 8) == b"\0\0abc\0\0\0"


def test_content_of_a_region_is_there_from_the_start() -> None:
    memory = pc()

    assert memory.read(0x800000, 6) == b"FACP\0\0"
    assert memory.read(0xF0000, 6) == b"BIOS\xff\xff"


def test_rom_swallows_writes_and_is_0xff_behind_its_content() -> None:
    memory = pc()

    assert memory.write(0xF0000, b"x" * 8) == 8
    assert memory.read(0xF0000, 8) == b"BIOS" + b"\xff" * 4
    assert memory.write(0xFFFF0, b"x" * 16) == 16
    assert memory.read(0xF1000, 0xF000) == b"\xff" * 0xF000


@pytest.mark.parametrize(
    "address",
    [
        pytest.param(0x9FC00, id="reserved"),
        pytest.param(0xA0000, id="isa hole"),
        pytest.param(0xE0000000, id="outside the map"),
        pytest.param((1 << 36) - 8, id="last bytes"),
    ],
)
def test_where_nothing_answers_reads_give_0xff_and_writes_vanish(address: int) -> None:
    memory = pc()

    assert memory.write(address, b"abcdefgh") == 8
    assert memory.read(address, 8) == b"\xff" * 8


def test_a_span_may_cross_every_kind_of_memory() -> None:
    memory = pc()
    memory.write(0x9FBFE, b"abcd")

    assert memory.read(0x9FBFC, 8) == b"\0\0ab\xff\xff\xff\xff"
    assert memory.read(0xEFFFE, 8) == b"\xff\xffBIOS\xff\xff"


@pytest.mark.parametrize(
    ("address", "length"),
    [(1 << 36, 1), ((1 << 36) - 4, 8), (-1, 1), (1 << 64, 8), (0x1000, -1)],
)
def test_no_access_leaves_the_physical_address_space(address: int, length: int) -> None:
    memory = pc()

    with pytest.raises(BadAddress, match="36 bits"):
        memory.read(address, length)


def test_a_write_over_the_end_moves_nothing() -> None:
    memory = PhysicalMemory(16, (ram(0, 1 << 16),))

    with pytest.raises(BadAddress):
        memory.write((1 << 16) - 2, b"abcd")

    assert memory.read((1 << 16) - 2, 2) == bytes(2)


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        ([ram(0x1000, 0)], "ram region at 0x1000: length 0x0 is not positive"),
        ([ram(0x1000, -4096)], "length -0x1000 is not positive"),
        ([ram(-4096, 8192)], "-0x1000: an address is not negative"),
        ([ram(0xFFFFF000, 0x2000)], "past the 32 physical address bits"),
        ([ram(0, 0x2000), ram(0x1FFF, 1)], "0x0/0x2000 and ram region 0x1fff/0x1 overlap"),
        (
            [Region(base=0, length=2, kind="reserved"), Region(base=0, length=1, kind="rom")],
            "overlap",
        ),
        ([ram(0, 2, b"abc")], "content of 0x3 bytes is longer"),
        ([Region(base=0, length=9, kind="reserved", data=b"a")], "nothing behind it"),
    ],
)
def test_a_memory_map_that_contradicts_itself_is_refused(regions: list[Region], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PhysicalMemory(32, regions)


def test_more_memory_than_a_process_can_map_is_refused() -> None:
    with pytest.raises(ValueError, match="more than the 0x400000000000"):
        PhysicalMemory(52, (ram(0, 1 << 50),))


@linux
def test_idle_machines_hold_no_descriptor() -> None:
    before = descriptors()
    machines = [pc() for _ in range(50)]

    assert descriptors() == before
    assert not any(machine.touched for machine in machines)


@linux
def test_open_bus_costs_no_store() -> None:
    memory = pc()
    memory.read(0xA0000, 0x20000)
    memory.write(0xF8000, b"x")
    memory.read(0xF1000, 8)

    assert not memory.touched


@linux
def test_a_tebibyte_takes_no_page_until_it_is_touched() -> None:
    memory = PhysicalMemory(46, (ram(0, TIB),))

    assert memory.fileno() >= 0
    assert pages_held(memory) == 0

    for page in range(0, TIB, TIB // 64):
        memory.write(page, b"x")

    assert pages_held(memory) == 64
    memory.close()


@linux
def test_close_gives_the_descriptors_back() -> None:
    before = descriptors()
    memory = pc()
    memory.write(0x1000, b"x")
    assert descriptors() > before

    memory.close()
    memory.close()

    assert descriptors() == before
    with pytest.raises(BadHandle):
        memory.read(0x1000, 1)
    with pytest.raises(BadHandle):
        memory.write(0x1000, b"x")


@linux
def test_a_machine_that_is_dropped_gives_its_descriptors_back() -> None:
    before = descriptors()
    memory = pc()
    memory.write(0x1000, b"x")
    del memory

    assert descriptors() == before


@linux
def test_a_file_holds_each_extent_where_the_table_says() -> None:
    """The RAM is in one file, the ROM in another."""
    memory = pc()
    rom = memory.files.open_rom()
    for number, extent in enumerate(memory.extents):
        if extent.kind != "rom":
            memory.write(extent.base, bytes([number] * 8))

        fd = rom if extent.kind == "rom" else memory.fileno()
        assert extent.offset % PAGE == extent.base % PAGE
        assert os.pread(fd, 8, extent.offset) == memory.read(extent.base, 8)

    os.close(rom)
    assert [extent.kind for extent in memory.extents] == ["ram", "rom", "ram", "acpi"]


@linux
def test_memory_that_was_handed_out_is_the_same_value() -> None:
    """The file then shows what else lies in a page with RAM; the memory of the machine does not."""
    memory, twin = pc(), pc()
    for it in (memory, twin):
        it.write(0x9FBFE, b"ab")

    fd = memory.open_ram(writable=False)
    assert os.pread(fd, 4, 0x9FBFE) == b"ab\xff\xff"
    os.close(fd)
    assert memory == twin
    again = pickle.loads(pickle.dumps(memory))
    assert again == memory
    fd = again.open_ram(writable=False)
    assert os.pread(fd, 4, 0x9FBFE) == b"ab\xff\xff"
    os.close(fd)


@linux
def test_who_holds_the_file_cannot_cut_it() -> None:
    memory = pc()
    fd = memory.fileno()

    assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)


def test_regions_that_touch_are_one_stretch() -> None:
    """A span over ram and acpi is read at once, as both keep bytes side by side."""
    memory = pc()

    assert memory.segment(0x7FFFFF) == memory.segment(0x800000)


def test_a_region_keeps_its_place_within_the_page() -> None:
    memory = PhysicalMemory(32, (ram(0x1234, 0x100), ram(0x7ABC, 0x2000)))

    assert [extent.offset % PAGE for extent in memory.extents] == [0x234, 0xABC]
    assert memory.extents[1].offset // PAGE > memory.extents[0].offset // PAGE


def test_ram_ends_where_usable_memory_does() -> None:
    assert pc().ram_top == 0x800000
    assert PhysicalMemory(32).ram_top == 0


def test_regions_that_share_a_page_share_it_in_the_store() -> None:
    memory = PhysicalMemory(32, (ram(0x1000, 0x100), Region(base=0x1200, length=8, kind="nvs")))
    low, high = memory.extents

    assert high.offset - low.offset == 0x200


def test_a_device_window_hides_memory_and_brings_it_back() -> None:
    memory = pc()
    memory.write(0x200000, b"abcd")
    window = memory.map_mmio(0x200001, 2, Silent())

    for address, length in [(0x200000, 4), (0x200001, 1), (0x200002, 8)]:
        with pytest.raises(NeedsDevice) as caught:
            memory.read(address, length)
        assert caught.value.window is window

    assert memory.read(0x200000, 1) == b"a"
    assert memory.read(0x200003, 1) == b"d"
    memory.unmap(window)
    assert memory.read(0x200000, 4) == b"abcd"


def test_a_write_that_reaches_a_device_moves_nothing() -> None:
    memory = pc()
    memory.map_mmio(0x200004, 4, Silent())

    with pytest.raises(NeedsDevice):
        memory.write(0x200000, b"abcdefgh")

    assert memory.read(0x200000, 4) == bytes(4)


@pytest.mark.parametrize(
    ("base", "length", "words"),
    [
        (0xA0000, 0, "is not positive"),
        (-1, 8, "is not negative"),
        ((1 << 36) - 4, 8, "past the 36 physical address bits"),
        (0xA0FFF, 1, "0xa0fff/0x1 overlaps window 0xa0000/0x1000"),
        (0x9F000, 0x10000, "overlaps window"),
    ],
)
def test_a_window_that_cannot_be_is_refused(base: int, length: int, words: str) -> None:
    memory = pc()
    memory.map_mmio(0xA0000, 0x1000, Silent())

    with pytest.raises(ValueError, match=words):
        memory.map_mmio(base, length, Silent())

    assert len(memory.windows) == 1


def test_a_window_that_is_not_mapped_cannot_be_taken_away() -> None:
    memory = pc()
    window = memory.map_mmio(0xA0000, 0x1000, Silent())
    memory.unmap(window)

    with pytest.raises(ValueError, match="0xa0000/0x1000 is not mapped"):
        memory.unmap(window)
