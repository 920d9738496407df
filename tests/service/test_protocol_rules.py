"""The rules that `docs/protocol.md` states, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.errors import AccessDenied, StaleClaim
from memhub.service import wire
from memhub.service.client import connect
from memhub.service.settings import Limits, RightsRule, TcpConfig
from service.service_rig import MIB, WINDOW, RawClient, frames, lab, update
from service.test_tls import TOKEN, client_context, tcp_address

if TYPE_CHECKING:
    from pathlib import Path

    import trustme


async def events_of(client: RawClient, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        found += [it for it in await client.receive() if isinstance(it, wire.Event)]

    return found


async def test_pipelined_requests_take_effect_in_the_order_sent(tmp_path: Path) -> None:
    """And what waits does not hold up what is behind it."""
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        client = await RawClient.dial(it.address)
        handle = await client.open()
        asked: list[wire.Message] = [wire.Claim(50, handle, 0, 0xFFFFFFFF, WINDOW, MIB)]
        for number in range(20):
            data = bytes([number]) * 8
            asked.append(wire.Pwrite(60 + 2 * number, handle, 0, 8, data))
            asked.append(wire.Pread(61 + 2 * number, handle, 0, 8))

        client.send(*(b for message in asked for b in client.protocol.send(message)))
        answers: list[Any] = []
        while len(answers) < 40:
            answers += await client.receive()

        read = [answer.data for answer in answers if isinstance(answer, wire.Data)]
        assert read == [bytes([number]) * 8 for number in range(20)]
        assert client.protocol.in_flight == {50}
        here.close()
        (claimed,) = await client.receive()
        assert isinstance(claimed, wire.Claimed)
        client.close()


async def test_the_service_stops_reading_while_answers_go_unread(tmp_path: Path) -> None:
    """A client that only writes is stopped; one that reads goes on where it was."""
    limits = Limits(frame_size=1 << 16, queued_bytes=1 << 18, in_flight=4096)
    async with lab(tmp_path, limits=limits) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        asked = [wire.Pread(0, handle, 0, 1 << 15) for _ in range(2000)]
        requests = iter([b"".join(client.protocol.send(it)) for it in asked])
        (connection,) = it.server._connections
        while connection.link.queued <= limits.queued_bytes // 2:
            client.send(next(requests))
            await anyio.lowlevel.checkpoint()

        heard = connection.receives
        for _ in range(20):
            client.send(next(requests))
            await anyio.wait_all_tasks_blocked()

        assert connection.receives == heard
        assert connection.link.queued < limits.queued_bytes
        got = 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_send_rest, client, b"".join(requests))
            while client.protocol.in_flight:
                got += sum(len(m.data) for m in await client.receive() if isinstance(m, wire.Data))

        assert got == 2000 << 15
        client.close()


async def _send_rest(client: RawClient, stream: bytes) -> None:
    while stream:
        await anyio.wait_writable(client.socket)
        stream = stream[client.socket.send(stream) :]


def test_what_counts_as_in_flight() -> None:
    """Requests until their last answer and the end of their own stream; nothing else."""
    server = wire.ServerProtocol(wire.Limits(max_body=4096, max_in_flight=2))
    server.receive(wire.ClientProtocol().hello())
    server.accept("memhub")
    server.receive(b"".join(frames(wire.Subscribe(1, 0, 0, 0, ""), wire.Pwrite(2, 1, 0, 9, b""))))
    server.send(wire.Done(1, 1))
    server.send(wire.Event(0, 1, 0, 0, 0, 0, "undo", b""))
    server.send(wire.Done(2, 0))
    server.receive(b"".join(frames(wire.Ping(3, 0), wire.Cancel(3), wire.Data(2, False, b"abc"))))
    assert server.in_flight == {3}
    with pytest.raises(wire.ProtocolError, match="request id 2 is used again"):
        server.receive(wire.Ping(2, 0).encode())


async def test_a_subscriber_with_events_is_not_idle(tmp_path: Path) -> None:
    """One that gets none is, and so is its neighbour."""
    async with lab(tmp_path, limits=Limits(idle_timeout=0.2)) as it:
        here = await it.hub.open("/dev/mem")
        client, other = [await RawClient.dial(it.address) for _ in range(2)]
        await client.ask(wire.Subscribe(0, 0, 0, 0, ""))
        await other.ask(wire.Subscribe(0, 0, WINDOW, MIB, ""))
        gone: list[wire.Message] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_listen, other, gone)
            while not gone:
                claim = await here.claim(0, MIB)
                await here.release(0, MIB, fence=claim.fence)
                await events_of(client, 2)

        assert isinstance(gone[0], wire.Goodbye)
        assert it.server.connections == 1
        (last,) = [m for m in await client.last_words() if isinstance(m, wire.Goodbye)]
        assert "no request in 0.2 seconds" in last.reason
        here.close()
        client.close()
        other.close()


async def _listen(client: RawClient, gone: list[wire.Message]) -> None:
    gone += await client.last_words()


async def test_after_its_goodbye_a_client_may_end_its_writes_and_cancel(tmp_path: Path) -> None:
    """The service answers what is in flight, and closes."""
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        client = await RawClient.dial(it.address)
        handle = await client.open()
        client.send(*client.protocol.send(wire.Wait(50, handle, WINDOW, MIB, 0xFFFFFFFF)))
        client.send(*client.protocol.send(wire.Pwrite(51, handle, 0, 6, b"abc")))
        client.send(client.protocol.goodbye("done"))
        client.send(*client.protocol.send(wire.Data(51, True, b"def")))
        client.send(*client.protocol.send(wire.Cancel(50)))
        answers = await client.last_words()

        assert {m.request: getattr(m, "name", m.NAME) for m in answers} == {
            50: "ECANCELED",
            51: "DONE",
        }
        assert await here.pread(6, 0) == b"abcdef"
        here.close()
        client.close()


async def test_a_request_that_crosses_the_services_goodbye_is_cancelled(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        client = await RawClient.dial(it.address)
        handle = await client.open()
        client.send(*client.protocol.send(wire.Wait(50, handle, WINDOW, MIB, 0xFFFFFFFF)))
        (connection,) = it.server._connections
        while not connection.busy:
            await anyio.lowlevel.checkpoint()

        connection.begin_drain("the service stops", 5.0)
        (goodbye,) = await client.receive()
        assert isinstance(goodbye, wire.Goodbye)
        assert goodbye.grace_ms == 5000
        client.send(wire.Ping(60, 1).encode())
        client.protocol._flight[60] = wire.Ping.TYPE
        (crossed,) = await client.receive()
        assert (crossed.request, getattr(crossed, "name", "")) == (60, "ECANCELED")
        here.close()
        (answer,) = await client.last_words()
        assert answer == wire.Done(50)
        client.close()


@pytest.mark.parametrize(("low", "high"), [(0, 0), (0, 1), (2, 1)])
async def test_versions_are_a_range_from_1(tmp_path: Path, low: int, high: int) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, greet=False)
        hello = bytearray(client.protocol.hello())
        hello[20:24] = low.to_bytes(2, "little") + high.to_bytes(2, "little")
        client.send(bytes(hello))
        (abort,) = await client.last_words()

        assert isinstance(abort, wire.Abort)
        assert abort.reason.startswith("malformed: HELLO has versions")
        client.close()


async def test_a_token_beside_a_certificate(
    tmp_path: Path, files: dict[str, Any], authority: trustme.CA
) -> None:
    """It may be left out, must be known where it is shown, and adds its rights."""
    names = tmp_path / "tokens"
    names.write_text(f"ci:{TOKEN}\n")
    names.chmod(0o600)
    rights = (
        RightsRule(subject="rig-a", allow=frozenset({"read-ranges"})),
        RightsRule(token="ci", allow=frozenset({"read-memory"})),
    )
    tcp = TcpConfig(**files, token_file=names)
    async with lab(tmp_path, tcp=tcp, rights=rights) as it:
        address = tcp_address(it.server.addresses)
        context = client_context(authority, "rig-a")
        async with connect(address, ssl_context=context, token=TOKEN) as hub:
            handle = await hub.open("/dev/mem")
            assert len(await handle.ranges()) > 0
            assert await handle.pread(1, 0) == b"\0"

        async with connect(address, ssl_context=context) as hub:
            assert len(await (await hub.open("/dev/mem")).ranges()) > 0

        with pytest.raises(AccessDenied, match="the token is not known"):
            async with connect(address, ssl_context=context, token="a-token-of-nobody"):
                pass


async def test_a_range_subscription_gets_what_touches_it_and_what_has_no_range(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        await client.ask(wire.Subscribe(0, 0, WINDOW, MIB, ""))
        here = await it.hub.open("/dev/mem")
        for base in (WINDOW - MIB, WINDOW + MIB - 4096, WINDOW + MIB):
            await here.claim(base, MIB)

        it.hub.engine._recorder.listeners.tell([{"event": "device.detach", "machine": "pc"}], 0)
        events = await events_of(client, 2)
        assert [(it.event, it.base) for it in events] == [
            ("claim.take", WINDOW + MIB - 4096),
            ("device.detach", 0),
        ]
        here.close()
        client.close()


async def test_the_oldest_event_is_dropped_and_counted(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        await client.ask(wire.Subscribe(0, 2, 0, 0, ""))
        here = await it.hub.open("/dev/mem")
        for number in range(5):
            it.hub.engine.submit(_claiming(here.number, number * MIB))

        events = await events_of(client, 2)
        assert [(event.base, event.missed) for event in events] == [(3 * MIB, 3), (4 * MIB, 0)]
        logged = [record["seq"] for record in it.records("claim.take")]
        assert logged[3:] == [event.sequence for event in events]
        here.close()
        client.close()


def _claiming(handle: int, base: int) -> Any:
    from memhub.core.requests import ClaimRange

    return ClaimRange(handle, base, 4096)


async def test_a_break_is_told_to_subscribers_at_once_and_to_the_loser_when_it_relies_on_it(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path) as it, it.connect("loser") as loser:
        handle = await loser.open("/dev/mem")
        outcome = await handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
        assert outcome is not None
        client = await RawClient.dial(it.address)
        await client.ask(wire.Subscribe(0, 0, 0, 0, ""))
        other = await client.open()
        asked = wire.Break(0, other, WINDOW, MIB, 0, "it was forgotten")
        client.send(*client.protocol.send(asked))
        told: list[Any] = []
        while len(told) < 2:
            told += await client.receive()

        assert {getattr(it, "event", it.NAME) for it in told} == {"DONE", "claim.break"}
        with pytest.raises(StaleClaim, match="it was forgotten") as caught:
            await handle.set_range(WINDOW, MIB, MDF_UNCACHEABLE, fence=outcome.fence)

        assert caught.value.obstacles[0].kind == "fence"
        with pytest.raises(StaleClaim, match="it was forgotten") as caught:
            await handle.set_range(WINDOW, MIB, MDF_UNCACHEABLE)

        assert caught.value.obstacles[0].kind == "broken"
        assert await handle.set_range(WINDOW, MIB, MDF_UNCACHEABLE) is not None
        client.close()


async def test_a_wait_that_ends_is_etimedout(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
        client = await RawClient.dial(it.address)
        handle = await client.open()
        for asked in (
            wire.Wait(0, handle, WINDOW, MIB, 5),
            wire.Claim(0, handle, 0, 5, WINDOW, MIB),
            update(handle, WINDOW, MIB, MDF_UNCACHEABLE, wait_ms=5),
        ):
            assert getattr(await client.ask(asked), "name", "") == "ETIMEDOUT"

        here.close()
        client.close()
