"""The clients have the face of an embedded hub, and keep their connection in step."""

from __future__ import annotations

import math
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import memhub
from memhub.abi import ILP32, LP64, MDF_UNCACHEABLE, MDF_WRITECOMBINE, RangeDesc
from memhub.errors import (
    AccessDenied,
    BadAddress,
    BadHandle,
    DeviceError,
    InvalidArgument,
    NoSuchDevice,
    NoSuchRange,
    NotPermitted,
    NotSupported,
    RangeBusy,
    TimedOut,
    WouldDeadlock,
)
from service.service_rig import MIB, WINDOW, lab, machine

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.service.client.handle import RemoteHandle


async def test_the_table_is_the_embedded_hubs(tmp_path: Path) -> None:
    async with lab(tmp_path, machine()) as it, it.connect() as hub:
        here = await it.hub.open("/dev/mem")
        there = await hub.open("/dev/mem")

        assert await there.ranges() == await here.ranges()
        assert (await there.range_array() == await here.range_array()).all()
        op = here.file.model.op.pack(0, 2, 7)
        room = bytes(2 * here.file.model.desc.size)
        assert tuple(await there.ioctl(here.file.model.get, op, room)) == tuple(
            await here.ioctl(here.file.model.get, op, room)
        )
        here.close()


@pytest.mark.parametrize("model", [LP64, ILP32])
async def test_ioctls_have_the_layout_of_the_data_model_asked_for(
    tmp_path: Path, model: Any
) -> None:
    async with lab(tmp_path) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem", model=model)
        await handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE, owner="Xorg")
        desc = model.pack(RangeDesc(WINDOW, MIB, 0, bytes(8)))
        reply = await handle.ioctl(model.get, model.op.pack(1, 64, 0))

        assert [d.owner for d in model.unpack_table(reply.descs) if d.mr_base == WINDOW] == ["Xorg"]
        await handle.ioctl(model.set[1], model.op.pack(0, 1, 0), desc)
        assert WINDOW not in {d.mr_base for d in await handle.ranges()}


async def test_memory_of_any_size_moves_in_frames(tmp_path: Path) -> None:
    data = bytes(range(256)) * (3 * MIB // 256)
    async with lab(tmp_path) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem", "r+")
        assert await handle.pwrite(data, 5 * MIB) == len(data)
        assert await handle.pread(len(data), 5 * MIB) == data
        assert await handle.seek(5 * MIB) == 5 * MIB
        assert await handle.read(4) == data[:4]
        assert await handle.seek(-4, 1) == 5 * MIB
        assert await handle.write(b"abc") == 3
        assert await handle.pread(4, 5 * MIB) == b"abc\x03"
        assert await handle.pread(0, 0) == b""


async def test_seek_answers_as_in_the_hub(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem")
        assert await handle.seek(5, os.SEEK_END) == 5
        assert await handle.seek(-6, os.SEEK_CUR) == (1 << 64) - 1
        with pytest.raises(DeviceError) as caught:
            await handle.seek(0, os.SEEK_HOLE)

        assert caught.value.code.name == "ENOTTY"


async def test_a_transfer_that_fails_midway_says_how_far_it_came(tmp_path: Path) -> None:
    top = 1 << 36
    async with lab(tmp_path) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem", "r+")
        here = await it.hub.open("/dev/mem", "r+")
        for size in (8192, 3 * MIB):
            moved = set()
            for which in (handle, here):
                try:
                    moved.add(len(await which.pread(size, top - 4096)))
                except BadAddress as error:
                    moved.add(error.moved)

            assert len(moved) == 1

        here.close()


async def test_requests_wait_beside_one_another_on_one_connection(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("a") as one, it.connect("b") as two:
        mine, theirs = await one.open("/dev/mem"), await two.open("/dev/mem")
        await mine.claim(0, MIB)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(theirs.wait_free, 0, MIB, math.inf)
                for _ in range(300):
                    tasks.start_soon(theirs.ranges)

                await anyio.wait_all_tasks_blocked()
                assert len(await theirs.ranges()) > 0
                await mine.release(0, MIB)


async def test_waits_end_as_they_do_in_the_hub(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("a") as one, it.connect("b") as two:
        mine, theirs = await one.open("/dev/mem"), await two.open("/dev/mem")
        await mine.claim(0, MIB)
        await theirs.claim(MIB, MIB)
        with pytest.raises(RangeBusy):
            await theirs.claim(0, 4096)

        with pytest.raises(TimedOut):
            await theirs.claim(0, 4096, wait=0.01)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(mine.wait_free, MIB, MIB, 20)
            while not it.hub.report()["machines"][0]["waits"]:
                await anyio.lowlevel.checkpoint()

            with pytest.raises(WouldDeadlock):
                await theirs.wait_free(0, MIB, 20)

            await theirs.release(MIB, MIB)

        with pytest.raises(NoSuchRange):
            await theirs.release(MIB, MIB)


async def test_a_cancelled_caller_leaves_nothing_behind(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("a") as one, it.connect("b") as two:
        mine, theirs = await one.open("/dev/mem"), await two.open("/dev/mem")
        await mine.claim(0, MIB)
        for _ in range(20):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(partial(theirs.claim, 0, MIB, wait=20))
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()

        with anyio.CancelScope() as scope:
            scope.cancel()
            await two.open("/dev/mem")

        await mine.release(0, MIB)
        await two.ping()
        report = it.hub.report()["machines"][0]

        assert (report["waits"], report["claims"]) == ([], [])
        assert [p["handles"] for p in report["processes"]] == [1, 1]
        assert len(await theirs.ranges()) > 0


async def test_errors_are_the_hubs_own(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect() as hub:
        with pytest.raises(NoSuchDevice, match="there is no machine 'nowhere'"):
            await hub.open("nowhere:/dev/mem")

        handle = await hub.open("/dev/mem")
        with pytest.raises(BadHandle, match="not open for writing"):
            await handle.pwrite(b"x", 0)

        for wrong in (
            lambda: handle.pread(4, -1),
            lambda: handle.seek(0, 5),
            lambda: handle.set_range(-1, 4096, 1),
            lambda: handle.claim(0, 4096, wait=-1.0),
            lambda: hub.open("/dev/mem", "a"),
        ):
            with pytest.raises(InvalidArgument):
                await wrong()

        handle.close()
        handle.close()
        with pytest.raises(BadHandle):
            await handle.ranges()


async def test_events_reach_a_subscriber(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("a") as one, it.connect("b") as two:
        handle = await one.open("/dev/mem")
        with two.subscribe(base=WINDOW, length=MIB) as news, anyio.fail_after(20):
            await two.ping()
            await handle.set_range(0x20000000, MIB, MDF_UNCACHEABLE)
            await handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
            record = await news.receive()

        assert (record["event"], record["base"]) == ("request.set", WINDOW)
        with pytest.raises(NoSuchDevice):
            await two.subscribe(machine="nowhere").receive()


async def test_an_event_has_the_number_of_its_record(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem")
        with hub.subscribe(events=["request.set"]) as news, anyio.fail_after(20):
            await handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
            await handle.remove_range(WINDOW, MIB)
            seen = [await news.receive(), await news.receive()]

        with pytest.raises(ValueError, match=r"sends no request\.get"):
            hub.subscribe(events=["request.get", "undo"])

        assert {record["event"] for record in seen} == {"request.set"}
        assert [r["seq"] for r in seen] == [r["seq"] for r in it.records("request.set")]


async def test_a_slow_subscriber_is_told_what_it_missed(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("a") as one, it.connect("b") as two:
        handle = await one.open("/dev/mem")
        news = two.subscribe(size=2)
        await two.ping()
        for _ in range(5):
            await handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
            await handle.remove_range(WINDOW, MIB)

        with anyio.fail_after(20):
            while not it.records("request.set"):
                await two.ping()

            found = await news.receive()
            while found["event"] != "missed":
                found = await news.receive()

        assert found["count"] > 0


async def test_tasks_that_map_at_once_each_get_their_own_machine(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]

    async def check(handle: RemoteHandle, name: str) -> None:
        with await handle.map() as seen:
            assert seen.read(0, 1) == name.encode()

    async with lab(tmp_path, *(machine(name) for name in names)) as it, it.connect() as hub:
        handles = {name: await hub.open(f"{name}:/dev/mem", "r+") for name in names}
        for name, handle in handles.items():
            await handle.pwrite(name.encode(), 0)

        for _ in range(20):
            async with anyio.create_task_group() as tasks:
                for name, handle in handles.items():
                    tasks.start_soon(check, handle, name)


async def test_mapped_memory_is_the_machines_own(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem", "r+")
        with await handle.map() as seen, await handle.map(write=True) as shared:
            await handle.pwrite(b"by write", 0x1000)
            assert seen.read(0x1000, 8) == b"by write"
            shared.write(0x1000, b"by map  ")
            assert await handle.pread(8, 0x1000) == b"by map  "
            with pytest.raises(TypeError):
                seen.write(0x1000, b"no")

            with pytest.raises(BadAddress):
                seen.read(64 * MIB - 4, 8)

        granted = it.records("memory.map")
        assert [(r["flags"], r["errno"]) for r in granted] == [(1, None), (3, None)]


WP_DEFAULT = {0x2FF: 0x805}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"securelevel": 1}, "securelevel 1"),
        ({"msrs": WP_DEFAULT}, "has write-protected RAM at 0x0"),
    ],
)
async def test_writing_by_mapping_is_granted_only_where_the_machine_allows_it(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    async with lab(tmp_path, machine(**changes)) as it, it.connect() as hub:
        with pytest.raises(NotPermitted, match=reason):
            await hub.map_memory(write=True)

        (await hub.map_memory()).close()
        handle = await hub.open("/dev/kmem")
        with pytest.raises(NotSupported):
            await handle.map()


async def test_a_lost_service_fails_whoever_waits(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("a") as one, it.connect("b") as two:
        await (await one.open("/dev/mem")).claim(0, MIB)
        handle = await two.open("/dev/mem")
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:

                async def wait() -> None:
                    with pytest.raises(ConnectionError, match="the rig goes home"):
                        await handle.claim(0, MIB, wait=math.inf)

                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                for connection in tuple(it.server._connections):
                    connection.end_now("stop", "the rig goes home")

        with pytest.raises(ConnectionError):
            await handle.ranges()


async def test_the_environment_names_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lab(tmp_path, allowed_uids=(1,)) as it:
        monkeypatch.setenv("MEMHUB_SOCKET", it.address)
        with pytest.raises(AccessDenied, match="not among the users"):
            async with memhub.connect():
                pass
