"""A service whose log waits for the disk: many clients, one sync, and what its failure means."""

from __future__ import annotations

import errno
import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub import AuditLog, Hub
from memhub.audit import read_records, verify
from memhub.errors import DeviceError
from memhub.service import wire
from memhub.service.server import Server
from memhub.service.settings import ServiceConfig
from service.service_rig import MIB, Lab, RawClient, machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Syncs:
    """fdatasync(2), counted, and failing when it is told to."""

    def __init__(self) -> None:
        self.count = 0
        self.failing = False

    def __call__(self, _fd: int) -> None:
        self.count += 1
        if self.failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Syncs:
    found = Syncs()
    monkeypatch.setattr(os, "fdatasync", found)

    return found


@asynccontextmanager
async def serving(folder: Path, syncs: Syncs) -> AsyncIterator[Lab]:
    path = folder / "audit.jsonl"
    with AuditLog.open(path, durability="disk") as log:
        async with (
            Hub([machine()], log=log) as hub,
            Server(hub, ServiceConfig(socket=folder / "s")) as server,
        ):
            yield Lab(hub, server, log)
            syncs.failing = False

    assert verify(path).broken is None


async def test_clients_share_syncs(tmp_path: Path, syncs: Syncs) -> None:
    ready, go = [0], anyio.Event()

    async def client(lab: Lab, place: int) -> None:
        async with lab.connect(f"c{place}") as hub:
            file = await hub.open("/dev/mem", "r+")
            ready[0] += 1
            if ready[0] == 16:
                before.append(syncs.count)
                go.set()

            await go.wait()
            for turn in range(8):
                await file.claim(place * MIB + turn * 4096, 4096)

            done[0] += 1
            if done[0] == 16:
                before.append(syncs.count)

            await end.wait()

    before: list[int] = []
    done, end = [0], anyio.Event()
    async with serving(tmp_path, syncs) as lab:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for place in range(16):
                    tasks.start_soon(client, lab, place)

                while len(before) < 2:
                    await anyio.lowlevel.checkpoint()

                end.set()

        taken = [r for r in read_records(lab.log.path) if r["event"] == "claim.take"]
        assert len(taken) == 128
        assert before[1] - before[0] < 64


async def send_claims(client: RawClient, handle: int) -> list[wire.Message]:
    """Claim ten ranges with one send; the answers in the order in which they come."""
    asked = [wire.Claim(0, handle, 0, 0, n * MIB, 4096) for n in range(10, 20)]
    client.send(*(frame for it in asked for frame in client.protocol.send(it)))
    found: list[wire.Message] = []
    while len(found) < len(asked):
        found += await client.receive()

    assert [it.request for it in found] == [it.request for it in asked]

    return found


async def test_requests_sent_at_once_share_one_sync_and_are_answered_in_order(
    tmp_path: Path, syncs: Syncs
) -> None:
    async with serving(tmp_path, syncs) as lab:
        client = await RawClient.dial(lab.address)
        handle = await client.open()
        before = syncs.count
        answers = await send_claims(client, handle)

        assert {type(it) for it in answers} == {wire.Claimed}
        assert syncs.count == before + 1
        client.close()


async def test_where_the_sync_fails_every_answer_is_eio_and_nothing_is_held(
    tmp_path: Path, syncs: Syncs
) -> None:
    async with serving(tmp_path, syncs) as lab:
        client = await RawClient.dial(lab.address)
        handle = await client.open()
        before, syncs.failing = (tmp_path / "audit.jsonl").stat().st_size, True
        answers = await send_claims(client, handle)
        syncs.failing = False

        assert [it.name for it in answers if isinstance(it, wire.Error)] == ["EIO"] * 10
        assert lab.hub.claims() == []
        assert (tmp_path / "audit.jsonl").stat().st_size == before

        again = await send_claims(client, handle)
        assert {type(it) for it in again} == {wire.Claimed}
        client.close()


async def test_an_answer_whose_record_the_disk_has_stands_where_a_later_sync_fails(
    tmp_path: Path, syncs: Syncs
) -> None:
    """OPEN has its own sync; the claim behind it, in the same send, shares one that fails."""
    async with serving(tmp_path, syncs) as lab:
        client = await RawClient.dial(lab.address)
        handle = await client.open()
        count = syncs.count

        def fail(_fd: int) -> None:
            syncs.count += 1
            if syncs.count > count + 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            asked = [wire.Open(0, 3, 0, "/dev/mem"), wire.Claim(0, handle, 0, 0, MIB, 4096)]
            client.send(*(frame for it in asked for frame in client.protocol.send(it)))
            found: list[wire.Message] = []
            while len(found) < 2:
                found += await client.receive()

        assert [type(it) for it in found] == [wire.Opened, wire.Error]
        client.close()


async def test_a_request_that_breaks_the_protocol_is_behind_answers_from_the_disk(
    tmp_path: Path, syncs: Syncs
) -> None:
    async with serving(tmp_path, syncs) as lab:
        client = await RawClient.dial(lab.address)
        handle = await client.open()
        claim = b"".join(client.protocol.send(wire.Claim(0, handle, 0, 0, MIB, 4096)))
        client.send(claim, b"\xff" * 64)
        words = await client.last_words()

        assert wire.Claimed in [type(it) for it in words]
        assert [r["event"] for r in read_records(lab.log.path)].count("claim.take") == 1


async def test_a_client_that_waits_is_served(tmp_path: Path, syncs: Syncs) -> None:
    async with serving(tmp_path, syncs) as lab, lab.connect("a") as a, lab.connect("b") as b:
        mine, other = await a.open("/dev/mem", "r+"), await b.open("/dev/mem", "r+")
        await mine.claim(MIB, 4096)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(other.claim, MIB, 4096, wait=10))
                while not lab.hub.machines["pc"].waits.waits:
                    await anyio.lowlevel.checkpoint()

                await mine.release(MIB, 4096)

        with pytest.raises(DeviceError, match="EBUSY"):
            await mine.claim(MIB, 4096)
