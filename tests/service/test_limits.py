"""What one client may use: each limit refuses with a reason, is logged, and hurts nobody else."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub.abi import Errno
from memhub.errors import DeviceError, NoSpace
from memhub.service import wire
from memhub.service.settings import Limits
from service.service_rig import MIB, RawClient, frames, get, lab

if TYPE_CHECKING:
    from pathlib import Path

    from service.service_rig import Lab


def rejections(it: Lab) -> list[tuple[str, str]]:
    return [(record["op"], record["reason"]) for record in it.records("service.reject")]


async def fine(it: Lab) -> None:
    """Another client is served as ever."""
    async with it.connect("bystander") as hub:
        assert len(await (await hub.open("/dev/mem")).ranges()) > 0


async def test_handles(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(handles=2)) as it, it.connect() as hub:
        first = await hub.open("/dev/mem")
        await hub.open("/dev/mem")
        with pytest.raises(NoSpace, match="2 handles are open, which is the limit"):
            await hub.open("/dev/mem")

        await first.aclose()
        await hub.open("/dev/mem")
        await fine(it)
        assert rejections(it) == [("open", "2 handles are open, which is the limit")]


async def test_connections(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(connections=1)) as it:
        async with it.connect():
            with pytest.raises(DeviceError, match="1 clients are connected, which is the l") as no:
                async with it.connect():
                    pass

            assert no.value.code is Errno.EAGAIN

        await it.settled(0)
        await fine(it)
        assert [op for op, _ in rejections(it)] == ["connect"]


async def test_frames(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(frame_size=8192)) as it:
        client = await RawClient.dial(it.address)
        client.send(wire.Pwrite(1, 1, 0, 9000, bytes(9000)).encode()[:12])
        (abort,) = await client.last_words()

        assert isinstance(abort, wire.Abort)
        assert "over the limit of 8192" in abort.reason
        await fine(it)
        client.close()


async def test_requests_in_flight(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(in_flight=4)) as it:
        client = await RawClient.dial(it.address)
        client.send(*frames(*(wire.Ping(number, 0) for number in range(1, 6))))
        client.protocol._flight.update(dict.fromkeys(range(1, 6), wire.Ping.TYPE))
        *_, abort = await client.last_words()

        assert isinstance(abort, wire.Abort)
        assert "request 5 is over the limit of 4 in flight" in abort.reason
        await fine(it)
        client.close()


async def test_a_client_waits_for_its_turn_rather_than_break_the_limit(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(in_flight=3)) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem")
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(handle.ranges)

        assert rejections(it) == []


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ([wire.Hello(0, wire.greeting.MAGIC, 1, 1, 0, 0, 0, "again", b"")], "HELLO came twice"),
        ([wire.Ping(5, 0), wire.Open(5, 1, 0, "/dev/mem"), wire.Wait(5, 1, 0, 1, 9)], "used again"),
        ([wire.Goodbye(0, 0, "bye"), wire.Ping(6, 0)], "came after GOODBYE"),
    ],
)
async def test_a_broken_rule_ends_the_connection_and_is_logged(
    tmp_path: Path, words: list[wire.Message], rule: str
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        client.send(*frames(*words))
        client.protocol._flight.update({5: wire.Ping.TYPE})
        *_, abort = await client.last_words()

        assert isinstance(abort, wire.Abort)
        assert rule in abort.reason
        await it.settled(0)
        await fine(it)
        assert [op for op, reason in rejections(it) if rule in reason] == ["protocol"]
        client.close()


async def test_a_request_before_the_handshake_is_refused(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, greet=False)
        client.protocol.hello("silent")
        client.send(*frames(wire.Ping(1, 0)))
        (abort,) = await client.last_words()

        assert isinstance(abort, wire.Abort)
        assert "before the handshake" in abort.reason
        client.close()


async def test_whoever_does_not_greet_is_cut_off(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(handshake_timeout=0.1)) as it:
        client = await RawClient.dial(it.address, greet=False)

        assert await client.last_words() == []
        await fine(it)
        assert rejections(it) == [("connect", "no HELLO in 0.1 seconds")]
        client.close()


async def test_whoever_is_idle_is_told_and_cut_off(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(idle_timeout=0.1)) as it:
        client = await RawClient.dial(it.address)
        await client.open()
        (goodbye,) = await client.last_words()

        assert isinstance(goodbye, wire.Goodbye)
        assert goodbye.reason == "no request in 0.1 seconds"
        await it.settled(0)
        assert [r["cause"] for r in it.records("service.disconnect")] == ["idle"]
        client.close()


async def test_whoever_waits_for_an_answer_is_not_idle(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(idle_timeout=0.05)) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(0, MIB)
        client = await RawClient.dial(it.address)
        wait = wire.Wait(0, await client.open(), 0, MIB, 400)
        (answer,) = [await client.ask(wait)]

        assert isinstance(answer, wire.Error)
        assert answer.name == "ETIMEDOUT"
        here.close()
        client.close()


async def test_a_client_that_stops_reading_is_cut_off_and_hurts_nobody(tmp_path: Path) -> None:
    limits = Limits(queued_bytes=1 << 20, stall_timeout=0.3, in_flight=64)
    async with lab(tmp_path, limits=limits) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(60):
            client.send(*client.protocol.send(wire.Pread(0, handle, 0, 1 << 19)))

        peak = 0
        with anyio.fail_after(20):
            while it.server.connections:
                peak = max([peak, *(c.link.queued for c in it.server._connections)])
                await anyio.lowlevel.checkpoint()

        await fine(it)

        assert 0 < peak <= 1 << 21
        (cut,) = [r for r in it.records("service.disconnect") if r["process"] == "raw"]
        assert (cut["cause"], "stopped reading" in cut["reason"]) == ("slow", True)
        client.close()


async def test_a_large_read_does_not_starve_others(tmp_path: Path) -> None:
    order: list[str] = []
    limits = Limits(frame_size=1 << 16, queued_bytes=1 << 17)
    async with lab(tmp_path, limits=limits) as it, it.connect() as one, it.connect() as two:
        large, small = await one.open("/dev/mem"), await two.open("/dev/mem")

        async def bulk() -> None:
            assert len(await large.pread(16 * MIB, 0)) == 16 * MIB
            order.append("large")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bulk)
            for _ in range(10):
                await small.pread(8, 0)

            order.append("small")

    assert order == ["small", "large"]


async def test_pipelined_large_reads_are_served_however_slowly_they_are_read(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, limits=Limits(queued_bytes=1 << 20)) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        for _ in range(16):
            client.send(*client.protocol.send(wire.Pread(0, handle, 0, 1 << 19)))

        got = 0
        while got < 16 << 19:
            pieces: list[Any] = await client.receive()
            got += sum(len(piece.data) for piece in pieces)

        assert isinstance(await client.ask(get(handle)), wire.IoctlDone)
        client.close()


async def test_a_frame_above_queued_bytes_does_not_cut_off_its_reader(tmp_path: Path) -> None:
    """The service makes no more answers until it is read; only `stall_timeout` ends the wait."""
    limits = Limits(queued_bytes=1 << 16)
    async with lab(tmp_path, limits=limits) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        (connection,) = it.server._connections
        for _ in range(8):
            client.send(*client.protocol.send(wire.Pread(0, handle, 0, MIB)))

        with anyio.fail_after(20):
            while connection.link.queued <= limits.queued_bytes:
                await anyio.lowlevel.checkpoint()

        it.server._check_connection(connection, None, anyio.current_time())
        got = 0
        while got < 8 * MIB:
            pieces: list[Any] = await client.receive()
            assert pieces
            assert connection.link.queued <= (limits.queued_bytes // 2) + MIB + 12
            got += sum(len(piece.data) for piece in pieces)

        client.close()


async def test_a_client_that_reads_slowly_is_not_taken_for_one_that_stopped(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(stall_timeout=1000)) as it:
        ended: list[str] = []
        link = SimpleNamespace(queued=9, taken=5, held=20)
        link.progress = lambda: (link.taken, link.held)
        slow: Any = SimpleNamespace(
            receives=1, greeted=True, link=link, end_now=lambda cause, _: ended.append(cause)
        )
        seen = it.server._check_connection(slow, None, 0)
        for moment in (900, 1800, 2700):
            link.held -= 1
            seen = it.server._check_connection(slow, seen, moment)

        assert ended == []
        it.server._check_connection(slow, seen, 3701)
        assert ended == ["slow"]
