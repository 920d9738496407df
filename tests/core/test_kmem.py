"""Kernel addresses: the direct map, the u-area, a machine's own mappings, and symbols."""

from __future__ import annotations

import pytest

from memhub.core.kernel import KernelLayout, TransferRules
from memhub.core.memory.kmem import KernelMemory
from memhub.core.memory.kvm import kvm_nlist, kvm_read, kvm_write
from memhub.core.memory.physical import PhysicalMemory
from memhub.core.memory.reach import direct_map_limit
from memhub.core.memory.transfer import Transfer
from memhub.core.spec import KernelMapping, Region
from memhub.errors import BadAddress

PAGE = 4096
GIB = 1 << 30
DIRECT = 0xFFFFF80000000000
KERNEL = 0xFFFFFFFF80000000
AMD64 = KernelLayout(kernel_base=KERNEL, direct_map=DIRECT)
I386 = KernelLayout(kernel_base=0xC0000000, uarea_end=0xF0000000)


def mapping(virtual: int, physical: int, pages: int = 1, *, writable: bool = True) -> KernelMapping:
    return KernelMapping(virtual=virtual, physical=physical, length=pages * PAGE, writable=writable)


def ram(length: int, phys_bits: int = 36) -> PhysicalMemory:
    return PhysicalMemory(phys_bits, (Region(base=0, length=length),))


def kernel(
    layout: KernelLayout, *mappings: KernelMapping, memory: PhysicalMemory | None = None
) -> KernelMemory:
    return KernelMemory(layout, mappings, memory or ram(0x100000))


@pytest.mark.parametrize(
    ("ram_top", "limit"),
    [(0, 4 * GIB), (3 * GIB, 4 * GIB), (4 * GIB + 1, 5 * GIB), (8 * GIB, 8 * GIB)],
)
def test_the_direct_map_covers_ram_in_whole_gibibytes_and_four_at_least(
    ram_top: int, limit: int
) -> None:
    assert direct_map_limit(ram_top) == limit


def test_the_direct_map_is_physical_memory_shifted() -> None:
    memory = ram(5 * GIB)
    space = kernel(AMD64, memory=memory)

    for physical in (0, 0x1234, 5 * GIB - 8):
        assert space.physical(DIRECT + physical, 8) == physical
        assert space.physical(DIRECT + physical, 8, write=True) == physical

    with pytest.raises(BadAddress, match="0xfffff80140000000 is not mapped"):
        space.area(DIRECT + 5 * GIB)


def test_holes_for_devices_below_4_gib_are_in_the_direct_map() -> None:
    transfer = Transfer(memory := ram(GIB), kernel(AMD64, memory=memory), TransferRules())

    assert transfer.read("kmem", DIRECT + 0xFEE00000, 4) == b"\xff" * 4


def test_a_mapping_translates_and_ends() -> None:
    space = kernel(I386, mapping(0xC0100000, 0x4000, 2))

    assert space.physical(0xC0100010, 8) == 0x4010
    assert space.physical(0xC0101FF8, 8) == 0x5FF8
    assert space.physical(0xC0101FF9, 8) == -1
    assert space.physical(0xC00FFFFF, 1) == -1
    with pytest.raises(BadAddress, match="0xc0102000 is not mapped"):
        space.area(0xC0102000)


def test_a_read_only_mapping_reads_and_refuses_writes() -> None:
    space = kernel(I386, mapping(0xC0100000, 0x4000, writable=False))

    assert space.physical(0xC0100000, 8) == 0x4000
    assert space.physical(0xC0100000, 8, write=True) == -1
    with pytest.raises(BadAddress, match="read-only mapping 0xc0100000/0x1000"):
        space.area(0xC0100000, write=True)


def test_amd64_refuses_a_mapping_of_physical_page_0_outside_the_direct_map() -> None:
    rules = TransferRules(page_zero="first byte")
    space = KernelMemory(AMD64, [mapping(KERNEL, 0, 3)], ram(0x100000), rules=rules)

    with pytest.raises(BadAddress, match="physical page 0"):
        space.area(KERNEL)

    assert space.area(KERNEL + 8).page_zero
    assert space.physical(KERNEL + 8, 8) == -1
    assert space.physical(KERNEL + PAGE, 8) == PAGE
    assert space.physical(DIRECT + 8, 8) == 8


def test_i386_maps_physical_page_0() -> None:
    assert kernel(I386, mapping(0xC0000000, 0)).physical(0xC0000008, 8) == 8


def test_mappings_that_touch_and_translate_alike_are_one_area() -> None:
    space = kernel(
        I386,
        mapping(0xC0101000, 0x5000),
        mapping(0xC0100000, 0x4000),
        mapping(0xC0102000, 0x9000),
    )

    assert space.physical(0xC0100000, 2 * PAGE) == 0x4000
    assert space.physical(0xC0100000, 2 * PAGE + 1) == -1


@pytest.mark.parametrize(
    ("layout", "mappings", "words"),
    [
        (I386, [mapping(0xC0000800, 0)], "whole pages"),
        (I386, [mapping(0xC0000000, 0x10)], "whole pages"),
        (I386, [mapping(0xC0000000, 0, 0)], "positive number"),
        (I386, [mapping(0xBFFFF000, 0)], "not inside kernel space 0xc0000000-0x100000000"),
        (I386, [mapping(0xFFFFF000, 0, 2)], "not inside kernel space"),
        (AMD64, [mapping(0xFFFFFFFFFFFFF000, 0, 2)], "not inside kernel space"),
        (AMD64, [mapping(KERNEL, (1 << 36) - PAGE, 2)], "36 physical address bits"),
        (I386, [mapping(0xC0000000, 0, 2), mapping(0xC0001000, 0)], "overlap"),
        (I386, [mapping(0xEFFFF000, 0)], "u-area 0xefffe000/0x2000 and mapping .* overlap"),
        (AMD64, [mapping(DIRECT + GIB, 0)], "direct map 0xfffff80000000000/.* overlap"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(
    layout: KernelLayout, mappings: list[KernelMapping], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        kernel(layout, *mappings)


@pytest.mark.parametrize(
    ("upages", "words"), [(-1, "upages -1 is negative"), (0x40000, "reaches under the kernel")]
)
def test_a_u_area_that_cannot_be_is_refused(upages: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KernelMemory(I386, (), ram(0x1000), upages=upages)


@pytest.mark.parametrize("upages", [1, 2, 3])
def test_the_u_area_ends_where_the_layout_says(upages: int) -> None:
    space = KernelMemory(I386, (), ram(0x1000), upages=upages)
    base = 0xF0000000 - upages * PAGE

    assert space.area(base).what == space.area(0xEFFFFFFF).what == "u-area"
    for outside in (base - 1, 0xF0000000):
        with pytest.raises(BadAddress):
            space.area(outside)


def test_no_pages_no_u_area() -> None:
    assert KernelMemory(I386, (), ram(0x1000), upages=0).areas == ()


def test_each_process_sees_its_own_u_area() -> None:
    memory = ram(0x1000)
    space = kernel(I386, memory=memory)
    transfer = Transfer(memory, space, TransferRules(short_count=False, kmem_check="request"))
    transfer.write("kmem", 0xEFFFE000, b"first", "one")
    transfer.write("kmem", 0xEFFFEFFE, b"over", "two")

    assert transfer.read("kmem", 0xEFFFE000, 5, "one") == b"first"
    assert transfer.read("kmem", 0xEFFFE000, 5, "two") == bytes(5)
    assert transfer.read("kmem", 0xEFFFEFFE, 4, "two") == b"over"
    assert not memory.touched


def test_a_u_area_goes_with_its_process() -> None:
    memory = ram(0x1000)
    space = kernel(I386, memory=memory)
    transfer = Transfer(memory, space, TransferRules())
    transfer.write("kmem", 0xEFFFE000, b"first", "one")
    transfer.write("kmem", 0xEFFFE000, b"other", "two")
    space.release("one")
    space.release("one")

    assert space.uareas == 1
    assert transfer.read("kmem", 0xEFFFE000, 5, "one") == bytes(5)
    assert transfer.read("kmem", 0xEFFFE000, 5, "two") == b"other"


def test_the_whole_span_check_finds_a_hole_and_a_read_only_page() -> None:
    space = kernel(I386, mapping(0xC0100000, 0x4000), mapping(0xC0101000, 0x9000, writable=False))

    space.check_entries(0xC0100800, 0x1800)
    with pytest.raises(BadAddress, match="0xc0101000 is in the read-only"):
        space.check_entries(0xC0100800, 0x1000, write=True)
    with pytest.raises(BadAddress, match="0xc0102000 is not mapped"):
        space.check_entries(0xC0100800, 0x1801)


def test_symbols_lead_to_kernel_memory() -> None:
    memory = ram(0x100000)
    transfer = Transfer(
        memory, kernel(I386, mapping(0xC0100000, 0x4000), memory=memory), TransferRules()
    )
    known, missing = kvm_nlist({"_boothowto": 0xC0100040}, ["_boothowto", "_nosuch"])

    assert (known.n_name, known.n_value, known.found) == ("_boothowto", 0xC0100040, True)
    assert (missing.n_value, missing.found) == (0, False)
    assert kvm_write(transfer, known.n_value, b"\x01\x02") == 2
    assert kvm_read(transfer, known.n_value, 4) == b"\x01\x02\0\0"
    assert memory.read(0x4040, 2) == b"\x01\x02"
    with pytest.raises(BadAddress):
        kvm_read(transfer, missing.n_value, 4)
