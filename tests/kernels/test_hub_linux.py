"""A hub's machine with Linux: `/proc/mtrr`, its ioctls, who is asked first, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from kernels.linux_kit import FIRST, LINE, LINUX, MIB, SCREEN, SECOND, add, text_of
from memhub import AuditLog, Hub
from memhub.abi import ILP32, LP64
from memhub.audit import read_records
from memhub.core.faults.fault_rules import FaultRule
from memhub.core.spec import MachineSpec
from memhub.errors import (
    BadHandle,
    DeviceError,
    InvalidArgument,
    NoSuchDevice,
    NotSupported,
    UnknownIoctl,
)
from memhub.faces.linux import MTRR32, MTRR64, MtrrReply, pack_entry, pack_query, unpack_answer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

MSRS = {0xFE: 0x508, 0x2FF: 0x800}
FREEBSD = MachineSpec(name="bsd", arch="amd64", kernel="freebsd")


async def test_the_text_is_read_and_lines_are_written() -> None:
    async with Hub([LINUX]) as hub, await hub.open("pc:/proc/mtrr", "r+") as file:
        assert await file.write(LINE) == len(LINE)
        assert (await file.read(4096)).decode() == FIRST + SECOND % 1
        assert await file.read(4096) == b""
        assert await file.seek(0) == 0
        assert (await file.read(5)).decode() == FIRST[:5]
        assert (await file.pread(9, 3)).decode() == FIRST[3:12]
        assert await file.write(b"disable=1\n") == 10
        assert await text_of(hub) == FIRST


async def test_the_registers_that_linux_writes_are_the_machines() -> None:
    async with Hub([LINUX]) as hub, await hub.open("pc:/dev/mem", "r+") as memory:
        assert (await memory.explain(SCREEN)).type == "UC"
        async with await hub.open("pc:/proc/mtrr", "r+") as file:
            await file.write(LINE)

        table = hub.machines["pc"].table
        assert table is not None
        assert table.state.msrs[0x202] == SCREEN | 1
        assert (await memory.explain(SCREEN)).type == "WC"
        assert (await memory.explain(SCREEN + 16 * MIB)).type == "UC"


async def test_a_long_line_is_taken_in_part() -> None:
    async with Hub([LINUX]) as hub, await hub.open("pc:/proc/mtrr", "r+") as file:
        line = LINE.rstrip() + b"\0" * 100
        assert await file.write(line) == 79
        assert await text_of(hub) == FIRST + SECOND % 1
        with pytest.raises(DeviceError) as refused:
            await file.write(LINE.replace(b" ", b" " * 20))

        assert refused.value.code.name == "EINVAL"


@pytest.mark.parametrize(
    ("options", "msrs", "errno", "why"),
    [
        (
            {},
            {0xFE: 0x508},
            "EIO",
            "MTRRs disabled by BIOS: bit 11 of register 0x2ff was 0 at the b",
        ),
        ({"features": []}, MSRS, "ENOENT", "the processor has no ranges that Linux knows"),
        ({"guest": {"kind": "xenpv"}}, MSRS, "ENOENT", "the ranges are a hypervisor's, and cannot"),
    ],
)
async def test_without_ranges_an_error_says_why_there_are_none(
    options: dict[str, Any], msrs: dict[int, int], errno: str, why: str
) -> None:
    spec = MachineSpec(
        name="pc", arch="amd64", kernel="linux-6.18", msrs=msrs, kernel_options=options
    )
    async with Hub([spec]) as hub:
        with pytest.raises(DeviceError) as refused:
            await hub.open("pc:/proc/mtrr")

        assert refused.value.code.name == errno
        assert refused.value.reason.startswith(f"the kernel answers {errno} to open: {why}")
        with pytest.raises(DeviceError, match=f"the kernel answers ENODEV to del: {why}"):
            hub.kernels.call("del", reg=0, base=0, size=0)


async def test_errors_are_the_kernels_and_its_lines_the_reason() -> None:
    line = "0xd0000000,0x2000000 overlaps existing 0xd0000000,0x1000000"
    wrong = b"base=0xd0000000 size=0x2000000 type=write-back\n"
    async with Hub([LINUX]) as hub, await hub.open("pc:/proc/mtrr", "r+") as file:
        await file.write(LINE)
        with hub.subscribe(failures=True, events=["kernel.call"]) as told:
            with pytest.raises(DeviceError, match=line) as refused:
                await file.write(wrong)

            event = told.receive_nowait()

        assert refused.value.code.name == "EINVAL"
        assert (event["op"], event["errno"], event["reason"]) == ("write", "EINVAL", line)
        assert event["printed"] == [f"warn: {line}"]
        assert event["changed"] is None


async def test_a_call_that_changes_something_is_an_event() -> None:
    async with Hub([LINUX]) as hub, await hub.open("pc:/proc/mtrr", "r+") as file:
        await file.read(100)
        with hub.subscribe() as told:
            await file.read(100)
            await file.write(LINE)
            event = told.receive_nowait()
            assert (event["event"], event["op"]) == ("kernel.call", "write")
            with pytest.raises(anyio.WouldBlock):
                told.receive_nowait()


async def test_ioctls_of_both_sizes_answer_registers() -> None:
    async with Hub([LINUX]) as hub:
        async with await hub.open("pc:/proc/mtrr", "r+") as file:
            assert (await add(file)).value == 1
            query = await file.ioctl(MTRR64.numbers["GET"], pack_query(1, model=LP64))
            found = unpack_answer(query.op, model=LP64)
            assert found == {"base": SCREEN, "size": 16 * MIB, "type": 1, "regnum": 1}

        async with await hub.open("pc:/proc/mtrr", "r+", model=ILP32) as file:
            op = pack_entry(SCREEN >> 12, 16, 1, model=ILP32)
            reply = await file.ioctl(MTRR32.numbers["ADD_PAGE"], op)
            assert isinstance(reply, MtrrReply)
            assert reply.value == 1
            query = await file.ioctl(MTRR32.numbers["GET_PAGE"], pack_query(1, model=ILP32))
            found = unpack_answer(query.op, model=ILP32)
            assert found == {"base": SCREEN >> 12, "size": 16, "type": 1, "regnum": 1}


async def test_a_descriptor_gives_back_at_close_what_it_added() -> None:
    async with Hub([LINUX]) as hub:
        async with await hub.open("pc:/proc/mtrr", "r+") as file:
            await add(file)
            await add(file)
            assert await text_of(hub) == FIRST + SECOND % 2

        assert await text_of(hub) == FIRST


async def test_what_no_face_understands_is_the_kernels_error() -> None:
    async with Hub([LINUX]) as hub, await hub.open("pc:/proc/mtrr", "r+") as file:
        for number, op, name in (
            (MTRR64.numbers["ADD"], b"", "EFAULT"),
            (MTRR32.numbers["ADD"], pack_entry(0, 4096, 1, model=ILP32), "ENOTTY"),
            (0x5401, b"", "ENOTTY"),
            (MTRR64.numbers["GET"], pack_query(99, model=LP64), "EINVAL"),
            (MTRR64.numbers["DEL"], pack_entry(1, 4096, 1, model=LP64), "EINVAL"),
        ):
            with pytest.raises(DeviceError) as refused:
                await file.ioctl(number, op)

            assert refused.value.code.name == name

        for wrong in (file.pwrite(LINE, 0), file.seek(-5), file.seek(0, 2), file.pread(5, 1 << 63)):
            with pytest.raises(DeviceError) as refused:
                await wrong

            assert refused.value.code.name in ("ESPIPE", "EINVAL")


async def test_a_file_is_read_and_written_only_as_it_was_opened() -> None:
    async with Hub([LINUX]) as hub:
        async with await hub.open("pc:/proc/mtrr", "r") as file:
            with pytest.raises(BadHandle):
                await file.write(LINE)

            assert (await add(file)).value == 1

        async with await hub.open("pc:/proc/mtrr", "w") as file:
            with pytest.raises(BadHandle):
                await file.read(1)


async def test_who_is_not_root_cannot_open_it() -> None:
    async with Hub([LINUX]) as hub, hub.process("user", privileged=False) as user:
        with pytest.raises(DeviceError) as refused:
            await user.open("pc:/proc/mtrr", "r")

        assert refused.value.code.name == "EPERM"


async def test_each_kernel_has_its_own_files() -> None:
    async with Hub([LINUX, FREEBSD]) as hub:
        for path, why in (
            ("pc:/dev/kmem", "pc has no /dev/kmem: its kernel is linux-6.18"),
            ("bsd:/proc/mtrr", "bsd has no /proc/mtrr: its kernel is freebsd"),
        ):
            with pytest.raises(NoSuchDevice, match=why):
                await hub.open(path)

        with pytest.raises(InvalidArgument, match="no undo: a close gives back what ADD counted"):
            await hub.open("pc:/proc/mtrr", undo=True)


async def test_dev_mem_of_linux_moves_bytes_and_has_no_ioctl() -> None:
    async with Hub([LINUX]) as hub, await hub.open("pc:/dev/mem", "r+") as memory:
        await memory.pwrite(b"hello", MIB)
        assert await memory.pread(5, MIB) == b"hello"
        for call in (
            memory.ranges(),
            memory.set_range(SCREEN, MIB, "write-combine"),
            memory.remove_range(SCREEN, MIB),
            memory.ioctl(5, b""),
        ):
            with pytest.raises(UnknownIoctl):
                await call


# Drivers, sleep, faults


async def test_drivers_call_the_kernel() -> None:
    async with Hub([LINUX, FREEBSD]) as hub:
        assert hub.kernels.call("add", base=SCREEN, size=16 * MIB, type=1) == 1
        found = hub.kernels.call("lookup", start=SCREEN, end=SCREEN + 1)
        assert found == {"type": 1, "uniform": 1}
        assert hub.kernels.call("table")[1] == [SCREEN >> 12, 4096, 1, 1]
        with pytest.raises(InvalidArgument, match="'resume' is no call of a driver"):
            hub.kernels.call("resume")

        with pytest.raises(InvalidArgument, match="add needs an argument 'base'"):
            hub.kernels.call("add")

        with pytest.raises(InvalidArgument, match="base 0x10000000000000000 does not fit 64 bits"):
            hub.kernels.call("add", base=1 << 64, size=0, type=1)

        cases: list[tuple[dict[str, Any], str]] = [
            ({"base": "x"}, "base 'x' is not an integer"),
            ({"base": -1}, "base -0x1 is not between 0x0 and"),
            ({"type": 1 << 32}, "type 0x100000000 is not between"),
            ({"base": object()}, "is no integer, text, truth value or list"),
        ]
        for wrong, why in cases:
            with pytest.raises(InvalidArgument, match=why):
                hub.kernels.call("add", **{"base": 0, "size": 4096, "type": 1, **wrong})

        with pytest.raises(NotSupported, match="the kernel of bsd is FreeBSD"):
            hub.kernels.call("add", machine="bsd")


async def test_linux_stores_its_ranges_again_as_it_resumes() -> None:
    async with Hub([LINUX]) as hub, await hub.open("pc:/proc/mtrr", "r+") as file:
        await file.write(LINE)
        await hub.suspend()
        with pytest.raises(DeviceError) as refused:
            await file.write(LINE)

        assert refused.value.code.name == "EAGAIN"
        await hub.resume()
        assert await text_of(hub) == FIRST + SECOND % 1
        assert hub.kernels.call("lookup", start=SCREEN, end=SCREEN + 1)["type"] == 1


async def test_a_drivers_call_while_the_machine_sleeps_is_refused_and_logged(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log"
    with AuditLog.open(path) as log:
        async with Hub([LINUX], log=log) as hub:
            await hub.suspend()
            for arguments in ({"base": SCREEN, "size": 4096, "type": 1}, {"base": object()}):
                with pytest.raises(DeviceError, match="EAGAIN: machine pc is suspended"):
                    hub.kernels.call("add", **arguments)

            await hub.resume()

    found = [it for it in read_records(path) if it.get("op") == "add"]
    assert [(it["op"], it["errno"]) for it in found] == [("add", "EAGAIN")] * 2
    assert found[1]["args"] == "{}"


async def test_fault_rules_meet_calls_to_the_kernel() -> None:
    async with Hub([LINUX]) as hub, await hub.open("pc:/proc/mtrr", "r+") as file:
        with hub.faults.add(FaultRule("errno", errno="EIO", op=("write",))):
            with pytest.raises(DeviceError) as refused:
                await file.write(LINE)

            assert refused.value.code.name == "EIO"

        with hub.faults.add(FaultRule("short", moved=4, op=("read",))):
            assert (await file.read(100)).decode() == FIRST[:4]

        rule = FaultRule("short", moved=8, op=("write",))
        with hub.faults.add(rule), pytest.raises(DeviceError):
            await file.write(LINE)

        await file.write(LINE)
