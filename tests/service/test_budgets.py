"""Each resource of a client has its own limit; what is given back can be taken again."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub.errors import DeviceError, NoSpace, TimedOut
from memhub.service import wire
from memhub.service.client import connect
from memhub.service.settings import Limits, TcpConfig
from service.service_rig import MIB, RawClient, lab, update

if TYPE_CHECKING:
    from pathlib import Path

    from service.service_rig import Lab

TOKEN = "sixteen-characters"


def tcp(folder: Path) -> TcpConfig:
    """A listener for whoever shows the token."""
    tokens = folder / "tokens"
    tokens.write_text(f"rig:{TOKEN}\n")
    tokens.chmod(0o600)

    return TcpConfig(token_file=tokens)


def refused(it: Lab, op: str) -> set[str]:
    return {r["reason"] for r in it.records("service.reject") if r["op"] == op}


def silent(address: str) -> socket.socket:
    host, _, port = address.removeprefix("tcp:").rpartition(":")

    return socket.create_connection((host, int(port)))


async def test_silent_connections_keep_nobody_out(tmp_path: Path) -> None:
    limits = Limits(connections=2, ungreeted=3)
    async with lab(tmp_path, limits=limits, tcp=tcp(tmp_path)) as it:
        inet = it.server.addresses[1]
        crowd = [silent(inet) for _ in range(20)]
        async with it.connect() as one, it.connect() as two, connect(inet, token=TOKEN) as far:
            for hub in (one, two, far):
                assert await (await hub.open("/dev/mem")).ranges()

            with anyio.fail_after(20):
                while len(it.records("service.reject")) < 17:
                    await anyio.lowlevel.checkpoint()

        rule = f"3 connections to {inet} have not sent HELLO, which is the limit"
        assert refused(it, "connect") == {rule}
        for each in crowd:
            each.close()


async def test_each_listener_has_clients_of_its_own(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(connections=1), tcp=tcp(tmp_path)) as it:
        inet = it.server.addresses[1]
        async with it.connect(), connect(inet, token=TOKEN):
            for address in it.server.addresses:
                full = f"EAGAIN: 1 clients .* the limit of {address}"
                with pytest.raises(DeviceError, match=full):
                    async with connect(address, token=TOKEN):
                        pass

        await it.settled(0)
        async with it.connect() as hub:
            await hub.ping()


async def test_subscriptions(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(subscriptions=2)) as it:
        client = await RawClient.dial(it.address)
        await client.ask(wire.Subscribe(0, 1, 0, 0, ""))
        await client.ask(wire.Subscribe(0, 1, 0, 0, ""))
        full = await client.ask(wire.Subscribe(0, 1, 0, 0, ""))
        assert isinstance(full, wire.Error)
        assert (full.name, full.reason) == (
            "ENOSPC",
            "2 subscriptions are open, which is the limit",
        )

        await client.ask(wire.Unsubscribe(0, 1))
        assert isinstance(await client.ask(wire.Subscribe(0, 1, 0, 0, "")), wire.Done)
        assert refused(it, "subscribe") == {full.reason}
        client.close()
        await it.settled(0)
        assert not it.hub.engine._recorder.listeners.listeners


async def test_unread_events(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(unread_events=10)) as it:
        client = await RawClient.dial(it.address)
        await client.ask(wire.Subscribe(0, 8, 0, 0, ""))
        full = await client.ask(wire.Subscribe(0, 3, 0, 0, ""))
        assert isinstance(full, wire.Error)
        assert full.reason == (
            "10 unread events may be held, which is the limit (8 and 3 more were asked for)"
        )
        assert isinstance(await client.ask(wire.Subscribe(0, 2, 0, 0, "")), wire.Done)
        await client.ask(wire.Unsubscribe(0, 1))
        assert isinstance(await client.ask(wire.Subscribe(0, 8, 0, 0, "")), wire.Done)
        client.close()


async def test_claims(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(claims=2)) as it, it.connect() as hub:
        file = await hub.open("/dev/mem", "r+")
        await file.claim(0, MIB)
        await file.claim(MIB, MIB)
        with pytest.raises(NoSpace, match=r"2 claims are held, or lost .*, which is the limit"):
            await file.claim(2 * MIB, MIB)

        await file.release(0, MIB)
        await file.claim(2 * MIB, MIB)


async def test_claims_that_were_lost_and_not_told_count(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(claims=2)) as it, it.connect() as hub:
        file = await hub.open("/dev/mem", "r+")
        for base in (0, MIB):
            claim = await file.claim(base, MIB)
            it.hub.break_claim("pc", claim.fence, "the test wants it")

        with pytest.raises(NoSpace, match="2 claims are held, or lost and not told"):
            await file.claim(2 * MIB, MIB)


async def test_waits(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(waits=2)) as it, it.connect() as hub:
        here = await it.hub.open("/dev/mem", "r+")
        await here.claim(0, MIB)
        file = await hub.open("/dev/mem", "r+")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(file.wait_free, 0, MIB, 60)
            tasks.start_soon(file.wait_free, 0, MIB, 60)
            with anyio.fail_after(20):
                while len(here.machine.waits) < 2:
                    await anyio.lowlevel.checkpoint()

            rule = "2 requests of this connection wait, which is the limit"
            for ask in (
                file.wait_free(0, 1, 1),
                file.claim(MIB, 1, wait=1),
                file.set_range(1 << 32, MIB, 2, wait=1),
            ):
                with pytest.raises(NoSpace, match=rule):
                    await ask

            here.close()

        again = await it.hub.open("/dev/mem", "r+")
        await again.claim(0, MIB)
        with pytest.raises(TimedOut):
            await file.wait_free(0, MIB, 0.001)


async def test_reports(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(reports=2)) as it:
        client = await RawClient.dial(it.address)
        client.send(*(b"".join(client.protocol.send(wire.Report(0, "", ""))) for _ in range(3)))
        found: list[wire.Message] = []
        while len(found) < 3:
            found += await client.receive()

        (full,) = [reply for reply in found if isinstance(reply, wire.Error)]
        assert full.reason == "2 reports are being made, which is the limit"
        assert isinstance(await client.ask(wire.Report(0, "", "")), wire.Data)
        client.close()


async def test_snapshots_count_as_reports(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(reports=2)) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURE_SNAPSHOTS)
        taking = [wire.Snapshot(0, "take", "", b"") for _ in range(3)]
        client.send(*(b"".join(client.protocol.send(each)) for each in taking))
        found: list[wire.Message] = []
        while client.protocol.in_flight:
            found += await client.receive()

        (full,) = [reply for reply in found if isinstance(reply, wire.Error)]
        assert full.name == "ENOSPC"
        assert full.reason == "2 reports are being made, which is the limit"
        assert isinstance(await client.ask(wire.Snapshot(0, "take", "", b"")), wire.Data)
        client.close()


async def test_mappings(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(maps=1)) as it, it.connect() as hub:
        file = await hub.open("/dev/mem")
        (await file.map()).close()
        with pytest.raises(NoSpace, match=r"1 mappings were made .*, which is the limit"):
            await file.map()

        await file.aclose()
        (await hub.map_memory()).close()


async def test_a_handle_can_be_closed_when_nothing_more_may_be_asked(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(in_flight=4, waits=4)) as it, it.connect() as hub:
        here = await it.hub.open("/dev/mem", "r+")
        await here.claim(0, MIB)
        files = [await hub.open("/dev/mem") for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(files[0].wait_free, 0, MIB, 60)

            with anyio.fail_after(20):
                while len(here.machine.waits) < 3:
                    await anyio.lowlevel.checkpoint()

                for file in files[1:]:
                    file.close()

                while len(here.machine.files) > 2:
                    await anyio.lowlevel.checkpoint()

            here.close()


async def test_a_client_with_much_is_ended_step_by_step(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        for number in range(40):
            await client.ask(wire.Claim(0, handle, 0, 0, number * MIB, MIB))

        await client.ask(update(handle, 1 << 32, MIB, 2))
        client.close()
        await it.settled(0)

        assert it.hub.claims() == []
        ends = [r["cause"] for r in it.records("claim.release")]
        assert ends == ["disconnect"] * 41
