"""What went wrong on the wire once, each as it has to be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub.abi import LP64, MDF_UNCACHEABLE, MDF_WRITECOMBINE, Errno
from memhub.errors import (
    DeviceError,
    NoSpace,
    NoSuchDevice,
    Obstacle,
)
from memhub.hub.hub import Hub
from memhub.service import wire
from memhub.service.server import Server
from memhub.service.settings import Limits, ServiceConfig
from service.service_rig import MIB, WINDOW, RawClient, lab, machine, update

if TYPE_CHECKING:
    from pathlib import Path

TOP = (1 << 64) - 4096


async def test_a_cancelled_read_says_how_much_came_before(tmp_path: Path) -> None:
    limits = Limits(frame_size=1 << 16, queued_bytes=1 << 20)
    async with lab(tmp_path, limits=limits) as it:
        client = await RawClient.dial(it.address)
        read = wire.Pread(0, await client.open(), 0, 32 * MIB)
        client.send(*client.protocol.send(read))
        got, answer = 0, None
        while answer is None:
            for message in await client.receive():
                if isinstance(message, wire.Data):
                    got += len(message.data)
                else:
                    answer = message

            if got > 4 * MIB and read.request in client.protocol.in_flight:
                client.send(*client.protocol.send(wire.Cancel(read.request)))

        assert isinstance(answer, wire.Error)
        assert (answer.name, answer.moved) == ("ECANCELED", got)
        assert answer.reason == f"cancelled after {got} bytes"
        client.close()


async def test_an_event_longer_than_a_frame_comes_without_its_record(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(frame_size=4096)) as it, it.connect() as hub:
        client = await RawClient.dial(it.address)
        await client.ask(wire.Subscribe(0, 0, 0, 0, ""))
        with hub.subscribe() as news, anyio.fail_after(20):
            handle = await hub.open("/dev/mem")
            claim = await handle.claim(WINDOW, MIB)
            other = await it.hub.open("/dev/mem")
            it.hub.break_claim("pc", claim.fence, "x" * 6000)
            other.close()
            assert (await news.receive())["event"] == "claim.take"
            assert (await news.receive()) == {
                "event": "claim.break",
                "seq": it.records("claim.break")[0]["seq"],
                "base": WINDOW,
                "length": MIB,
            }
            await hub.ping()
            events = [e for e in await client.receive() if isinstance(e, wire.Event)]
            while len(events) < 2:
                events += [e for e in await client.receive() if isinstance(e, wire.Event)]

        assert [bool(event.detail) for event in events] == [True, False]
        assert (events[1].event, events[1].base) == ("claim.break", WINDOW)
        client.close()


async def test_a_wait_of_nothing_is_busy_at_once_on_every_frame(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        handle = await client.open()
        desc = LP64.desc.pack(WINDOW, MIB, MDF_UNCACHEABLE, b"raw")
        for asked in (
            wire.Wait(0, handle, WINDOW, MIB, 0),
            wire.Claim(0, handle, 0, 0, WINDOW, MIB),
            wire.Set(0, handle, 0, 0, 0, 0, desc),
            update(handle, WINDOW, MIB, MDF_UNCACHEABLE),
        ):
            answer = await client.ask(asked)
            assert isinstance(answer, wire.Error)
            assert (asked.NAME, answer.name) == (asked.NAME, "EBUSY")

        assert await client.ask(wire.Wait(0, handle, 0, MIB, 0)) == wire.Done(6)
        here.close()
        client.close()


def test_a_long_reason_leaves_room_for_what_stood_in_the_way() -> None:
    many = tuple(Obstacle(kind="slot", slot=number, owner="x" * 50) for number in range(500))
    frame = wire.error_to_wire(1, NoSpace("é" * 30_000, obstacles=many), 4096)
    back = wire.error_from_wire(frame)

    assert len(frame.encode()) <= 4096 + 12
    assert 20 < len(back.obstacles) < 40
    assert back.obstacles == many[: len(back.obstacles)]
    assert len(back.reason) > 900
    short = wire.error_from_wire(wire.error_to_wire(1, NoSpace("full", obstacles=many), 4096))
    assert len(short.obstacles) > len(back.obstacles)


async def test_an_abort_is_not_answered_by_an_abort(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        for greet in (True, False):
            client = await RawClient.dial(it.address, greet=greet)
            client.send(wire.Abort(0, "too-long: why").encode() + b"\xff" * 50)

            assert await client.last_words() == []
            client.close()

        await it.settled(0)
        assert it.records("service.reject") == []


async def test_a_subscription_takes_the_ranges_that_a_claim_takes(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect() as hub:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        for base, length in ((TOP, 8192), (2, (1 << 64) - 1)):
            for asked in (
                wire.Subscribe(0, 0, base, length, ""),
                wire.Claim(0, handle, 0, 0, base, length),
            ):
                answer = await client.ask(asked)
                assert isinstance(answer, wire.Error)
                assert (answer.name, "is not a range" in answer.reason) == ("EINVAL", True)

        assert isinstance(await client.ask(wire.Subscribe(0, 0, TOP, 4096, "")), wire.Done)
        for face in (hub, it.hub):
            for span in ((TOP, 8192), (0, 0), (-1, 5)):
                with pytest.raises(ValueError, match="is not a range"):
                    face.subscribe(base=span[0], length=span[1])

        client.close()


async def test_a_path_with_nothing_before_its_colon_names_no_machine(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect() as hub:
        for face in (hub, it.hub):
            with pytest.raises(NoSuchDevice, match=r":/dev/mem names no machine before its colon"):
                await face.open(":/dev/mem")

            (await face.open("pc:/dev/mem")).close()


async def test_a_claim_is_renewed_only_where_it_is(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        claimed = await client.ask(wire.Claim(0, handle, 60_000, 0, WINDOW, MIB))
        assert isinstance(claimed, wire.Claimed)
        renewals = []
        for base, length in ((0, 0), (WINDOW, MIB), (WINDOW + 4096, 4096), (TOP, 4096), (TOP, TOP)):
            asked = wire.Renew(0, handle, base, length, claimed.fence, 90_000)
            renewals.append(getattr(await client.ask(asked), "name", "renewed"))

        assert renewals == ["renewed", "renewed", "renewed", "ENOENT", "EINVAL"]
        (refused, _) = [r for r in it.records("claim.renew") if r["errno"]]
        assert (refused["base"], "does not cover" in refused["reason"]) == (TOP, True)
        client.close()


async def test_events_are_numbered_without_a_log(tmp_path: Path) -> None:
    settings = ServiceConfig(socket=tmp_path / "s")
    async with Hub([machine()]) as hub, Server(hub, settings) as server:
        one = await RawClient.dial(server.addresses[0])
        two = await RawClient.dial(server.addresses[0])
        for client in (one, two):
            await client.ask(wire.Subscribe(0, 0, 0, 0, ""))

        here = await hub.open("/dev/mem")
        for _ in range(3):
            await here.set_range(WINDOW, MIB, MDF_WRITECOMBINE)

        here.close()
        numbers = []
        for client in (one, two):
            events: list[Any] = []
            while len(events) < 4:
                events += await client.receive()

            numbers.append([event.sequence for event in events])
            assert [json.loads(event.detail)["seq"] for event in events] == numbers[-1]
            client.close()

        assert numbers[0] == numbers[1] == sorted(set(numbers[0]))
        assert numbers[0][0] > 0


async def test_too_many_clients_do_not_look_like_a_bad_token(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(connections=1)) as it, it.connect():
        client = await RawClient.dial(it.address, greet=False)
        client.send(client.protocol.hello("late"))
        (refused,) = await client.receive()

        assert isinstance(refused, wire.Refused)
        assert (refused.name, refused.code) == ("EAGAIN", 35)
        client.close()
        with pytest.raises(DeviceError) as caught:
            async with it.connect():
                pass

        assert caught.value.code is Errno.EAGAIN


async def test_a_version_that_nobody_speaks_is_refused(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, greet=False)
        hello = wire.Hello(0, wire.greeting.MAGIC, 7, 9, 0, 0, 0, "", b"")
        client.protocol.hello()
        client.send(hello.encode())
        (refused,) = await client.receive()

        assert isinstance(refused, wire.Refused)
        assert (refused.name, "versions 7 to 9" in refused.reason) == ("EOPNOTSUPP", True)
        client.close()
