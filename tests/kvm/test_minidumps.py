"""Minidumps of FreeBSD/amd64, against an independent writer; and files that are wrong."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvm.minidump_writer import DIRECT, K4, KERNEL, M2, Minidump, random_minidump
from memhub import MachineSpec
from memhub.errors import BadAddress
from memhub.images import ImageError, load_image
from memhub.kvm import Kvm, KvmError, open_image
from memhub.kvm.dead import TranslatedImage
from memhub.kvm.minidump import read_minidump

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = (1, 2, 3)


def opened(data: bytes) -> TranslatedImage:
    fd = os.memfd_create("minidump")
    os.write(fd, data)
    try:
        return TranslatedImage(*read_minidump(fd, "vmcore"))
    except BaseException:
        os.close(fd)
        raise


@pytest.mark.parametrize("version", VERSIONS)
@given(seed=st.integers(0, 1 << 32))
def test_reads_are_those_of_an_independent_writer(version: int, seed: int) -> None:
    chance = Random(seed)
    model = random_minidump(chance, version)
    image = opened(model.to_bytes())
    places = [*model.small, *model.large, *(DIRECT + at for at in model.pages)]
    for _ in range(20):
        base = chance.choice(places) + chance.choice((0, K4, chance.randrange(-64, M2)))
        length = chance.choice((1, 8, 100, 5000))
        expected = model.read(base, length)
        if expected:
            assert image.pread(length, base) == expected
            continue

        with pytest.raises(BadAddress, match=rf"^EFAULT: kernel address {base:#x}"):
            image.pread(length, base)

    image.close()


def small(version: int = 3) -> Minidump:
    return Minidump(version, {0x200000: b"found".ljust(K4, b"\0")}, {KERNEL + K4: 0x200000})


@pytest.mark.parametrize("version", VERSIONS)
def test_a_minidump_is_opened_by_its_first_bytes(version: int, tmp_path: Path) -> None:
    path = tmp_path / "vmcore.0"
    path.write_bytes(small(version).to_bytes())
    with open_image(path, symbols={"it": KERNEL + K4}) as kd:
        assert isinstance(kd, Kvm)
        (it,) = kd.nlist(["it"])
        assert kd.read(it.n_value, 5) == b"found"
        assert kd.read(DIRECT + 0x200000, 5) == b"found"
        assert not kd.alive
        for address, reason in (
            (KERNEL, "not mapped: its entry is 0x0"),
            (0x1000, "is below what the minidump has"),
            (KERNEL + (1 << 40), "is behind the tables of the minidump"),
            (DIRECT + 0x300000, "which is not in the image"),
        ):
            with pytest.raises(KvmError, match=reason):
                kd.read(address, 1)


def changed(at: int, packed: bytes, version: int = 3) -> bytes:
    data = bytearray(small(version).to_bytes())
    data[at : at + len(packed)] = packed

    return bytes(data)


WRONG: dict[str, tuple[bytes, str]] = {
    "short": (small().to_bytes()[:60], "is truncated: a minidump has a header of a page"),
    "version": (changed(24, struct.pack("<I", 4)), "is a minidump of version 4, and those of 1"),
    "bitmap": (changed(32, struct.pack("<I", 12)), "its bitmap have 0xc bytes, no multiple of 8"),
    "large": (changed(36, struct.pack("<I", 1 << 31)), "its page tables have 0x80000000 bytes"),
    "bitmap end": (changed(32, struct.pack("<I", 1 << 20)), "is truncated: its bitmap end at"),
    "pages": (small().to_bytes()[:-1], "is truncated: its pages end at 0x"),
    "messages": (changed(28, b"\xff" * 4), "is truncated: its ranges end at 0x"),
    "range": (changed(2 * K4, struct.pack("<QQ", 9, 8)), "range of memory 0x9 to 0x8 is empty"),
    "bits": (changed(2 * K4, struct.pack("<QQ", 0x1000, 0x2000)), "a page that is in no range"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_minidump_that_is_wrong_is_refused(what: str, tmp_path: Path) -> None:
    data, reason = WRONG[what]
    path = tmp_path / "vmcore.0"
    path.write_bytes(data)
    if what == "bits":  # its second range goes too
        path.write_bytes(data[: 2 * K4 + 16] + bytes(32) + data[2 * K4 + 48 :])

    with pytest.raises(ImageError, match=reason):
        open_image(path)


PC = MachineSpec(name="pc", arch="amd64")


@pytest.mark.parametrize("given", [{"tables": "amd64"}, {"cr3": 0}, {"base": 0}, {"machine": PC}])
def test_a_minidump_says_all_itself(given: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "vmcore.0"
    path.write_bytes(small().to_bytes())
    with pytest.raises(ImageError, match="which says all itself: give no machine, tables, cr3"):
        open_image(path, **given)


@given(data=st.data())
def test_damaged_minidumps_are_refused_or_read(data: Any) -> None:
    packed = bytearray(small(data.draw(st.sampled_from(VERSIONS))).to_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 88) | st.integers(K4, len(packed) - 1))
        packed[at] = data.draw(st.integers(0, 255))

    try:
        image = opened(bytes(packed))
    except ImageError:
        return

    for address in (KERNEL, KERNEL + K4, DIRECT, DIRECT + 0x200000):
        with suppress(BadAddress):
            assert len(image.pread(16, address)) <= 16

    image.close()


def test_a_minidump_is_no_image_of_physical_memory(tmp_path: Path) -> None:
    path = tmp_path / "vmcore.0"
    path.write_bytes(small().to_bytes())
    with pytest.raises(ImageError, match="is a FreeBSD minidump"):
        load_image(path, base=0)
