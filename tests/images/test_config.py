"""Images in a machine's table: where they lie, how they are written back, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from images.files import Segment, elf, ihex
from memhub import Hub, load_arches, load_config
from memhub.config import ConfigError, to_toml
from memhub.core.machine import Machine
from memhub.core.spec import Content, MachineSpec, Region
from memhub.images import address_words, fill, repeat

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = """
[machines.pc]
arch = "amd64"
phys_bits = 52
memory = [
    { base = 0, length = 0xa0000 },
    { base = 0xf0000, length = 0x10000, kind = "rom" },
    { base = 0x100000, length = "64M" },
    { base = 0x8000000000000, length = "1M", kind = "nvs" },
]
"""


def loaded(folder: Path, images: str, machine: str = MACHINE) -> MachineSpec:
    """The machine of a file with these images."""
    path = folder / "lab.toml"
    path.write_text(f"{machine}\n{images}")

    return load_config(path, arches=load_arches()).machines["pc"]


def held(spec: MachineSpec) -> Machine:
    return Machine.make(spec, load_arches()[spec.arch])


def test_a_machine_begins_with_its_images(tmp_path: Path) -> None:
    (tmp_path / "bios.bin").write_bytes(b"BIOS")
    (tmp_path / "fw").mkdir()
    (tmp_path / "fw" / "fw.hex").write_text(ihex((4, 0, b"\0\x10"), (0, 0, b"fw"), (1, 0, b"")))
    (tmp_path / "kernel").write_bytes(elf(Segment(0xFFFFFFFF80200000, b"kernel")))
    spec = loaded(
        tmp_path,
        """
        [[machines.pc.images]]
        path = "bios.bin"
        base = 0xfffc

        [[machines.pc.images]]
        path = "fw/fw.hex"

        [[machines.pc.images]]
        path = "kernel"
        offset = 0x80000000

        [[machines.pc.images]]
        base = 0xf0010
        hex = "55 aa"

        [[machines.pc.images]]
        base = 0x8000000000000
        length = 8
        fill = 0xa5

        [[machines.pc.images]]
        base = 0x8000000000010
        length = 5
        pattern = "dead"

        [[machines.pc.images]]
        base = 0x8000000000018
        length = 8
        address_words = 4
        """,
    )
    memory = held(spec).memory

    assert memory.read(0xFFFC, 4) == b"BIOS"
    assert memory.read(0x100000, 4) == b"fw\0\0"
    assert memory.read(0x200000, 6) == b"kernel"
    assert memory.read(0xF000E, 5) == b"\xff\xff\x55\xaa\xff"
    assert memory.read(1 << 51, 21) == b"\xa5" * 8 + bytes(8) + b"\xde\xad\xde\xad\xde"
    assert memory.read((1 << 51) + 0x18, 8) == bytes.fromhex("180000001c000000")


def test_what_is_loaded_is_written_back_as_toml(tmp_path: Path) -> None:
    contents = (
        Content(base=0x5000, data=b"abc", zeros=9),
        fill(0x1000, 0x100),
        repeat((1 << 51) + 1, 9, b"xyz"),
    )
    spec = replace(loaded(tmp_path, ""), contents=contents)
    path = tmp_path / "back.toml"
    path.write_text(to_toml(spec))

    assert load_config(path).machines["pc"].contents == contents


def test_images_fit_an_ordinary_machine_whose_memory_nobody_described(tmp_path: Path) -> None:
    machine = '[machines.pc]\narch = "amd64"\n'
    image = "[[machines.pc.images]]\nbase = {}\nhex = '00'\n"

    memory = held(loaded(tmp_path, image.format("0x100000"), machine)).memory

    assert memory.ram_top > 0x100000
    with pytest.raises(ConfigError, match="nothing keeps the byte at 0xa0000"):
        loaded(tmp_path, image.format("0xa0000"), machine)


REFUSED = {
    "nothing": ("base = 0", r"images\[0\]: has one of path, hex, fill, .*; none given"),
    "a letter": ("base = 0\nhex = '00 zz'", r"hex: 'z' at place 3 is no hexadecimal digit"),
    "half a byte": (
        "base = 0\nhex = '00 1'",
        r"hex: has a hexadecimal digit alone; two make a byte",
    ),
    "no pattern": ("base = 0\nlength = 4\npattern = ''", r"pattern: is an empty string"),
    "two": ("base = 0\nhex = '00'\nfill = 0", r"images\[0\]: has one of .*; hex and fill given"),
    "no file": (
        "path = 'none.bin'\nbase = 0",
        r"images\[0\]\.path: 'none\.bin' cannot be read: No",
    ),
    "no base": ("path = 'raw.bin'", r"path: raw\.bin: is raw, which says no address"),
    "a cut file": ("path = 'cut.hex'", r"path: cut\.hex: is truncated"),
    "a format": ("path = 'raw.bin'\nformat = 'hex'", r"format: 'hex' is not a format \(raw, ihex"),
    "a hole": (
        "path = 'raw.bin'\nbase = 0x9fffe",
        r"images: raw\.bin: 0x9fffe/0x4 .* byte at 0xa0000",
    ),
    "past the end": ("base = 0xffffffffffffe\nfill = 1\nlength = 4", r"past the 52 physical"),
    "no length": ("base = 0\nfill = 1", r"length: is missing"),
    "too short": ("base = 0\nhex = '0000'\nlength = 1", r"hex: holds 0x2 bytes, more than the"),
    "no byte": ("base = 0\nlength = 1\nfill = 256", r"fill: 0x100 is not between 0x0 and 0xff"),
    "no word": ("base = 1\nlength = 8\naddress_words = 8", r"0x1/0x8 is not in whole words of 8"),
    "odd words": ("base = 0\nlength = 8\naddress_words = 5", r"words of 5 bytes: an address has 4"),
    "too much": ("base = 0\nlength = '2G'\nfill = 1", r"length 0x80000000 is more than a pattern"),
    "a key": ("base = 0\nhex = '00'\nformat = 'raw'", r"images\[0\]\.format: is not a key"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_image_that_cannot_be_is_refused_with_its_key(tmp_path: Path, what: str) -> None:
    image, reason = REFUSED[what]
    (tmp_path / "raw.bin").write_bytes(b"raw!")
    (tmp_path / "cut.hex").write_text(ihex((0, 0, b"x")))

    with pytest.raises(ConfigError, match=reason):
        loaded(tmp_path, f"[[machines.pc.images]]\n{image}")


def test_images_that_overlap_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"abcd")
    images = "[[machines.pc.images]]\npath='a.bin'\nbase=0x1000\n" * 2

    with pytest.raises(
        ConfigError, match=r"images: a\.bin: 0x1000/0x4 overlaps a\.bin: 0x1000/0x4"
    ):
        loaded(tmp_path, images)


def test_an_image_over_the_data_of_a_region_is_refused() -> None:
    spec = MachineSpec(
        arch="amd64",
        memory=(Region(base=0, length=4096, data=b"12345"),),
        contents=(Content(base=4, data=b"x", source="a.bin"),),
    )

    with pytest.raises(ValueError, match=r"a\.bin: 0x4/0x1 overlaps the data of the ram region at"):
        Hub([spec])


def test_an_image_over_two_regions_that_touch_is_in_both() -> None:
    spec = MachineSpec(
        arch="amd64",
        memory=(Region(base=0, length=0x1800), Region(base=0x1800, length=0x800, kind="acpi")),
        contents=(address_words(0x1000, 0x1000),),
    )

    assert held(spec).memory.read(0x17F8, 16) == b"\xf8\x17" + bytes(6) + b"\0\x18" + bytes(6)


def test_a_rom_keeps_contents_up_to_a_limit() -> None:
    rom = Region(base=0, length=1 << 30, kind="rom")
    spec = MachineSpec(arch="amd64", memory=(rom,), contents=(fill(1 << 28, 1, 7),))

    with pytest.raises(ValueError, match="is further than 0x10000000 bytes into the ROM"):
        Hub([spec])


def test_wrong_contents_are_named_with_their_place() -> None:
    wrong = MachineSpec(arch="amd64", contents=(Content(base=-1, data="x"),))  # type: ignore[arg-type]

    with pytest.raises(ValueError, match=r"contents\[0\]\.base: -0x1 is not between") as refused:
        Hub([wrong])

    assert "contents[0].data: is a string, not bytes" in str(refused.value)
