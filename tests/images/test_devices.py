"""Images beside declared devices: what a device answers, or keeps itself, is not loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from memhub import DeviceSpec, Hub, MachineSpec, Region, load_arches, load_config
from memhub.config import ConfigError
from memhub.core.spec import Content
from memhub.errors import InvalidArgument
from memhub.images import fill
from memhub.kvm import open_image

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

CARD, UART, ROM = 0xD0000000, 0xFE000000, 0xF0000
SPEC = MachineSpec(
    name="pc",
    arch="amd64",
    msrs={},
    memory=(Region(base=0, length=0xA0000), Region(base=ROM, length=0x10000, kind="rom")),
    devices=(
        DeviceSpec(
            name="card", kind="frame-buffer", base=CARD, options={"width": 64, "height": 16}
        ),
        DeviceSpec(name="com1", kind="uart-16550", base=UART),
        DeviceSpec(name="com2", kind="uart-16550", base=ROM + 0x8000),
    ),
)


@pytest.mark.parametrize("base", [CARD, UART])
async def test_a_device_is_neither_begun_with_nor_loaded(base: int) -> None:
    with pytest.raises(
        ValueError, match=r"memory of a device at 0xd0000000|nothing keeps the byte"
    ):
        Hub([replace(SPEC, contents=(fill(base, 4, 1),))])

    async with Hub([SPEC]) as hub:
        with pytest.raises(InvalidArgument, match=r"is not RAM|overlaps the device at"):
            hub.load_memory([fill(base, 4, 1)])


def test_an_image_in_a_rom_is_not_under_a_device() -> None:
    contents = (Content(base=ROM + 0x8000, data=b"x", source="bios.bin"),)

    with pytest.raises(ValueError, match=r"bios\.bin: 0xf8000/0x1 overlaps .*com2"):
        Hub([replace(SPEC, contents=contents)])

    below = Hub([replace(SPEC, contents=(fill(ROM, 0x8000, 1),))])
    assert below.machines["pc"].memory.read(ROM + 0x7FFF, 1) == b"\1"


async def test_what_a_device_keeps_is_neither_dumped_nor_cleared(tmp_path: Path) -> None:
    async with Hub([SPEC]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"pixels", CARD)
        await mem.pwrite(b"memory", 0x1000)
        dump = hub.dump_memory()
        hub.load_memory([fill(0x2000, 4, 1)], clear=True)

        assert await mem.pread(6, CARD) == b"pixels"
        assert await mem.pread(6, 0x1000) == bytes(6)

    assert all(it.end <= 0xA0000 for it in dump.contents)
    dump.save(tmp_path / "core")
    with open_image(tmp_path / "core") as kd:
        assert kd.read(0xFFFFF80000001000, 6) == b"memory"


def test_a_file_of_machines_is_refused_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(
        '[machines.pc]\narch = "amd64"\n[machines.pc.devices.card]\nkind = "frame-buffer"\n'
        "base = 0xd0000000\noptions = { width = 64, height = 16 }\n"
        "[[machines.pc.images]]\nbase = 0xd0000000\nfill = 1\nlength = 4\n"
    )

    with pytest.raises(ConfigError, match=r"machines\.pc\.images: fill 0x01: 0xd0000000/0x4"):
        load_config(path, arches=load_arches())
