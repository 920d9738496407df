"""Reads and writes through handles: how each architecture ends a transfer, and where kmem leads."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.test_memory import pages_held
from memhub import Region
from memhub.abi import MDF_WRITEPROTECT, U64_MAX
from memhub.errors import BadAddress
from shell.kit import DIRECT, MTRR, OLD, PAT, K, M, lab

if TYPE_CHECKING:
    from pathlib import Path

    from memhub import MachineSpec, Process

TOP = 1 << 36
TOP32 = 1 << 32
UAREA = 0xF0000000 - 2 * 4096


async def test_an_amd64_transfer_that_moved_a_byte_is_a_short_count(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        assert await handle.pread(8192, TOP - 4096) == b"\xff" * 4096
        assert await handle.pwrite(bytes(8192), TOP - 1) == 1

        await handle.seek(TOP - 10)
        assert len(await handle.read(4096)) == 10
        assert handle.file.offset == TOP

        with pytest.raises(BadAddress) as caught:
            await handle.read(1)

        assert (caught.value.moved, handle.file.offset) == (0, TOP)
        moved = [(r["length"], r["moved"], r["errno"]) for r in rig.news()[1:]]
        assert moved == [
            (8192, 4096, None),
            (8192, 1, None),
            (4096, 10, None),
            (1, 0, "EFAULT"),
        ]


@pytest.mark.skipif(sys.platform != "linux", reason="counts the pages of a memfd")
@pytest.mark.parametrize(("path", "start"), [("/dev/mem", 0), ("/dev/kmem", DIRECT)])
async def test_reading_a_gibibyte_that_nobody_wrote_takes_no_page(
    tmp_path: Path, path: str, start: int
) -> None:
    spec = replace(PAT, memory=(Region(base=0, length=1024 * M),))
    async with lab(tmp_path, spec) as rig, await rig.hub.open(path) as handle:
        zeros = bytes(M)
        for offset in range(4096, 1024 * M, M):
            length = min(M, 1024 * M - offset)
            assert await handle.pread(length, start + offset) == zeros[:length]

        assert pages_held(rig.hub.machines["pat"].memory) == 0


async def test_an_i386_transfer_fails_after_progress_and_the_offset_has_advanced(
    tmp_path: Path,
) -> None:
    """Without PAE the bound is 4 GiB, whatever the CPU's width."""
    async with lab(tmp_path, OLD) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        await handle.seek(TOP32 - 10)
        with pytest.raises(BadAddress) as caught:
            await handle.read(4096)

        assert (caught.value.moved, handle.file.offset) == (10, TOP32)
        with pytest.raises(BadAddress) as caught:
            await handle.pwrite(bytes(20), TOP32 - 3)

        assert (caught.value.moved, handle.file.offset) == (3, TOP32)
        moved = [(r["length"], r["moved"], r["errno"]) for r in rig.news()[1:]]
        assert moved == [(4096, 10, "EFAULT"), (20, 3, "EFAULT")]


async def test_i386_kmem_checks_the_whole_span_before_it_moves_a_byte(tmp_path: Path) -> None:
    last = 0xC0000000 + 64 * K - 8
    async with lab(tmp_path, OLD) as rig, await rig.hub.open("/dev/kmem", "r+") as handle:
        assert await handle.pwrite(b"01234567", last) == 8
        before = rig.state()
        for request in (handle.pwrite(b"x" * 9, last), handle.pread(9, last)):
            with pytest.raises(BadAddress) as caught:
                await request

            assert caught.value.moved == 0

        assert rig.state() == before


async def test_amd64_kmem_ends_where_its_mapping_does(tmp_path: Path) -> None:
    kernel = 0xFFFFFFFF80100000
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/kmem", "r+") as handle:
        assert await handle.pwrite(b"x" * 100, kernel + 64 * K - 10) == 10
        assert await handle.pread(100, kernel + 128 * K - 10) == bytes(10)
        assert await handle.pread(10, DIRECT + M + 64 * K - 10) == b"x" * 10

        await handle.seek(kernel + 64 * K - 10)
        assert await handle.read(10) == b"x" * 10
        assert handle.file.offset == kernel + 64 * K


async def test_mem_and_kmem_show_the_same_bytes(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT, OLD) as rig:
        process, handles = rig.hub.process(), []
        for machine, virtual in (("pat", DIRECT + 0x2000), ("old", 0xC0002000)):
            mem = await process.open(f"{machine}:/dev/mem", "r+")
            kmem = await process.open(f"{machine}:/dev/kmem", "r+")
            handles += [mem, kmem]
            await mem.pwrite(b"physical", 0x2000)
            assert await kmem.pread(8, virtual) == b"physical"
            await kmem.pwrite(b"virtual!", virtual)
            assert await mem.pread(8, 0x2000) == b"virtual!"

        process.close()


async def test_each_process_sees_its_own_u_area(tmp_path: Path) -> None:
    async with lab(tmp_path, OLD) as rig:
        one, two = rig.hub.process("one"), rig.hub.process("two")
        a, b, also = (
            await one.open("/dev/kmem", "r+"),
            await two.open("/dev/kmem", "r+"),
            await one.open("/dev/kmem", "r"),
        )
        await a.pwrite(b"ours", UAREA + 4094)

        assert await also.pread(4, UAREA + 4094) == b"ours"
        assert await b.pread(4, UAREA + 4094) == bytes(4)
        one.close()

        again = await one_more(rig.hub.process("one"))
        assert again == bytes(4)
        two.close()


async def one_more(process: Process) -> bytes:
    async with await process.open("/dev/kmem") as handle:
        return bytes(await handle.pread(4, UAREA + 4094))


@pytest.mark.parametrize("machine", [PAT, MTRR, OLD], ids=lambda spec: spec.name)
async def test_open_bus_reads_ones_and_swallows_writes(
    tmp_path: Path, machine: MachineSpec
) -> None:
    async with lab(tmp_path, machine) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        assert await handle.pwrite(b"gone", 0xA0000) == 4
        assert await handle.pread(4, 0xA0000) == b"\xff" * 4
        assert await handle.pread(8, 0xA0000 - 4) == bytes(4) + b"\xff" * 4


async def test_a_write_into_protected_memory_ends_at_its_first_byte(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        await handle.set_range(M + 4096, 4096, MDF_WRITEPROTECT)

        assert await handle.pwrite(b"w" * 8192, M + 4000) == 96
        assert await handle.pread(98, M + 4000) == b"w" * 96 + bytes(2)
        with pytest.raises(BadAddress, match="protect"):
            await handle.pwrite(b"w", M + 4096)

        await handle.remove_range(M + 4096, 4096)
        assert await handle.pwrite(b"w", M + 4096) == 1


async def test_empty_transfers_move_nothing_and_fail_nowhere(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT, OLD) as rig:
        for path in ("/dev/mem", "old:/dev/kmem"):
            async with await rig.hub.open(path, "r+") as handle:
                assert await handle.pread(0, U64_MAX) == b""
                assert await handle.pwrite(b"", U64_MAX) == 0


async def test_any_buffer_can_be_written(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        for data in (b"bytes", bytearray(b"array"), memoryview(b"a view")[2:]):
            await handle.pwrite(data, 0x100)
            assert await handle.pread(len(data), 0x100) == bytes(data)


async def test_the_nowait_methods_do_the_same_in_one_go(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        assert handle.write_nowait(b"01234") == 5
        assert handle.seek_nowait(1) == 1
        assert handle.read_nowait(3) == b"123"
        assert handle.pwrite_nowait(b"9", 2) == 1
        assert handle.pread_nowait(3, 1) == b"193"
        assert [r["op"] for r in rig.news()[1:]] == ["write", "read", "pwrite", "pread"]
