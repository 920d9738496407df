"""A raw file goes back where it came from, over the holes, ROM and devices of the machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memhub import DeviceSpec, Hub, MachineSpec, Region
from memhub.core.spec import Content
from memhub.errors import InvalidArgument
from memhub.images import fill, load_image
from memhub.images.packed import pack_contents, unpack_contents
from memhub.kvm import open_image

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

M = 1 << 20
MEMORY = (
    Region(base=0, length=0xA0000),
    Region(base=0xF0000, length=0x8000, kind="rom", data=b"rom"),
    Region(base=M, length=7 * M),
)
SPEC = MachineSpec(
    name="pc",
    arch="amd64",
    msrs={},
    memory=MEMORY,
    devices=(DeviceSpec(name="vga", kind="vga-text"),),
)


async def saved(path: Path) -> None:
    async with Hub([SPEC]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"low", 0x9FFFD)
        await mem.pwrite(b"high", M)
        hub.dump_memory().save(path, "raw", base=0, length=8 * M)


class Device:
    async def read(self, offset: int, size: int) -> bytes:
        return b"d" * size

    async def write(self, offset: int, data: bytes) -> None:
        pass


@pytest.mark.parametrize("packed", [False, True])
async def test_it_is_loaded_and_what_else_there_is_stays(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "pc.raw"
    await saved(path)
    contents = load_image(path, base=0)
    if packed:
        contents = unpack_contents(pack_contents(contents))

    async with Hub([SPEC]) as hub, await hub.open("/dev/mem", "r+") as mem:
        hub.map_device(0xE0000, 0x1000, Device())
        await mem.pwrite(b"older", 0x5000)
        await mem.pwrite(b"older", 2 * M)
        await mem.pwrite(b"shown", 0xB8000)
        hub.load_memory(contents)

        assert await mem.pread(3, 0x9FFFD) + await mem.pread(4, M) == b"lowhigh"
        assert await mem.pread(5, 0x5000) + await mem.pread(5, 2 * M) == bytes(10)
        assert await mem.pread(5, 0xB8000) == b"shown"
        assert await mem.pread(3, 0xF0000) == b"rom"
        assert await mem.pread(4, 0xE0000) == b"dddd"


async def test_a_machine_begins_with_it_and_kvm_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "pc.raw"
    await saved(path)
    contents = load_image(path, base=0)
    async with (
        Hub([replace(SPEC, contents=contents)]) as hub,
        await hub.open("/dev/mem") as mem,
    ):
        assert await mem.pread(3, 0x9FFFD) + await mem.pread(4, M) == b"lowhigh"
        assert await mem.pread(3, 0xF0000) == b"rom"

    with open_image(path, SPEC, base=0) as kd:
        assert kd.read(0xFFFFF80000000000 + M, 4) == b"high"


@pytest.mark.parametrize(
    "contents",
    [
        (Content(base=0x9FFFF, data=b"xx", zeros=0x100000, loose=True),),
        (Content(base=0xA0000, data=b"x", loose=True),),
        (fill(0xA0000, 0x1000, 0),),
        (Content(base=0x9F000, zeros=0x2000),),
    ],
)
async def test_bytes_and_zeros_that_are_meant_still_have_to_fit(
    contents: tuple[Content, ...],
) -> None:
    async with Hub([SPEC]) as hub:
        with pytest.raises(InvalidArgument, match="the byte at 0xa0000 is not RAM"):
            hub.load_memory(contents)

    with pytest.raises(ValueError, match="nothing keeps the byte at 0xa0000"):
        Hub([replace(SPEC, contents=contents)])


@settings(max_examples=40)
@given(data=st.data())
def test_random_stretches_of_zeros_are_put_where_memory_is(data: Any) -> None:
    """By byte, against a dictionary; pages are 16 bytes here, and the map has every kind."""
    from memhub.core.memory.physical import PhysicalMemory

    kinds = data.draw(
        st.lists(st.sampled_from(["ram", "rom", "device", "nvs", None]), min_size=1, max_size=6)
    )
    regions = [
        Region(base=at << 12, length=0x1000, kind=kind, data=b"R" * 8 if kind == "rom" else b"")
        for at, kind in enumerate(kinds)
        if kind is not None
    ]
    base = data.draw(st.integers(0, 0x6000))
    zeros = data.draw(st.integers(1, 0x6000))
    memory = PhysicalMemory(40, regions, [Content(base=base, zeros=zeros, loose=True)])
    for at, kind in enumerate(kinds):
        for place in (0, 8, 0xFFF):
            address = (at << 12) + place
            expected = {"rom": 82 if place < 8 else 255, None: 255}.get(kind, 0)
            if kind == "rom" and place >= 8 and base <= address < base + zeros:
                expected = 0

            assert memory.read(address, 1)[0] == expected, hex(address)

    memory.close()
