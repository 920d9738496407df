"""What Linux refuses without a word has a reason that names the value and the rule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernels.linux_kit import LINUX, SCREEN
from kernels.test_linux_hardware import NETBSD, sick
from kernels.test_linux_sleep import K6
from memhub import Hub, MachineSpec, Region
from memhub.abi import LP64
from memhub.errors import DeviceError, InvalidArgument, NotSupported
from memhub.faces.linux import MTRR64, pack_entry, pack_query
from memhub.plugin import Cpu

if TYPE_CHECKING:
    from collections.abc import Awaitable

OLD = MachineSpec(name="pc", arch="amd64", kernel="linux-2.6.32")
DROPPED = "; this release drops the last byte of a write, which is to be the newline"
KNOWN = "uncachable, write-combining, write-through, write-protect, write-back"
FORM = "a line is base=N size=N type=NAME, or disable=N"


async def reason_of(asked: Awaitable[object]) -> str:
    with pytest.raises(DeviceError) as caught:
        await asked

    return caught.value.reason.partition(": ")[2]


@pytest.mark.parametrize(
    ("spec", "line", "why"),
    [
        (LINUX, b"base=0 size=0x1000 type=uncacheable\n", f"type 'uncacheable' is none of {KNOWN}"),
        (
            LINUX,
            b"base=0 size=0x1000 type=write-back\n\n",
            f"type 'write-back\\n' is none of {KNOWN}",
        ),
        (OLD, b"base=0 size=4096 type=uncachable", f"type 'uncachabl' is none of {KNOWN}{DROPPED}"),
        (LINUX, b"base=0x100 size=0x1000 type=write-back\n", "base 0x100 is no multiple of 4 KiB"),
        (LINUX, b"base=0 size=010 type=write-back\n", "size 0x8 is no multiple of 4 KiB"),
        (LINUX, b"enable=1\n", f"'base=' is expected before 'enable=1': {FORM}"),
        (LINUX, b"base=0x1000\n", f"'size=' is expected before the end: {FORM}"),
        (LINUX, b"", f"'base=' is expected before the end: {FORM}"),
        (OLD, b"", "the write is empty"),
        (
            K6,
            b"base=0xe0000000 size=0x1000 type=write-combining\n",
            "0xe0000000/0x1000: size 0x1000 is less than the 128 KiB of a K6's smallest range",
        ),
        (
            K6,
            b"base=0xe0000000 size=0x100000 type=write-protect\n",
            (
                "0xe0000000/0x100000: "
                "type write-protect is not one of a K6: uncachable, write-combining"
            ),
        ),
        (
            K6,
            b"base=0xe0000000 size=0x60000 type=uncachable\n",
            "0xe0000000/0x60000: size 0x60000 is not a power of two, as a range of a K6 is",
        ),
        (
            K6,
            b"base=0xe0040000 size=0x80000 type=uncachable\n",
            "0xe0040000/0x80000: base 0xe0040000 is not a multiple of the size 0x80000",
        ),
    ],
)
async def test_a_line_that_is_refused_is_told_why(spec: MachineSpec, line: bytes, why: str) -> None:
    async with Hub([spec]) as hub, await hub.open("pc:/proc/mtrr", "w") as file:
        assert await reason_of(file.write(line)) == why


async def test_an_ioctl_that_is_refused_is_told_why() -> None:
    def entry(base: int) -> bytes:
        return pack_entry(base, 0x1000, 1, model=LP64)

    numbers = MTRR64.numbers
    async with Hub([LINUX]) as hub, await hub.open("pc:/proc/mtrr", "r+") as file:
        asked = {
            file.ioctl(numbers["ADD"], entry(SCREEN + 256)): (
                "0xd0000100/0x1000: base and size are multiples of 4 KiB"
            ),
            file.ioctl(numbers["DEL"], entry(SCREEN)): "no register has 0xd0000000/0x1000",
            file.ioctl(numbers["GET"], pack_query(8, model=LP64)): (
                "there is no register 8: the last one is 7"
            ),
            file.pwrite(b"x", 0): "the file has no write at an offset (pwrite)",
            file.seek(0, 2): "whence 2 is neither SEEK_SET (0) nor SEEK_CUR (1)",
            file.seek(-5): "the position would be -5",
        }
        assert [await reason_of(it) for it in asked] == list(asked.values())

        await file.ioctl(numbers["ADD"], entry(SCREEN))
        hub.kernels.call("add", base=SCREEN + 0x1000, size=0x1000, type=1)
        why = "register 2 lost a use, which this open file had not added"
        assert await reason_of(file.ioctl(numbers["DEL"], entry(SCREEN + 0x1000))) == why


async def test_an_open_that_is_refused_is_told_why() -> None:
    async with Hub([LINUX]) as hub, hub.process("user", privileged=False) as user:
        assert await reason_of(user.open("pc:/proc/mtrr")) == "the process has no CAP_SYS_ADMIN"
        list_ = "pc:/sys/kernel/debug/x86/pat_memtype_list"
        assert await reason_of(user.open(list_)) == "only root opens debugfs"


@pytest.mark.parametrize(
    ("start", "end", "want", "why"),
    [
        (0x200000, 0x201000, "WP", "RAM is never WP"),
        (
            0x10000000,
            0x20001000,
            "WC",
            "[0x10000000, 0x20001000) has RAM behind what is none; it is to be one or the other",
        ),
    ],
)
async def test_a_reservation_that_is_refused_is_told_why(
    start: int, end: int, want: str, why: str
) -> None:
    ram = (Region(base=0, length=1 << 24), Region(base=0x20000000, length=1 << 24))
    spec = MachineSpec(
        name="pc",
        arch="amd64",
        kernel="linux-6.18",
        memory=ram,
        msrs={0xFE: 0x508, 0x2FF: 0x806},
    )
    async with Hub([spec]) as hub:
        with pytest.raises(DeviceError) as caught:
            hub.kernels.call("memtype_reserve", start=start, end=end, want=want)

    assert caught.value.reason.partition(": ")[2] == why


@pytest.mark.parametrize(
    ("op", "args", "why"),
    [
        (
            "memtype_free",
            {"start": SCREEN, "end": SCREEN + 4096, "stop": 1},
            "memtype_free has no argument 'stop' (arguments: command, end, no_memory, pid, start)",
        ),
        (
            "add",
            {"base": 0, "size": 4096, "type": 1, "increments": False},
            "add has no argument 'increments' (arguments: base, increment, size, type)",
        ),
        ("table", {"register": 1}, "table has no argument 'register' (arguments: none)"),
        ("add", {"base": True, "size": 4096, "type": 1}, "base True is not an integer"),
    ],
)
async def test_an_argument_that_a_drivers_call_does_not_have_is_refused(
    op: str, args: dict[str, Any], why: str
) -> None:
    async with Hub([LINUX]) as hub:
        with pytest.raises(InvalidArgument) as caught:
            hub.kernels.call(op, **args)

        assert caught.value.reason == why


async def test_netbsd_refuses_arguments_of_drivers_alike() -> None:
    async with Hub([NETBSD]) as hub, await hub.open("pc:/dev/mem") as memory:
        with pytest.raises(InvalidArgument, match=r"'range' .arguments: entries, process."):
            hub.kernels.call("kernel_set", entries=[], range=[])

        with pytest.raises(InvalidArgument, match=r"True of .* is not an integer"):
            await memory.call_kernel("set", entries=[[SCREEN, 1 << 24, True, 4, 0]])


@pytest.mark.parametrize(
    "cpu",
    [
        Cpu(vendor="Cyrix", phys_bits=32, mtrr=False),
        Cpu(vendor="Centaur", signature=0x541, phys_bits=32, mtrr=False),
    ],
)
async def test_a_processor_whose_ranges_have_no_types_says_so(cpu: Cpu) -> None:
    spec = MachineSpec(name="pc", arch="i386", kernel="linux-6.18", cpu=cpu)
    types = "no architecture makes memory types of the 8 ranges of pc's processor"
    why = f"{types}, which linux-6.18 has"
    async with Hub([spec]) as hub, await hub.open("pc:/dev/mem") as memory:
        with pytest.raises(NotSupported, match=f"{why}: what types its memory has is not known"):
            await memory.explain(0x1000)

        with pytest.raises(NotSupported, match=why):
            hub.hardware.check_cpus()

        with pytest.raises(NotSupported, match=why):
            hub.hardware.add(sick("stuck_slot", slot=0))

        with pytest.raises(NotSupported, match="stores the ranges of K6, Centaur and Cyrix again"):
            hub.hardware.reinit()

    async with Hub([replace(spec, kernel="freebsd")]) as hub, await hub.open("/dev/mem") as memory:
        with pytest.raises(NotSupported, match="no range operations: i386 finds none on its CPU"):
            await memory.ranges()
