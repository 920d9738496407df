"""The calls to other kernels of an audit log as a script, and what is left out of it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from memhub import AuditLog, Hub
from memhub.abi import LP64, MDF_WRITECOMBINE
from memhub.arches import load_arches
from memhub.audit import read_records
from memhub.cli import main
from memhub.compare import (
    LogScript,
    ScriptError,
    choose_kernels,
    compare,
    ordinary_machine,
    read_log,
)
from memhub.core.files import Principal
from memhub.core.requests import Open, Write
from memhub.core.spec import MachineSpec
from memhub.engine.lifecycle import open_file
from memhub.errors import DeviceError
from memhub.faces.linux import MTRR64, pack_entry, pack_query
from memhub.kernels import load_kernels

if TYPE_CHECKING:
    from pathlib import Path

ARCHES = load_arches()
SCREEN, MIB = 0xD0000000, 1 << 20
MSRS = dict(ordinary_machine().msrs)
LINUX = MachineSpec(
    name="pc", arch="amd64-mtrr", msrs=MSRS, kernel="linux-6.18", kernel_options={"pat": False}
)
NETBSD = MachineSpec(name="net", arch="amd64-mtrr", msrs=MSRS, kernel="netbsd-7")
FREEBSD = MachineSpec(name="bsd", arch="amd64-mtrr", msrs=MSRS)


async def linux_log(path: Path) -> None:
    """One of each request for a range, and of what is none."""
    with AuditLog.open(path) as log:
        async with Hub([LINUX], arches=ARCHES, log=log) as hub:
            async with await hub.open("pc:/proc/mtrr", "r+") as file:
                for line in (
                    b"base=0xd0000000 size=0x1000000 type=write-combining\n",
                    b"base=0xd0000000 size=0x2000000 type=write-back",
                    b"disable=7\n",
                    b"what?\n",
                ):
                    with suppress(DeviceError):
                        await file.write(line)

                for command, op in (
                    ("ADD", pack_entry(0xE0000000, MIB, 1, model=LP64)),
                    ("SET_PAGE", pack_entry(0xE1000, 256, 0, model=LP64)),
                    ("KILL", pack_entry(SCREEN, 16 * MIB, 1, model=LP64)),
                    ("GET", pack_query(0, model=LP64)),
                ):
                    await file.ioctl(MTRR64.numbers[command], op)

                hub.kernels.call("add", base=0xF0000000, size=MIB, type=1)
                with suppress(DeviceError):
                    hub.kernels.call("del_page", reg=9, base=0, size=0)

                hub.kernels.call("wc_add", base=0xF2000000, size=MIB)
                hub.kernels.call("lookup", start=0, end=4096)

            hub.hardware.suspend()
            hub.hardware.resume()


@pytest.mark.anyio
async def test_a_log_of_linux_is_a_script_that_linux_answers_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    await linux_log(tmp_path / "a.jsonl")
    arguments = ["compare", "--log", "a.jsonl", "--kernels", "linux-6.18,i386"]
    assert main([*arguments, "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert [(it["request"], it["answers"]["linux-6.18"]["errno"]) for it in facts["steps"]] == [
        ("set 0xd0000000/0x1000000 write-combine", None),
        ("set 0xd0000000/0x2000000 write-back", "EINVAL"),
        ("disable=7", "EINVAL"),
        ("set 0xe0000000/0x100000 write-combine", None),
        ("set 0xe1000000/0x100000 uncacheable", None),
        ("clear 0xd0000000/0x1000000", None),
        ("set 0xf0000000/0x100000 write-combine", None),
        ("disable=9", "EINVAL"),
    ]
    left = {it["what"]: it["times"] for it in facts["left_out"]}
    assert left == {
        "a write that is no line for /proc/mtrr": 1,
        "a call that only looks": 2,
        "a call of wc_add": 1,
        "that a SET, unlike the line asked, counts no use": 1,
        "a close that gave ranges back": 1,
        "a resume": 1,
    }

    assert main(arguments) == 1
    shown = capsys.readouterr().out
    assert "\n\nLeft out of a.jsonl" in shown
    assert "\\x" not in shown
    assert "  a close that gave ranges back: 1, first in record" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.anyio
async def test_a_log_of_netbsd_is_a_script(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        async with (
            Hub([NETBSD], arches=ARCHES, log=log) as hub,
            await hub.open("net:/dev/mem") as memory,
        ):
            ours = [SCREEN, 16 * MIB, 1, 4, 0]
            await memory.call_kernel("set", entries=[ours, [0xE0000000, MIB, 0, 4, 0]])
            await memory.call_kernel("set", entries=[[*ours[:3], 0, 0]])
            mine = [0xE8000000, MIB, 1, 5, 0]
            await memory.call_kernel("set", entries=[mine, [0xEA000000, MIB, 1, 4, 0], mine])
            await memory.call_kernel("get", n=104)

    script = read_log(str(path))
    assert [it.text for it in script.requests] == [
        "set 0xd0000000/0x1000000 write-combine",
        "set 0xe0000000/0x100000 uncacheable",
        "clear 0xd0000000/0x1000000",
        "set 0xea000000/0x100000 write-combine",
    ]
    process = memory.process.id
    private = f"the private range 0xe8000000/0x100000 of process {process}"
    assert [(it.what, it.times) for it in script.left_out] == [
        (f"{private}, which no other kernel has", 2),
        ("a call that only looks", 1),
        ("the end of a process, with its private ranges", 1),
    ]


@pytest.mark.anyio
async def test_what_the_log_s_machine_had_beside_a_request_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    ours, over = [SCREEN, 16 * MIB, 1, 4, 0], [SCREEN, MIB, 6, 4, 0]
    with AuditLog.open(path) as log:
        async with Hub([NETBSD, FREEBSD], arches=ARCHES, log=log) as hub:
            async with await hub.open("net:/dev/mem") as memory:
                await memory.call_kernel("set", entries=[ours])
                for entries in ([over, [0xE0000000, MIB, 1, 4, 0]], [[SCREEN, MIB, 6, 0, 0]]):
                    with pytest.raises(DeviceError, match="EBUSY"):
                        await memory.call_kernel("set", entries=entries)

            one, other = hub.process("one"), hub.process("other")
            async with (
                await one.open("bsd:/dev/mem", "r+") as first,
                await other.open("bsd:/dev/mem", "r+") as second,
            ):
                await first.set_range(SCREEN, 16 * MIB, MDF_WRITECOMBINE)
                with pytest.raises(DeviceError, match="claimed by one"):
                    await second.set_range(SCREEN, 16 * MIB, "uncacheable")

    net, bsd = (read_log(str(path), machine=name) for name in ("net", "bsd"))
    assert [(it.text, it.source is not None) for it in net.requests] == [
        ("set 0xd0000000/0x1000000 write-combine", True),
        ("set 0xd0000000/0x100000 write-back", True),
        ("set 0xe0000000/0x100000 write-combine", True),
    ]
    assert [it.what for it in net.left_out] == [
        "that a refused set ends at the range refused",
        "a refused removal with a type",
    ]
    assert [it.text for it in bsd.requests] == [
        "set 0xd0000000/0x1000000 write-combine",
        "set 0xd0000000/0x1000000 uncacheable",
    ]
    assert [it.what for it in bsd.left_out] == ["that a claim refused what is asked here"]


@pytest.mark.anyio
@pytest.mark.parametrize(("arch", "asked"), [("amd64-mtrr", 1), ("i386", 2)])
async def test_a_32_bit_set_is_left_out_where_it_changes_no_register(
    tmp_path: Path, arch: str, asked: int
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        async with (
            Hub([replace(NETBSD, arch=arch)], arches=ARCHES, log=log) as hub,
            await hub.open("net:/dev/mem") as memory,
        ):
            await memory.call_kernel("set", entries=[[SCREEN, 16 * MIB, 1, 4, 0]], abi=64)
            await memory.call_kernel("set", entries=[[0xE0000000, MIB, 1, 4, 0]], abi=32)
            changed = (await memory.explain(0xE0000000)).type == "WC"

    script = read_log(str(path))
    left = ["a 32-bit set, which changes NetBSD's table and no register"]
    assert (len(script.requests), changed) == (asked, asked == 2)
    assert [it.what for it in script.left_out] == left[asked - 1 :]


@pytest.mark.anyio
async def test_what_freebsd_puts_back_is_told_and_of_one_machine_only(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        async with Hub([FREEBSD, LINUX], arches=ARCHES, log=log) as hub:
            async with await hub.open("bsd:/dev/mem", "r+", undo=True) as memory:
                await memory.set_range(SCREEN, 16 * MIB, MDF_WRITECOMBINE)

            async with await hub.open("pc:/proc/mtrr", "r+") as file:
                await file.read(4096)

    script = read_log(str(path), machine="bsd")
    assert isinstance(script, LogScript)
    assert [it.text for it in script.requests] == ["set 0xd0000000/0x1000000 write-combine"]
    assert [(it.what, it.times) for it in script.left_out] == [("a range put back at a close", 1)]
    with pytest.raises(ScriptError, match="no requests for ranges to 'pc'; it has a read that"):
        read_log(str(path), machine="pc")


SPELLINGS = (
    b"base=0xd0000000\xa0size=0x1000000\x0btype=write-combining\n",
    b"base=0x1000000000e0000000 size=0x1000000 type=write-combining\n",
    b"base=037000000000size=4096type=write-protect\0junk",
    b"disable=\n",
    b"disable=2x\n",
    b"base=0x8000000000000000 size=0x8000000000000000 type=write-back\n",
    b"disable=4294967295\n",
    b"base=0xd0000000 size=0x1000 type=?\n",
)


def test_a_line_of_a_log_is_read_as_the_kernel_has_read_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub([LINUX], arches=ARCHES, log=log)
        hub.begin()
        file = open_file(hub.engine, Open(Principal(1, "p"), "pc:/proc/mtrr", "w"))
        for line in SPELLINGS:
            with suppress(DeviceError):
                hub.engine.submit(Write(file, line))

        hub.end()

    script = read_log(str(path))
    assert [it.text for it in script.requests] == [
        "set 0xd0000000/0x1000000 write-combine",
        "set 0xe0000000/0x1000000 write-combine",
        "set 0xf8000000/0x1000 write-protect",
        "disable=0",
        "disable=2",
        "set 0x8000000000000000/0x8000000000000000 write-back",
    ]
    assert [it.what for it in script.left_out] == [
        "a register of no number that is to go",
        "a type that is none of a range",
    ]
    chosen = choose_kernels(["linux-6.18"], ARCHES, load_kernels())
    (answers,) = compare(script.requests, chosen, ordinary_machine()).answers
    refused = [row["errno"] for row in read_records(path) if row.get("op") == "write"]
    assert [it.errno for it in answers] == refused[:6]


def test_a_line_that_lost_its_last_byte_is_read_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    line = b"base=0x%x size=0x1000000 type=write-combining"
    with AuditLog.open(path) as log:
        hub = Hub(
            [replace(LINUX, kernel="linux-2.6.32", kernel_options={})], arches=ARCHES, log=log
        )
        hub.begin()
        file = open_file(hub.engine, Open(Principal(1, "p"), "pc:/proc/mtrr", "w"))
        for data in (
            line % 0xD0000000 + b"X",
            line % 0xE0000000 + b"\n\n",
            line % 0xE8000000 + b"\nX",
            line % 0xF0000000,
            b"disable=12",
            b"",
        ):
            with suppress(DeviceError):
                hub.engine.submit(Write(file, data))

        hub.end()

    script = read_log(str(path))
    assert [it.text for it in script.requests] == [
        "set 0xd0000000/0x1000000 write-combine",
        "set 0xe0000000/0x1000000 write-combine",
        "set 0xe8000000/0x1000000 write-combine",
        "set 0xf0000000/0x1000000 write-combine",
        "disable=1",
    ]
    assert [it.times for it in script.left_out] == [1]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b'\\"type\\":1', b'\\"type\\":2', "a type that is none of a range"),
        (
            b'\\"size\\":1048576',
            b'\\"size\\":\\"x\\"',
            "a call of add without the arguments of one",
        ),
        (
            b'\\"size\\":1048576',
            b'\\"size\\":18446744073709551616',
            "a call of add without the arguments of one",
        ),
        (b'"op":"add"', b'"op":"add_page"', "an address of more than 64 bits"),
    ],
)
def test_a_record_that_asks_for_no_range_is_left_out(
    tmp_path: Path, old: bytes, new: bytes, what: str
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub([LINUX], arches=ARCHES, log=log)
        hub.begin()
        with suppress(DeviceError):
            hub.kernels.call("add", base=0x80000000F0000000, size=MIB, type=1)

        hub.end()

    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(ScriptError, match=what):
        read_log(str(path))
