"""Device models: what a handle does while one answers, fails, blocks or is cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import numpy as np
import pytest

from memhub.abi import MDF_WRITECOMBINE, Errno
from memhub.errors import BadAddress, BadHandle, DeviceError
from shell.kit import OLD, PAT, M, lab

if TYPE_CHECKING:
    from pathlib import Path

BASE = 0x20000000


class Registers:
    """A device of 16 KiB that answers from an array after a checkpoint."""

    def __init__(self) -> None:
        self.bytes = bytearray(range(256)) * 64
        self.accesses: list[tuple[str, int, int]] = []

    async def read(self, offset: int, size: int) -> bytes:
        await anyio.lowlevel.checkpoint()
        self.accesses.append(("read", offset, size))

        return bytes(self.bytes[offset : offset + size])

    async def write(self, offset: int, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        self.accesses.append(("write", offset, len(data)))
        self.bytes[offset : offset + len(data)] = data


class Stuck:
    """A device that answers nothing until it is let go."""

    def __init__(self) -> None:
        self.asked = anyio.Event()
        self.go = anyio.Event()

    async def read(self, offset: int, size: int) -> bytes:
        self.asked.set()
        await self.go.wait()

        return bytes(size)

    async def write(self, offset: int, data: bytes) -> None:
        self.asked.set()
        await self.go.wait()


class Failing:
    """A device whose second page cannot be reached."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def read(self, offset: int, size: int) -> bytes:
        if offset >= 4096:
            raise self.error

        return b"d" * size

    async def write(self, offset: int, data: bytes) -> None:
        if offset >= 4096:
            raise self.error


async def test_a_device_answers_page_by_page_and_memory_around_it_by_itself(tmp_path: Path) -> None:
    device = Registers()
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        rig.hub.map_device(2 * M + 100, 8192, device)
        await handle.pwrite(b"before", 2 * M + 94)
        data = await handle.pread(8400, 2 * M + 50)

        assert data[44:50] == b"before"
        assert data[50 : 50 + 8192] == bytes(device.bytes[:8192])
        assert data[50 + 8192 :] == bytes(8400 - 50 - 8192)
        assert device.accesses == [("read", 0, 3996), ("read", 3996, 4096), ("read", 8092, 100)]

        assert await handle.pwrite(b"wwxyzz", 2 * M + 98) == 6
        assert (bytes(device.bytes[:4]), await handle.pread(2, 2 * M + 98)) == (b"xyzz", b"ww")
        records = [(r["op"], r["moved"], r["errno"]) for r in rig.news()[1:]]
        assert records == [
            ("pwrite", 6, None),
            ("pread", 8400, None),
            ("pwrite", 6, None),
            ("pread", 2, None),
        ]


async def test_reads_and_writes_of_a_device_move_the_offset(tmp_path: Path) -> None:
    async with lab(tmp_path, OLD) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        rig.hub.map_device(BASE, 16384, Registers(), machine="old")
        await handle.seek(BASE + 1)

        assert await handle.read(3) == b"\1\2\3"
        assert await handle.write(b"ab") == 2
        assert await handle.read(2) == b"\6\7"
        assert handle.file.offset == BASE + 8


async def test_without_waiting_a_device_cannot_be_reached(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        rig.hub.map_device(BASE, 4096, Registers())
        rig.news()
        for attempt in (
            lambda: handle.pread_nowait(1, BASE),
            lambda: handle.pwrite_nowait(b"x", BASE),
            lambda: handle.pread_nowait(8, BASE - 4),
        ):
            with pytest.raises(anyio.WouldBlock):
                attempt()

        assert rig.news() == []


async def test_others_go_on_while_a_device_makes_one_client_wait(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        device = Stuck()
        rig.hub.map_device(BASE, 4096, device)
        process = rig.hub.process()
        slow, quick = await process.open("/dev/mem", "r+"), await rig.hub.open("/dev/mem", "r+")
        answers: list[bytes] = []

        async def wait() -> None:
            answers.append(await slow.pread(4, BASE))

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await device.asked.wait()
                await quick.write(b"meanwhile")
                await quick.set_range(M, 4096, MDF_WRITECOMBINE)
                assert await slow.pread(9, 0) == b"meanwhile"
                assert answers == []
                device.go.set()

        assert answers == [bytes(4)]
        ops = [r["op"] for r in rig.news() if r["event"] in ("request.read", "request.write")]
        assert ops == ["write", "pread", "pread"]
        process.close()
        quick.close()


@pytest.mark.parametrize("op", ["read", "pread", "write", "pwrite"])
async def test_a_cancelled_device_access_is_recorded_and_the_handle_still_works(
    tmp_path: Path, op: str
) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        device = Stuck()
        rig.hub.map_device(BASE, 4096, device)
        await handle.seek(BASE)
        rig.news()
        requests = {
            "read": lambda: handle.read(8),
            "pread": lambda: handle.pread(8, BASE),
            "write": lambda: handle.write(bytes(8)),
            "pwrite": lambda: handle.pwrite(bytes(8), BASE),
        }
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(requests[op])
                await device.asked.wait()
                tasks.cancel_scope.cancel()

        (record,) = rig.news()
        assert (record["op"], record["errno"], record["moved"]) == (op, "ECANCELED", 0)
        assert handle.file.offset == BASE
        device.go.set()
        assert await handle.read(8) == bytes(8)


@pytest.mark.parametrize("op", ["pread", "pwrite"])
async def test_when_a_handle_is_closed_meanwhile_a_read_is_lost_and_a_write_stands(
    tmp_path: Path, op: str
) -> None:
    async with lab(tmp_path, PAT) as rig:
        device = Stuck()
        rig.hub.map_device(BASE, 4096, device)
        handle = await rig.hub.open("/dev/mem", "r+")
        rig.news()

        async def ask() -> None:
            if op == "pwrite":
                assert await handle.pwrite(bytes(8), BASE) == 8
            else:
                with pytest.raises(BadHandle, match="closed"):
                    await handle.pread(8, BASE)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await device.asked.wait()
                handle.close()
                device.go.set()

        closed, record = rig.news()
        assert closed["event"] == "request.close"
        answer = ("pwrite", None, 8) if op == "pwrite" else ("pread", "EBADF", 0)
        assert (record["op"], record["errno"], record["moved"]) == answer


@pytest.mark.parametrize(
    "error", [OSError(5, "bus error"), BadAddress("no such register")], ids=repr
)
async def test_a_device_that_fails_ends_a_transfer_by_the_architectures_rules(
    tmp_path: Path, error: OSError
) -> None:
    async with lab(tmp_path, PAT, OLD) as rig:
        process = rig.hub.process()
        for name in ("pat", "old"):
            rig.hub.map_device(BASE, 8192, Failing(error), machine=name)

        pat = await process.open("pat:/dev/mem", "r+")
        assert await pat.pread(8192, BASE) == b"d" * 4096
        assert await pat.pwrite(bytes(8192), BASE) == 4096

        old = await process.open("old:/dev/mem", "r+")
        await old.seek(BASE)
        for request in (lambda: old.read(8192), lambda: old.pwrite(bytes(8192), BASE)):
            with pytest.raises(DeviceError) as caught:
                await request()

            assert (caught.value.code, caught.value.moved) == (Errno.EFAULT, 4096)

        assert handle_words(caught.value) & {"bus", "register"}
        assert old.file.offset == BASE + 4096
        process.close()


def handle_words(error: DeviceError) -> set[str]:
    return set(error.reason.replace("'", " ").split())


@pytest.mark.parametrize("size", [0, 7, 9])
async def test_a_device_that_answers_another_number_of_bytes_is_eio(
    tmp_path: Path, size: int
) -> None:
    class Short(Registers):
        async def read(self, offset: int, _size: int) -> bytes:
            return bytes(size)

    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem") as handle:
        rig.hub.map_device(BASE, 4096, Short())
        with pytest.raises(
            DeviceError, match=f"answered {size} bytes where 8 were asked"
        ) as caught:
            await handle.pread(8, BASE)

        assert caught.value.code is Errno.EIO
        assert rig.news()[-1]["errno"] == "EIO"


@pytest.mark.parametrize("op", ["pread", "pwrite"])
async def test_a_device_with_a_bug_is_recorded_and_its_own_exception_comes_out(
    tmp_path: Path, op: str
) -> None:
    device = Failing(ZeroDivisionError("a bug"))
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        rig.hub.map_device(BASE, 8192, device)
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await (
                handle.pread(1, BASE + 4096) if op == "pread" else handle.pwrite(b"x", BASE + 4096)
            )

        record = rig.news()[-1]
        assert (record["op"], record["errno"]) == (op, "EIO")
        assert "ZeroDivisionError" in record["reason"]
        assert await handle.pread(1, BASE) == b"d"


async def test_devices_may_not_overlap_nor_leave_the_machine(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        window = rig.hub.map_device(BASE, 4096, Registers())
        for base, length in ((BASE + 4095, 1), ((1 << 36) - 1, 2), (BASE, 0), (-1, 4)):
            with pytest.raises(ValueError, match="device window"):
                rig.hub.map_device(base, length, Registers())

        rig.hub.machines["pat"].memory.unmap(window)
        rig.hub.map_device(BASE + 4095, 1, Registers())


async def test_numbers_and_buffers_of_numpy_reach_a_device_and_the_log_as_pythons_own(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        device = Registers()
        rig.hub.map_device(np.uint64(BASE), np.int32(16384), device)  # type: ignore[arg-type]
        await handle.pwrite(np.array([0x04030201], dtype="<u4"), np.uint64(BASE))  # type: ignore[arg-type]
        assert await handle.pread(True, np.uint64(BASE + 1)) == b"\x02"  # type: ignore[arg-type]
        await handle.seek(BASE)
        with pytest.raises(TypeError, match="data 5 is not a buffer of bytes"):
            await handle.write(5)  # type: ignore[arg-type]

        moves = [it for it in rig.news() if it["event"] in ("request.read", "request.write")]
        assert [(it["base"], it["length"], it["moved"]) for it in moves] == [
            (BASE, 4, 4),
            (BASE + 1, 1, 1),
        ]
        assert {type(it["length"]) for it in moves} == {int}
