"""What becomes of requests and transfers at GOODBYE, a stop and an ABORT, as the page says it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import anyio

from memhub.service import wire
from memhub.service.server import server as server_module
from memhub.service.settings import Limits
from service.service_rig import MIB, WINDOW, RawClient, frames, lab, update
from service.test_protocol_ends import refuse_records, stopping

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from service.service_rig import Lab

FOREVER = 0xFFFFFFFF


def names(messages: list[Any]) -> dict[int, str]:
    """The answers by request: the frame's name, or the errno's."""
    return {it.request: getattr(it, "name", it.NAME) for it in messages}


async def until_busy(it: Lab) -> Any:
    """The connection of a lab's one client, once a request is in flight there."""
    (connection,) = it.server._connections
    with anyio.fail_after(20):
        while not connection.busy:
            await anyio.lowlevel.checkpoint()

    return connection


async def waiting_client(it: Lab) -> tuple[RawClient, Any]:
    """A client whose request 50 waits for a claim of the hub, and its connection."""
    client = await RawClient.dial(it.address)
    handle = await client.open()
    client.send(*client.protocol.send(wire.Wait(50, handle, WINDOW, MIB, FOREVER)))

    return client, await until_busy(it)


# GOODBYE from both sides


async def test_a_goodbye_of_each_side_crosses_that_of_the_other(tmp_path: Path) -> None:
    """Neither is answered, what is in flight is, and the service closes."""
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        client, connection = await waiting_client(it)
        connection.begin_drain("the service stops", 5.0)
        client.send(*frames(wire.Goodbye(0, 0, "enough")))
        (goodbye,) = await client.receive()
        assert isinstance(goodbye, wire.Goodbye)
        await anyio.wait_all_tasks_blocked()
        here.close()
        assert await client.last_words() == [wire.Done(50)]
        await it.settled(0)
        (ended,) = it.records("service.disconnect")
        assert (ended["cause"], ended["reason"]) == ("stop", "the service stops")
        client.close()


async def test_a_stop_sends_no_goodbye_to_a_client_that_has_said_it(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        client, connection = await waiting_client(it)
        client.send(client.protocol.goodbye("enough"))
        while connection._protocol.state == "open":
            await anyio.lowlevel.checkpoint()

        connection.begin_drain("the service stops", 5.0)
        here.close()
        assert await client.last_words() == [wire.Done(50)]
        client.close()


async def test_a_request_behind_both_goodbyes_is_out_of_order(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        client, connection = await waiting_client(it)
        connection.begin_drain("the service stops", 5.0)
        client.send(*frames(wire.Goodbye(0, 0, ""), wire.Ping(60, 1)))
        *_, abort = await client.last_words()
        assert isinstance(abort, wire.Abort)
        assert abort.reason == "out-of-order: PING came after GOODBYE"
        here.close()
        client.close()


async def test_a_goodbye_with_nothing_in_flight_closes_at_once(tmp_path: Path) -> None:
    """Also of a client whose idle time is short: it is not idle but gone."""
    async with lab(tmp_path, limits=Limits(idle_timeout=60.0)) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        await client.ask(wire.Claim(0, handle, 0, 0, WINDOW, MIB))
        client.send(client.protocol.goodbye("enough"))
        assert await client.last_words() == []
        await it.settled(0)
        assert it.hub.claims() == []
        (ended,) = it.records("service.disconnect")
        assert ended["cause"] == "goodbye"
        client.close()


async def test_after_goodbye_the_service_reads_a_stream_to_its_end(tmp_path: Path) -> None:
    """A write that was answered early is in flight until its client has ended the stream."""
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        client.send(*frames(wire.Pwrite(51, handle + 1, 0, 12, b"abcd")))
        client.protocol._flight[51] = wire.Pwrite.TYPE
        (early,) = await client.receive()
        assert names([early]) == {51: "EBADF"}
        client.send(client.protocol.goodbye("enough"))
        (connection,) = it.server._connections
        for last in (False, True):
            await anyio.wait_all_tasks_blocked()
            assert connection.busy
            client.send(*frames(wire.Data(51, last, b"efgh")))

        assert await client.last_words() == []
        client.close()


async def test_a_stream_that_is_not_ended_keeps_its_connection_from_being_idle(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, limits=Limits(idle_timeout=0.3)) as it:
        client = await RawClient.dial(it.address)
        client.send(*frames(wire.Pwrite(51, 9, 0, 6, b"abc")))
        client.protocol._flight[51] = wire.Pwrite.TYPE
        (early,) = await client.receive()
        assert names([early]) == {51: "EBADF"}
        other = await RawClient.dial(it.address)
        assert isinstance((await other.last_words())[-1], wire.Goodbye)
        other.close()
        client.send(*frames(wire.Data(51, True, b"")))
        assert isinstance((await client.last_words())[-1], wire.Goodbye)
        client.close()


# A stop


async def test_a_stop_lets_transfers_under_way_end(tmp_path: Path) -> None:
    """A read goes on as it is read, and a write takes the DATA that comes after GOODBYE."""
    async with lab(tmp_path, limits=Limits(queued_bytes=1 << 16)) as it:
        here = await it.hub.open("/dev/mem")
        async with stopping(it, tmp_path / "two", 60.0) as (address, stop):
            client = await RawClient.dial(address)
            handle = await client.open()
            asked = (
                wire.Pread(51, handle, 0, 8 * MIB),
                wire.Pwrite(52, handle, 9 * MIB, 6, b"abc"),
                wire.Ping(53, 7),
            )
            client.send(*[b for each in asked for b in client.protocol.send(each)])
            found: list[Any] = []
            while not any(it.request == 53 for it in found):
                found += await client.receive()

            stop.set()
            while not any(isinstance(it, wire.Goodbye) for it in found):
                found += await client.receive()

            client.send(*client.protocol.send(wire.Data(52, True, b"def")))
            found += await client.last_words()

        assert names(found) == {51: "DATA", 52: "DONE", 53: "DONE", 0: "GOODBYE"}
        read = [m.data for m in found if isinstance(m, wire.Data)]
        assert sum(map(len, read)) == 8 * MIB
        assert await here.pread(6, 9 * MIB) == b"abcdef"
        here.close()
        client.close()


async def test_a_stop_ends_first_who_has_nothing_in_flight(tmp_path: Path) -> None:
    """So the claim of one client is granted to another that waits for it."""
    async with lab(tmp_path) as it, stopping(it, tmp_path / "two", 60.0) as (address, stop):
        holder, waiter = await RawClient.dial(address), await RawClient.dial(address)
        held = await holder.ask(wire.Claim(0, await holder.open(), 0, 0, WINDOW, MIB))
        assert isinstance(held, wire.Claimed)
        handle = await waiter.open()
        waiter.send(*waiter.protocol.send(wire.Claim(50, handle, 0, FOREVER, WINDOW, MIB)))
        await waiter.ask(wire.Ping(0, 1))
        stop.set()
        assert [m.NAME for m in await waiter.last_words()] == ["GOODBYE", "CLAIMED"]
        assert [m.NAME for m in await holder.last_words()] == ["GOODBYE"]
        holder.close()
        waiter.close()


async def test_a_stop_drops_what_is_not_read_in_its_last_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_LAST_ANSWERS_SECONDS", 0.05)
    async with lab(tmp_path) as it:
        with anyio.fail_after(20):
            async with stopping(it, tmp_path / "two", 0.05) as (address, stop):
                client = await RawClient.dial(address)
                handle = await client.open()
                client.send(*client.protocol.send(wire.Pread(51, handle, 0, 32 * MIB)))
                await client.receive()
                stop.set()

        found = await client.last_words()
        assert not any(isinstance(m, wire.Data) and m.last for m in found)
        client.close()


async def test_a_connection_that_is_taken_as_the_service_stops_is_closed_unanswered(
    tmp_path: Path,
) -> None:
    """It came before the stop and was not served yet; it may be tried again."""
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        async with stopping(it, tmp_path / "two", 60.0) as (address, stop):
            client = await RawClient.dial(address)
            asked = wire.Wait(0, await client.open(), WINDOW, MIB, FOREVER)
            client.send(*client.protocol.send(asked))
            await client.ask(wire.Ping(0, 1))
            late = await RawClient.dial(address, greet=False)
            stop.set()
            (goodbye,) = await client.receive()
            assert isinstance(goodbye, wire.Goodbye)
            late.protocol.hello("late")
            assert await late.last_words() == []
            here.close()
            assert await client.last_words() == [wire.Done(asked.request)]

        late.close()
        client.close()


# ABORT


async def test_requests_before_a_breach_are_answered_and_those_that_take_time_are_not(
    tmp_path: Path,
) -> None:
    """Their effect ends with the connection."""
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        client = await RawClient.dial(it.address)
        handle = await client.open()
        asked = (
            wire.Pwrite(51, handle, 0, 3, b"abc"),
            wire.Claim(52, handle, 0, FOREVER, WINDOW, MIB),
            wire.Claim(53, handle, 0, 0, 0, MIB),
        )
        sent = [b for each in asked for b in client.protocol.send(each)]
        client.send(*sent, *frames(wire.Ping(52, 1)))
        *answers, abort = await client.last_words()
        assert names(answers) == {51: "DONE", 53: "CLAIMED"}
        assert isinstance(abort, wire.Abort)
        assert abort.reason.startswith("bad-request-id: request id 52 is used again")
        await it.settled(0)
        assert await here.pread(3, 0) == b"abc"
        assert [claim.base for claim in it.hub.claims()] == [WINDOW]
        assert not it.hub.machines["pc"].waits.waits
        here.close()
        client.close()


async def test_requests_before_a_clients_abort_are_answered(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        client = await RawClient.dial(it.address)
        handle = await client.open()
        asked = (
            wire.Wait(50, handle, WINDOW, MIB, FOREVER),
            wire.Pwrite(51, handle, 0, 3, b"abc"),
        )
        sent = [b for each in asked for b in client.protocol.send(each)]
        client.send(*sent, *frames(wire.Abort(0, "malformed: why"), wire.Ping(60, 1)))
        assert names(await client.last_words()) == {51: "DONE"}
        await it.settled(0)
        assert await here.pread(3, 0) == b"abc"
        here.close()
        client.close()


# REFUSED


async def test_a_log_that_fails_refuses_hello_with_eio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be tried again: nothing of the client stays behind."""
    async with lab(tmp_path, limits=Limits(connections=1)) as it:
        for _ in range(2):
            client = await RawClient.dial(it.address, greet=False)
            with monkeypatch.context() as patch:
                patch.setattr(it.hub.engine._recorder, "append", refuse_records)
                client.send(client.protocol.hello("raw"))
                (refused,) = await client.last_words()

            assert isinstance(refused, wire.Refused)
            assert (refused.code, refused.name) == (errno.EIO, "EIO")
            client.close()
            await it.settled(0)

        again = await RawClient.dial(it.address)
        asked = update(await again.open(), WINDOW, MIB, 1)
        assert isinstance(await again.ask(asked), wire.IoctlDone)
        again.close()
