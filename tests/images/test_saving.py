"""Memory saved to a file and loaded again, on a hub."""

from __future__ import annotations

import errno
import io
import os
import pickle
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memhub import AuditLog, Hub, MachineSpec, Region
from memhub.audit import read_records
from memhub.core.drivers.driver import Cpu
from memhub.core.spec import Content
from memhub.errors import InvalidArgument, LogFailed
from memhub.images import ImageError, fill, load_image
from memhub.images.lime import HEADER
from memhub.images.writing import write_core
from shell.kit import Disk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

TIB = 1 << 40
MEMORY = (
    Region(base=0x400, length=0x9F000),
    Region(base=0xF0000, length=0x10000, kind="rom", data=b"rom"),
    Region(base=0x100000, length=1 << 30),
    Region(base=1 << 51, length=16 * TIB, kind="nvs"),
)
SPEC = MachineSpec(
    name="pc", arch="amd64", cpu=Cpu(phys_bits=52), msrs={}, memory=MEMORY, symbols={"x": 7}
)
WRITES = {
    0x400: b"first bytes",
    0x9F3F0: b"last bytes here!",
    0x100FFE: b"over a page border",
    (1 << 51) + TIB + 1: b"far away",
}


def same_memory(one: Hub, other: Hub) -> bool:
    """Whether the RAM of two hubs' machines holds the same."""
    pages = [hub.machines["pc"].memory.files.pages() for hub in (one, other)]

    return pages[0] == pages[1]


async def written(hub: Hub) -> None:
    async with await hub.open("/dev/mem", "r+") as mem:
        for address, data in WRITES.items():
            await mem.pwrite(data, address)


@pytest.mark.parametrize("kind", ["elf", "lime"])
async def test_memory_that_is_saved_and_loaded_is_the_same(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "ram"
    async with Hub([SPEC]) as hub, Hub([SPEC]) as other:
        await written(hub)
        dump = hub.dump_memory()
        dump.save(path, kind)  # type: ignore[arg-type]
        async with await other.open("/dev/mem", "r+") as mem:
            await mem.pwrite(b"before", 0x5000)
            other.load_memory(load_image(path), clear=True)

            assert await mem.pread(6, 0x5000) == bytes(6)

        assert same_memory(hub, other)
        assert other.dump_memory() == dump

    assert path.stat().st_size < 10 * 4096


async def test_a_core_covers_all_ram_and_a_lime_dump_only_what_was_touched(tmp_path: Path) -> None:
    async with Hub([SPEC]) as hub:
        await written(hub)
        dump = hub.dump_memory()

    dump.save(tmp_path / "core")
    dump.save(tmp_path / "lime", "lime")
    ram = sum(it.length for it in MEMORY if it.kind != "rom")
    core, lime = load_image(tmp_path / "core"), load_image(tmp_path / "lime")

    assert sum(it.end - it.base for it in core) == ram
    assert sum(it.end - it.base for it in lime) == dump.touched < 7 * 4096


async def test_without_clear_only_what_the_image_names_changes(tmp_path: Path) -> None:
    async with Hub([SPEC]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"before", 0x5000)

        assert hub.load_memory([Content(base=0x5002, data=b"X", zeros=1)]) == 2
        assert await mem.pread(6, 0x5000) == b"beX\0re"


async def test_a_raw_file_has_holes_where_nothing_was_touched(tmp_path: Path) -> None:
    path = tmp_path / "ram.img"
    async with Hub([SPEC]) as hub:
        await written(hub)
        hub.dump_memory().save(path, "raw", base=0x100000, length=1 << 30)

        assert path.stat().st_size == 1 << 30
        assert path.stat().st_blocks * 512 < 1 << 20
        assert hub.load_memory(load_image(path, base=0x100000)) == 1 << 30
        assert same_memory(hub, hub)


async def test_a_raw_file_that_no_file_system_holds_is_refused_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ram.img"
    path.write_bytes(b"older")
    async with Hub([SPEC]) as hub:
        await written(hub)
        dump = hub.dump_memory()

    monkeypatch.setattr(os, "ftruncate", too_large)
    with pytest.raises(OSError, match="File too large") as refused:
        dump.save(path, "raw")

    assert (refused.value.errno, refused.value.filename) == (errno.EFBIG, str(path))
    assert path.read_bytes() == b"older"
    assert names_in(tmp_path) == ["ram.img"]


def too_large(fd: int, length: int) -> None:
    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def names_in(folder: Path) -> list[str]:
    return [it.name for it in folder.iterdir()]


async def test_loading_is_a_record_and_a_restore_takes_it_back(tmp_path: Path) -> None:
    image = tmp_path / "fw.bin"
    image.write_bytes(b"firmware")
    with AuditLog.open(tmp_path / "log") as log:
        async with Hub([SPEC], log=log) as hub:
            before = hub.snapshot()
            hub.load_memory(load_image(image, base=0x1000, shown="fw.bin"))
            hub.load_memory([fill(1 << 51, TIB)], clear=True)
            hub.restore(before)

            assert hub.machines["pc"].memory.read(0x1000, 8) == bytes(8)

    one, two = (it for it in read_records(tmp_path / "log") if it["event"] == "memory.load")
    assert (one["op"], one["base"], one["length"], one["moved"], one["reason"]) == (
        "load", 0x1000, 8, 8, "fw.bin",
    )  # fmt: skip
    assert (two["op"], two["moved"], two["reason"]) == ("replace", TIB, "fill 0x00")


async def test_a_load_that_cannot_be_recorded_is_taken_back(tmp_path: Path) -> None:
    disk = Disk()
    with AuditLog.open(tmp_path / "log", write=disk.write) as log:
        async with Hub([SPEC], log=log) as hub, await hub.open("/dev/mem", "r+") as mem:
            await mem.pwrite(b"before", 0x5000)
            memory = hub.machines["pc"].memory
            held = memory.files.pages()
            disk.full = True
            with pytest.raises(LogFailed):
                hub.load_memory([fill(0x5003, 100, 7)], clear=True)

            disk.full = False

            assert memory.files.pages() == held
            assert memory.read(0x5000, 6) == b"before"


class Device:
    async def read(self, offset: int, size: int) -> bytes:
        return bytes(size)

    async def write(self, offset: int, data: bytes) -> None:
        pass


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        (0x3FC, r"fw\.bin: 0x3fc/0x8 does not fit: the byte at 0x3fc is not RAM"),
        (0x9F3FC, r"does not fit: the byte at 0x9f400 is not RAM"),
        (0xF0000, r"does not fit: the byte at 0xf0000 is not RAM"),
        (0x200FFC, r"overlaps the device at 0x201000/0x1000: only RAM is loaded"),
        ((1 << 52) - 4, r"past the 52 physical address bits"),
    ],
)
async def test_what_does_not_fit_is_refused_and_nothing_is_loaded(
    tmp_path: Path, base: int, reason: str
) -> None:
    image = tmp_path / "fw.bin"
    image.write_bytes(b"firmware")
    async with Hub([SPEC]) as hub:
        hub.map_device(0x201000, 0x1000, Device())
        contents = [fill(0x1000, 4, 1), *load_image(image, base=base, shown="fw.bin")]
        with pytest.raises(InvalidArgument, match=reason):
            hub.load_memory(contents)

        assert not hub.machines["pc"].memory.files.pages()


NO_CONTENTS: tuple[tuple[Any, str], ...] = (
    (None, "contents None is not several contents"),
    ("text", "contents 'text' is not several contents"),
    (Content(base=0, data=b"x"), r"contents Content\(.* is not several contents"),
    ([b"bytes"], r"contents\[0\] b'bytes' is not a Content"),
    (
        [Content(base=0, data=b"x"), Content(base=2, data="s")],  # type: ignore[arg-type]
        r"contents\[1\].data 's' is not a buffer of bytes",
    ),
    ([Content(base="0", data=b"x")], r"contents\[0\].base '0' is not an integer"),  # type: ignore[arg-type]
    ([Content(base=0, zeros=None)], r"contents\[0\].zeros None is not an integer"),  # type: ignore[arg-type]
)


async def test_nothing_twice_the_same_and_no_content_are_refused() -> None:
    async with Hub([SPEC]) as hub:
        with pytest.raises(InvalidArgument, match="has no bytes to load"):
            hub.load_memory([])

        with pytest.raises(InvalidArgument, match=r"overlaps fill 0x01"):
            hub.load_memory([fill(0x1000, 4, 1), fill(0x1003, 4, 1)])

        with pytest.raises(InvalidArgument, match="an empty list has no bytes to load"):
            hub.load_memory(())

        for wrong, reason in NO_CONTENTS:
            with pytest.raises(TypeError, match=reason):
                hub.load_memory(wrong)

        assert hub.load_memory([Content(base=0x1000, data=bytearray(b"xy"))]) == 2  # type: ignore[arg-type]


async def test_a_save_says_what_it_cannot_do(tmp_path: Path) -> None:
    async with Hub([SPEC]) as hub:
        dump = hub.dump_memory()

    with pytest.raises(ImageError, match="format 'hex' is none of elf, lime, raw"):
        dump.save(tmp_path / "a", "hex")  # type: ignore[arg-type]

    with pytest.raises(ImageError, match="base and length are of a raw file; elf says its"):
        dump.save(tmp_path / "a", base=0)

    with pytest.raises(ImageError, match="length -1 is below 0"):
        dump.save(tmp_path / "a", "raw", base=0, length=-1)

    with pytest.raises(ImageError, match="no RAM of pc is in 0xa0000/0x1000"):
        dump.save(tmp_path / "a", "raw", base=0xA0000, length=0x1000)

    assert not names_in(tmp_path)
    assert pickle.loads(pickle.dumps(dump)) == dump


async def test_memory_that_others_have_mapped_is_loaded_in_place() -> None:
    async with Hub([SPEC]) as hub:
        memory = hub.machines["pc"].memory
        fd = memory.open_ram(writable=False)
        try:
            hub.load_memory([fill(0x100000, 4, 7)], clear=True)
            place = next(it.offset for it in memory.extents if it.base == 0x100000)

            assert os.pread(fd, 4, place) == b"\7" * 4
        finally:
            os.close(fd)


def many_runs() -> list[Content]:
    return [Content(base=at * 8192, data=b"x", zeros=8191) for at in range(66000)]


def test_more_runs_than_e_phnum_counts_are_counted_in_section_header_0() -> None:
    file = io.BytesIO()
    write_core(file, many_runs(), 62, b"")
    written = file.getvalue()

    assert struct.unpack_from("<HHHHHH", written, 52) == (64, 56, 0xFFFF, 64, 1, 0)
    assert struct.unpack_from("<I", written, 64 + 44) == (66001,)


@pytest.mark.campaign
def test_more_runs_than_e_phnum_counts_are_read_again(tmp_path: Path) -> None:
    with (tmp_path / "core").open("wb") as file:
        write_core(file, many_runs(), 62, b"")

    assert list(load_image(tmp_path / "core")) == many_runs()


async def test_a_lime_dump_has_the_header_of_version_1(tmp_path: Path) -> None:
    async with Hub([SPEC]) as hub:
        hub.load_memory([fill(0x1000, 4096, 1)])
        hub.dump_memory().save(tmp_path / "a", "lime")

    assert HEADER.unpack((tmp_path / "a").read_bytes()[:32]) == (0x4C694D45, 1, 0x1000, 0x1FFF)


SMALL = (Region(base=0x800, length=0x2000), Region(base=0x2800, length=0x1900), Region(
    base=0x5000, length=0x1000
))  # fmt: skip
STRETCHES = st.lists(
    st.tuples(st.integers(0x800, 0x6000), st.integers(0, 0x1200), st.integers(0, 0x1200)),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(STRETCHES, st.booleans()), min_size=1, max_size=4))
def test_loads_are_as_a_plain_array_of_bytes_has_them(
    loads: list[tuple[list[tuple[int, int, int]], bool]],
) -> None:
    kept = {at for it in SMALL for at in range(it.base, it.base + it.length)}
    model = dict.fromkeys(kept, 0)
    hub = Hub([MachineSpec(name="pc", arch="amd64", msrs={}, memory=SMALL)])
    memory = hub.machines["pc"].memory
    hub.begin()
    for number, (stretches, clear) in enumerate(loads):
        contents = [
            Content(base=base, data=bytes([1 + number]) * size, zeros=zeros)
            for base, size, zeros in stretches
        ]
        spans = [at for it in contents for at in range(it.base, it.end)]
        fits = len(set(spans)) == len(spans) and set(spans) <= kept
        if not (fits and all(it.end > it.base for it in contents)):
            with pytest.raises(InvalidArgument):
                hub.load_memory(contents, clear=clear)

            continue

        hub.load_memory(contents, clear=clear)
        if clear:
            model = dict.fromkeys(kept, 0)

        for it in contents:
            for at in range(it.base, it.end):
                model[at] = it.data[at - it.base] if at - it.base < len(it.data) else 0

    assert all(memory.read(at, 1)[0] == byte for at, byte in model.items())
    told = {
        it.base + n: byte for it in hub.dump_memory().contents for n, byte in enumerate(it.data)
    }
    assert all(told.get(at, 0) == byte for at, byte in model.items())
    hub.end()
