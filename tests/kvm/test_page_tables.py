"""Images read by the page tables in them: the CPU's walk, and tables that are wrong."""

from __future__ import annotations

import struct
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.files import Segment, elf
from kvm.kernel_rig import kernel_machine
from kvm.table_writer import CODES, CUTS, G1, K4, M2, M4, SIZES, TableWriter
from memhub import Hub, Region
from memhub.abi import Errno
from memhub.core.spec import Content
from memhub.errors import BadAddress
from memhub.images import ImageError
from memhub.kvm import KvmError, open_image
from memhub.kvm.dead import TranslatedImage, translated_image

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = tuple(CUTS)
KERNEL = {"i386": 0xC0000000, "pae": 0xC0000000, "amd64": 0xFFFFFFFF80000000}
#: Physical pages that tables map; of some of them the image has nothing.
PLACES = range(0x1000000, 0x1010000, K4)


def contents_of(writer: TableWriter) -> list[Content]:
    return [Content(base=at, data=page) for at, page in writer.memory().items()]


def opened(writer: TableWriter, cr3: int | None = None) -> TranslatedImage:
    root = writer.root if cr3 is None else cr3

    return translated_image(contents_of(writer), "image", writer.format, {}, root)  # type: ignore[arg-type]


def random_tables(chance: Random, form: str) -> TableWriter:
    """Pages of all sizes at random, some of them side by side."""
    writer, base = TableWriter(form), KERNEL[form]
    for at in PLACES:
        if chance.random() < 0.8:
            writer.fill(at, chance.randbytes(K4))

    for _ in range(chance.randrange(1, 24)):
        size = chance.choice(SIZES[form])
        slots = {G1: 2, M2: 4, M4: 4}.get(size, 24)
        virtual = base + chance.randrange(slots) * size
        near = chance.choice(PLACES)
        physical = near - near % size
        bits = 0x1 | chance.choice((0, 2, 4, 0x20, 0x100, 0x1000 if size > K4 else 0x200))
        if form != "i386" and chance.random() < 0.3:
            bits |= 1 << 63  # not to be executed
        writer.map(virtual, physical, size, bits)

    return writer


@pytest.mark.parametrize("form", FORMATS)
@given(seed=st.integers(0, 1 << 32))
def test_reads_are_those_of_an_independent_model(form: str, seed: int) -> None:
    chance = Random(seed)
    writer = random_tables(chance, form)
    image = opened(writer, writer.root | (0x18 if form != "pae" else 0))  # with PWT and PCD
    for _ in range(20):
        base, (_, size) = chance.choice(list(writer.mapped.items()))
        edge = chance.choice((0, size, 0xFF0000 % size, chance.randrange(size)))
        virtual, length = base + edge + chance.randrange(-64, 64), chance.choice((1, 8, 100, 5000))
        expected = writer.read(virtual, length)
        if expected:
            assert image.pread(length, virtual) == expected
            continue

        with pytest.raises(BadAddress, match=rf"^EFAULT: kernel address {virtual:#x}"):
            image.pread(length, virtual)


def small(form: str) -> tuple[TableWriter, int]:
    """One page that holds `found`."""
    writer, virtual = TableWriter(form), KERNEL[form] + 0x5000
    writer.fill(0x1000000, b"found")
    writer.map(virtual, 0x1000000, K4)

    return writer, virtual


NAMES = {
    "i386": ("page directory entry", "page table entry"),
    "pae": ("page directory pointer", "page directory entry", "page table entry"),
    "amd64": (
        "PML4 entry",
        "page directory pointer",
        "page directory entry",
        "page table entry",
    ),
}
LEVELS = [(form, level) for form, names in NAMES.items() for level in range(len(names))]


@pytest.mark.parametrize(("form", "level"), LEVELS)
def test_an_entry_that_is_not_present_is_named(form: str, level: int) -> None:
    writer, virtual = small(form)
    place = writer.entry_place(virtual, level)
    writer.poke(place, 0x1234000)
    what = rf"not mapped: its {NAMES[form][level]} 0x1234000 at {place:#x} is not present"
    with pytest.raises(BadAddress, match=what):
        opened(writer).pread(1, virtual)


@pytest.mark.parametrize(("form", "level"), LEVELS)
def test_an_entry_that_points_beyond_the_image_is_named(form: str, level: int) -> None:
    writer, virtual = small(form)
    writer.poke(writer.entry_place(virtual, level), 0x7FFF0001)
    below = NAMES[form][level + 1 :]
    what = rf"its {below[0]} at 0x7fff0\w+ is not in the image" if below else "0x7fff0000, which"
    with pytest.raises(BadAddress, match=what):
        opened(writer).pread(1, virtual)


@pytest.mark.parametrize("form", FORMATS)
def test_a_top_table_that_is_not_in_the_image_is_named(form: str) -> None:
    writer, virtual = small(form)
    with pytest.raises(BadAddress, match=rf"its {NAMES[form][0]} at 0x\w+ is not in the image"):
        opened(writer, 0x40000000).pread(1, virtual)


def test_a_table_that_is_its_own_entry_is_walked_as_a_cpu_walks_it() -> None:
    """FreeBSD maps its page tables so; a walk ends at the last level."""
    writer, virtual = small("amd64")
    slot = 0x100
    writer.poke(writer.root + slot * 8, writer.root | 3)
    image = opened(writer)
    table_map = 0xFFFF << 48 | slot << 39
    entry = table_map | (virtual >> 12 & (1 << 36) - 1) << 3
    assert struct.unpack("<Q", image.pread(8, entry)) == (0x1000000 | 3,)
    whole = 0xFFFF << 48 | slot << 39 | slot << 30 | slot << 21 | slot << 12
    assert image.pread(K4, whole) == writer.memory()[writer.root]

    for level in range(1, 4):  # and where all goes in a circle, it ends too
        writer.poke(writer.entry_place(virtual, level), writer.root | 1)

    assert opened(writer).pread(K4, virtual) == writer.memory()[writer.root]


@pytest.mark.parametrize(
    ("form", "level", "entry", "reason"),
    [
        ("amd64", 0, 0x10081, "its PML4 entry 0x10081 at .* has the reserved bit 7 set"),
        ("amd64", 1, 0x200083, "a page of 0x40000000 bytes that is not aligned"),
        ("amd64", 2, 0x102083, "a page of 0x200000 bytes that is not aligned"),
        ("pae", 0, 0x10081, "its page directory pointer 0x10081 at .* has the reserved bit 7"),
        ("pae", 1, 0x102083, "a page of 0x200000 bytes that is not aligned"),
        ("i386", 0, 0x200083, "has the reserved bit 21 set"),
    ],
)
def test_an_entry_with_reserved_bits_is_refused(
    form: str, level: int, entry: int, reason: str
) -> None:
    writer, virtual = small(form)
    writer.poke(writer.entry_place(virtual, level), entry)
    with pytest.raises(BadAddress, match=reason):
        opened(writer).pread(1, virtual)


def test_a_page_of_4_mib_may_be_above_4_gib() -> None:
    """PSE-36: bits 13 to 20 of the entry are bits 32 to 39 of the address."""
    writer, virtual = small("i386")
    writer.fill((3 << 32) + 0x405000, b"high")
    writer.poke(writer.entry_place(virtual, 0), 0x400000 | 3 << 13 | 0x83)
    assert opened(writer).pread(4, virtual) == b"high"


@pytest.mark.parametrize(
    ("form", "address", "reason"),
    [
        ("i386", 1 << 32, "has more than 32 bits"),
        ("pae", 0xFFFFFFFF80000000, "has more than 32 bits"),
        ("amd64", 1 << 47, r"is not canonical \(48 bits\)"),
        ("amd64", 0xFFFF7FFFFFFFFFFF, r"is not canonical \(48 bits\)"),
    ],
)
def test_an_address_of_another_format_is_refused(form: str, address: int, reason: str) -> None:
    with pytest.raises(BadAddress, match=reason):
        opened(small(form)[0]).pread(1, address)


# By open_image


def core_of(writer: TableWriter, path: Path) -> Path:
    path.write_bytes(elf(*(Segment(at, page) for at, page in writer.memory().items()), kind=4))

    return path


SYMBOLS = {"i386": "IdlePTD", "pae": "IdlePDPT", "amd64": "KPML4phys"}


@pytest.mark.parametrize("form", FORMATS)
def test_the_top_table_is_found_by_the_kernels_own_variable(form: Any, tmp_path: Path) -> None:
    writer, virtual = small(form)
    size = struct.calcsize(CODES[form]) if form == "amd64" else 4
    writer.fill(0x201008, writer.root.to_bytes(size, "little"))
    symbols = {"kernbase": KERNEL[form], SYMBOLS[form]: KERNEL[form] + 0x201008, "it": virtual}
    with open_image(core_of(writer, tmp_path / "core"), tables=form, symbols=symbols) as kd:
        (it,) = kd.nlist(["_it"])
        assert kd.read(it.n_value, 5) == b"found"
        assert len(kd.read(virtual + K4 - 2, 5)) == 2
        assert kd.geterr() == "short read"
        with pytest.raises(KvmError, match=r"EFAULT: kvm_read: kernel address .* not mapped"):
            kd.read(virtual + K4, 1)

        with pytest.raises(KvmError) as refused:
            kd.write(virtual, b"x")

        assert refused.value.code is Errno.EOPNOTSUPP


def test_a_raw_image_needs_no_machine_with_page_tables(tmp_path: Path) -> None:
    writer, virtual = small("amd64")
    path = tmp_path / "ram"
    with path.open("wb") as file:
        for at, page in writer.memory().items():
            file.seek(at)
            file.write(page)

    with open_image(path, base=0, tables="amd64", cr3=writer.root) as kd:
        assert kd.read(virtual, 5) == b"found"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "has no page tables to walk: the kernel has no symbol 'kernbase': give cr3"),
        ({"symbols": {"kernbase": 0}}, "the kernel has no symbol 'KPML4phys': give cr3"),
        (
            {"symbols": {"kernbase": 0, "KPML4phys": 1 << 40}},
            r"KPML4phys is at the physical address 0x10000000000 .* not in the image",
        ),
        (
            {"symbols": {"kernbase": 9, "KPML4phys": 5}},
            r"KPML4phys is at the physical address -0x4 .* not in the image",
        ),
        ({"cr3": -1}, "cr3 -0x1 does not fit 64 bits"),
        ({"tables": "arm64"}, "tables 'arm64' is none of i386, pae, amd64"),
    ],
)
def test_an_image_without_a_top_table_is_refused(
    given: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = core_of(small("amd64")[0], tmp_path / "core")
    with pytest.raises(ImageError, match=reason):
        open_image(path, **{"tables": "amd64", **given})


def test_cr3_without_tables_is_refused(tmp_path: Path) -> None:
    path = core_of(small("amd64")[0], tmp_path / "core")
    with pytest.raises(ValueError, match="cr3 counts with tables: give the format"):
        open_image(path, cr3=0x10000)


@pytest.mark.anyio
async def test_a_core_of_a_machine_is_read_by_its_page_tables(tmp_path: Path) -> None:
    writer, virtual = small("amd64")
    spec = kernel_machine(
        contents=tuple(contents_of(writer)),
        memory=(Region(base=0, length=64 << 20),),
        symbols={"kernbase": 0, "KPML4phys": 0x8000, "it": virtual},
    )
    async with Hub([spec]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(writer.root.to_bytes(8, "little"), 0x8000)
        hub.dump_memory().save(tmp_path / "core")

    with open_image(tmp_path / "core", tables="amd64") as kd:
        (it,) = kd.nlist(["it"])
        assert kd.read(it.n_value, 5) == b"found"
