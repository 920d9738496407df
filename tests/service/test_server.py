"""One connection is one process of the hub, whatever it says of itself and however it ends."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub.abi import LP64, MDF_BUSY, MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.errors import LogFailed, RangeBusy, StaleClaim
from memhub.service import wire
from memhub.service.server import Server
from memhub.service.settings import ServiceConfig, ServiceError
from service.service_rig import MIB, WINDOW, RawClient, get, lab, machine, update

if TYPE_CHECKING:
    from pathlib import Path

    from anyio.abc import TaskStatus


async def test_a_clients_pid_and_uid_are_the_kernels(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("pid 1, really") as hub:
        async with await hub.open("/dev/mem"):
            (row,) = (await hub.report())["machines"][0]["processes"]

        assert (row["pid"], row["uid"]) == (os.getpid(), os.getuid())
        assert row["process"] == "pid 1, really"
        (record,) = it.records("service.connect")
        assert (record["pid"], record["uid"]) == (os.getpid(), os.getuid())


async def test_all_that_one_receive_brings_is_answered_by_one_send(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        asked = [b"".join(client.protocol.send(get(handle))) for _ in range(20)]
        client.send(*asked)
        answers = await client.receive()

        assert len(answers) == 20
        assert {type(answer) for answer in answers} == {wire.IoctlDone}
        client.close()


async def test_another_clients_claim_is_busy_and_says_whose(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("holder") as one, it.connect("other") as two:
        mine, theirs = await one.open("/dev/mem"), await two.open("/dev/mem")
        await mine.set_range(WINDOW, MIB, MDF_WRITECOMBINE, owner="Xorg")

        assert any(desc.mr_flags & MDF_BUSY for desc in await theirs.ranges())
        assert not any(desc.mr_flags & MDF_BUSY for desc in await mine.ranges())
        with pytest.raises(RangeBusy, match="is claimed by holder") as caught:
            await theirs.set_range(WINDOW, MIB, MDF_UNCACHEABLE)

        assert caught.value.obstacles[0].process == "holder"
        assert caught.value.obstacles[0].pid == os.getpid()


async def test_claims_end_with_the_connection_and_the_range_stays(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect() as watcher:
        mine = await watcher.open("/dev/mem")
        client = await RawClient.dial(it.address)
        await client.ask(update(await client.open(), WINDOW, MIB, MDF_WRITECOMBINE))
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(mine.wait_free, WINDOW, MIB, 10)
                await anyio.wait_all_tasks_blocked()
                client.close()

        (desc,) = [d for d in await mine.ranges() if d.mr_base == WINDOW]
        assert desc.mr_flags & MDF_WRITECOMBINE
        assert [r["cause"] for r in it.records("request.close")] == ["disconnect"]
        assert [r["cause"] for r in it.records("service.disconnect")] == ["disconnect"]


async def test_a_client_that_goes_in_its_wait_leaves_the_queue(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("holder") as hub:
        mine = await hub.open("/dev/mem")
        await mine.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
        client = await RawClient.dial(it.address)
        handle = await client.open()
        asked = update(handle, WINDOW, MIB, MDF_UNCACHEABLE, wait_ms=wire.U32_MAX)
        client.send(*client.protocol.send(asked))
        while not it.hub.report()["machines"][0]["waits"]:
            await anyio.lowlevel.checkpoint()

        client.close()
        await it.settled(1)

        assert it.hub.report()["machines"][0]["waits"] == []
        assert [r["cause"] for r in it.records("wait.end")] == ["close"]


async def test_a_client_that_goes_in_its_commit_changes_nothing(tmp_path: Path) -> None:
    slow = machine(commit_latency=30.0)
    async with lab(tmp_path, slow) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        before = (await client.ask(get(handle))).desc  # type: ignore[attr-defined]
        client.send(*client.protocol.send(update(handle, WINDOW, MIB, MDF_WRITECOMBINE)))
        while not it.hub.report()["machines"][0]["commits"]:
            await anyio.lowlevel.checkpoint()

        client.close()
        await it.settled(0)
        again = await RawClient.dial(it.address)

        assert (await again.ask(get(await again.open()))).desc == before  # type: ignore[attr-defined]
        assert it.hub.report()["machines"][0]["commits"] == []
        again.close()


async def test_cancel_ends_a_wait_and_is_answered_with_ecanceled(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect() as hub:
        await (await hub.open("/dev/mem")).claim(0, MIB)
        client = await RawClient.dial(it.address)
        handle = await client.open()
        wait = wire.Claim(7, handle, 0, wire.U32_MAX, 0, MIB)
        client.send(*client.protocol.send(wait), *client.protocol.send(wire.Cancel(7)))
        (answer,) = await client.receive()

        assert isinstance(answer, wire.Error)
        assert answer.name == "ECANCELED"
        assert isinstance(await client.ask(wire.Ping(0, 5)), wire.Done)
        client.close()


async def test_a_null_pointer_is_efault_only_where_it_would_be_followed(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        count = wire.Ioctl(0, handle, LP64.get, LP64.op.pack(0, 0, 0), room=4096)
        table = wire.Ioctl(0, handle, LP64.get, LP64.op.pack(0, 8, 0), room=4096)
        write = wire.Ioctl(0, handle, LP64.set[0], LP64.op.pack(0, 0, 0), bytes(32))

        assert isinstance(await client.ask(count), wire.IoctlDone)
        for message in (table, write):
            answer = await client.ask(message)
            assert isinstance(answer, wire.Error)
            assert answer.name == "EFAULT"

        client.close()


async def test_looks_that_are_in_no_log_are_answered_with_eio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()

        def full(*_: Any) -> None:
            raise OSError(28, "no space left")

        with monkeypatch.context() as patch:
            patch.setattr(type(it.log), "flush", full)
            client.send(*(b"".join(client.protocol.send(get(handle))) for _ in range(3)))
            answers = await client.receive()

        assert [a.kind for a in answers] == [LogFailed.__name__] * 3  # type: ignore[attr-defined]
        assert isinstance(await client.ask(get(handle)), wire.IoctlDone)
        client.close()


async def test_stopping_answers_what_is_under_way_and_nothing_new(tmp_path: Path) -> None:
    settings, stop = ServiceConfig(socket=tmp_path / "two"), anyio.Event()
    async with lab(tmp_path, machine(commit_latency=0.2)) as it:

        async def serve(*, task_status: TaskStatus[None]) -> None:
            async with Server(it.hub, settings):
                task_status.started()
                await stop.wait()

        async with anyio.create_task_group() as tasks:
            await tasks.start(serve)
            client = await RawClient.dial(str(tmp_path / "two"))
            handle = await client.open()
            client.send(*client.protocol.send(update(handle, WINDOW, MIB, MDF_WRITECOMBINE)))
            while not it.hub.report()["machines"][0]["commits"]:
                await anyio.lowlevel.checkpoint()

            late = client.protocol.send(wire.Ping(0, 1))
            stop.set()
            first = await client.receive()
            client.send(*late)
            words = first + await client.last_words()
            client.close()

    assert [type(word) for word in words] == [wire.Goodbye, wire.Error, wire.IoctlDone]
    assert words[1].name == "ECANCELED"  # type: ignore[attr-defined]


async def test_a_broken_claim_is_told_its_holder(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("holder") as one, it.connect() as two:
        mine, theirs = await one.open("/dev/mem"), await two.open("/dev/mem")
        claim = await mine.claim(MIB, MIB)

        assert await theirs.break_claims(MIB, 1, "the rig is needed") == 1
        with pytest.raises(StaleClaim, match="the rig is needed"):
            await mine.renew(claim.fence, None)


# The socket


async def test_the_socket_has_its_mode_and_goes_with_the_service(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with lab(tmp_path, mode=0o640):
        assert path.stat().st_mode & 0o777 == 0o640

    assert not path.exists()


async def test_a_path_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ServiceError, match="is not a socket"):
        async with lab(tmp_path):
            pass

    assert (tmp_path / "s").read_text() == "precious"


async def test_a_socket_in_use_is_left_to_its_service(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        second = Server(it.hub, ServiceConfig(socket=tmp_path / "s"), replace_stale=True)
        with pytest.raises(ServiceError, match="a service answers there"):
            async with second:
                pass


async def test_a_stale_socket_is_replaced_only_if_asked(tmp_path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "s"))
    dead.close()
    with pytest.raises(ServiceError, match=r"stale socket: .*--replace-stale"):
        async with lab(tmp_path):
            pass

    settings = ServiceConfig(socket=tmp_path / "s")
    (tmp_path / "more").mkdir()
    async with lab(tmp_path / "more") as it, Server(it.hub, settings, replace_stale=True):
        (await RawClient.dial(f"unix:{tmp_path / 's'}")).close()
