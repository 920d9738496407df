"""The differences between kernels that a client sees, each as its smallest example."""

from __future__ import annotations

import os
from typing import Any

import pytest

from memhub import Hub, MachineSpec
from memhub.core.drivers.driver import Cpu
from memhub.core.kernel import OptionError
from memhub.core.spec import KernelEntry, KernelMapping, Region
from memhub.errors import BadAddress, BadHandle, DeviceError, InvalidArgument, NotPermitted

pytestmark = pytest.mark.anyio

PAGE = 4096
U64_MAX = (1 << 64) - 1


def spec(arch: str, *pages: tuple[int, int], **fields: Any) -> MachineSpec:
    kmem = tuple(KernelMapping(virtual=v, physical=p, length=PAGE) for v, p in pages)
    given = {"memory": (Region(base=0, length=1 << 20),), "kmem": kmem, **fields}

    return MachineSpec(name="m", arch=arch, cpu=Cpu(phys_bits=36), **given)


async def pread(it: MachineSpec, device: str, length: int, offset: int) -> tuple[str | int, int]:
    """The errno or 0, and how many bytes moved."""
    async with Hub((it,)) as hub, await hub.open(f"/dev/{device}") as handle:
        try:
            return 0, len(await handle.pread(length, offset))
        except DeviceError as error:
            return error.code.name, error.moved


I386 = {"10.4": {}, "12.1": {"release": "12.1"}, "14": {"release": "14"}}
PAE = {"pae": True}


@pytest.mark.parametrize(
    ("options", "offset", "answer"),
    [
        ({}, 1 << 32, "EFAULT"),
        (PAE, 1 << 32, 0),
        (PAE, 1 << 36, "EFAULT"),
        ({"release": "9.3"}, 1 << 32, 0),
        ({"release": "10.4"}, 0xFFFFFFFF00001000, 0),
        ({"release": "12.1"}, 0xFFFFFFFF00001000, 0),
        ({"release": "14"}, 0xFFFFFFFF00001000, "EFAULT"),
        ({"release": "12.1", "pae": True}, 0xFFFFFFFF00001000, "EFAULT"),
    ],
)
async def test_i386_mem_is_bounded_by_release_and_pae(
    options: dict[str, Any], offset: int, answer: str | int
) -> None:
    assert (await pread(spec("i386", options=options), "mem", 2, offset))[0] == answer


async def test_i386_refuses_a_mapping_of_page_0_whole_and_after_progress() -> None:
    it = spec("i386", (0xC0400000, 0x5000), (0xC0401000, 0))

    assert await pread(it, "kmem", 8, 0xC0401064) == ("EFAULT", 0)
    assert await pread(it, "kmem", 16, 0xC0400FF8) == ("EFAULT", 8)


async def test_amd64_refuses_a_mapping_of_page_0_at_its_first_byte_alone() -> None:
    base = 0xFFFFFFFF80200000
    it = spec("amd64", (base, 0x5000), (base + PAGE, 0))

    assert await pread(it, "kmem", 16, base + PAGE) == ("EFAULT", 0)
    assert await pread(it, "kmem", 16, base + PAGE + 1) == (0, 16)
    assert await pread(it, "kmem", 16, base + PAGE - 8) == (0, 8)


@pytest.mark.parametrize(("release", "answer"), [("10.4", "EFAULT"), ("12.1", 0)])
async def test_i386_kmem_offsets_count_modulo_4_gib(release: str, answer: str | int) -> None:
    it = spec("i386", (0xC0400000, 0x5000), options={"release": release})

    assert await pread(it, "kmem", 16, 0x1C0400000) == (0, 16)
    assert (await pread(it, "kmem", 16, 0xFFFFFFFFC0400000))[0] == answer


async def test_an_entry_without_a_page_fails_when_its_turn_comes() -> None:
    entry = KernelEntry(virtual=0xC0400000, length=2 * PAGE, writable=False)
    it = spec("i386", (0xC0400000, 0x5000), kmem_entries=(entry,))

    assert await pread(it, "kmem", 2 * PAGE, 0xC0400000) == ("EFAULT", PAGE)
    assert await pread(it, "kmem", 2 * PAGE + 1, 0xC0400000) == ("EFAULT", 0)
    async with Hub((it,)) as hub, await hub.open("/dev/kmem", "r+") as handle:
        with pytest.raises(BadAddress, match="read-only"):
            await handle.pwrite(b"x", 0xC0400000)


async def test_arm64_returns_the_error_after_progress_and_reaches_its_direct_map() -> None:
    base = 0xFFFF000000000000
    it = spec("arm64", (base, 0x5000), (base + PAGE, 0x80000000))

    assert await pread(it, "kmem", 2 * PAGE, base) == ("EFAULT", PAGE)
    assert await pread(it, "mem", 16, 0x80000000) == ("EFAULT", 0)
    assert await pread(it, "kmem", 16, 0xFFFFFD0000001000) == (0, 16)


async def test_powerpc_reaches_ram_and_takes_other_kernel_addresses_for_physical() -> None:
    it = spec("powerpc64", (0xE000000000001000, 0x5000))

    assert await pread(it, "mem", 16, 1 << 20) == ("EFAULT", 0)
    assert await pread(it, "mem", 16, (1 << 20) - 8) == ("EFAULT", 8)
    assert await pread(it, "mem", PAGE + 8, (1 << 20) - PAGE) == ("EFAULT", PAGE)
    assert await pread(it, "kmem", 16, 0x1000) == (0, 16)
    assert await pread(it, "kmem", 2 * PAGE, 0xE000000000001000) == ("EFAULT", 0)
    assert await pread(it, "kmem", 16, 0xC000000000001000) == ("EFAULT", 0)
    later = spec("powerpc64", options={"release": "14"})
    assert await pread(later, "kmem", 16, 0xC000000000001000) == (0, 16)


async def test_an_access_may_not_end_past_the_kernels_map() -> None:
    """powerpc's map ends one byte before a page does, so its last byte cannot be read."""
    last = 0xE0000007FFFFF000
    it = spec("powerpc64", (last, 0x5000))

    assert await pread(it, "kmem", PAGE - 1, last) == (0, PAGE - 1)
    assert await pread(it, "kmem", PAGE, last) == ("EFAULT", 0)


async def test_explain_goes_where_a_read_goes() -> None:
    it = spec("powerpc64", (0xE000000000001000, 0x5000))
    async with Hub((it,)) as hub, await hub.open("/dev/kmem") as handle:
        assert (await handle.explain(0x1234)).physical == 0x1234
        assert (await handle.explain(0xE000000000001010)).physical == 0x5010
        with pytest.raises(BadAddress):
            await handle.explain(0xE000000000002000)


async def test_seek_wraps_and_the_end_is_the_start() -> None:
    async with Hub((spec("amd64"),)) as hub, await hub.open("/dev/mem") as handle:
        assert await handle.seek(5, os.SEEK_END) == 5
        assert await handle.seek(-6, os.SEEK_CUR) == U64_MAX
        assert await handle.seek(2, os.SEEK_CUR) == 1
        assert await handle.seek(-1) == U64_MAX
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            with pytest.raises(DeviceError) as caught:
                await handle.seek(0, whence)

            assert caught.value.code.name == "ENOTTY"

        with pytest.raises(InvalidArgument, match="whence 5"):
            await handle.seek(0, 5)

        assert handle.file.offset == U64_MAX


async def test_an_offset_wraps_with_the_bytes_that_move() -> None:
    async with Hub((spec("i386"),)) as hub, await hub.open("/dev/mem") as handle:
        await handle.seek(U64_MAX - 7)
        assert await handle.read(16) == b"\xff" * 8 + bytes(8)
        assert handle.file.offset == 8


async def test_a_length_that_no_transfer_has_comes_before_a_handle_not_open_for_it() -> None:
    for arch, length in (("i386", 1 << 31), ("amd64", 1 << 63)):
        async with Hub((spec(arch),)) as hub, await hub.open("/dev/mem", "w") as handle:
            with pytest.raises(InvalidArgument):
                await handle.pread(length, 0)

            with pytest.raises(BadHandle):
                await handle.pread(length - 1, 0)


@pytest.mark.parametrize(("release", "may"), [("12.1", False), ("9.3", True)])
async def test_writing_needs_privilege_and_reading_does_not(release: str, may: bool) -> None:
    async with Hub((spec("i386", options={"release": release}),)) as hub:
        process = hub.process("guest", privileged=False)
        (await process.open("/dev/mem")).close()
        if may:
            (await process.open("/dev/mem", "r+")).close()
        else:
            with pytest.raises(NotPermitted, match="not root"):
                await process.open("/dev/mem", "r+")

        process.close()


@pytest.mark.parametrize(
    ("arch", "options", "message"),
    [
        ("i386", {"release": "11"}, 'release: \'11\' is none of the releases "9.3", "10.4"'),
        ("i386", {"release": 12.1}, "release: 12.1 is none of the releases"),
        ("i386", {"pae": 1}, "pae: 1 is not true or false"),
        ("arm64", {"release": "14"}, "release: '14' is none of the releases \"12.1\""),
        ("amd64", {"pae": True}, "pae"),
    ],
)
def test_a_kernel_that_there_is_not_is_refused(
    arch: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        Hub((spec(arch, options=options),))
