"""Snapshots of a running service: taken, gone back to and reset while its clients go on."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub import Hub, MachineSpec, Snapshot, load_arches
from memhub.abi import MDF_WRITECOMBINE
from memhub.audit import read_records, state_at
from memhub.errors import (
    Cancelled,
    InvalidArgument,
    NoSpace,
    NoSuchDevice,
    NotPermitted,
    NotSupported,
    RangeBusy,
)
from memhub.service import wire
from memhub.service.server import snapshots as server_snapshots
from memhub.service.settings import RightsRule
from service.service_rig import MIB, WINDOW, RawClient, lab, machine
from shell.kit import ARCHES

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.service.settings import Right

pytestmark = pytest.mark.anyio


async def test_a_service_goes_back_while_its_clients_stay_connected(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("X") as xorg, it.connect("late") as late:
        mem, other = await xorg.open("/dev/mem", "r+"), await late.open("/dev/mem", "r+")
        await mem.set_range(WINDOW, MIB, MDF_WRITECOMBINE, owner="X")
        await mem.pwrite(b"before", MIB)
        news = late.subscribe(events=["device.restore"])
        await late.ping()
        file = await late.take_snapshot()
        assert Snapshot.from_bytes(file, arches=ARCHES) == it.hub.snapshot()

        await mem.remove_range(WINDOW, MIB)
        await mem.pwrite(b"after!", MIB)
        await other.set_range(WINDOW + MIB, MIB, MDF_WRITECOMBINE)
        assert await late.restore_snapshot(file) == ["pc"]
        assert await mem.pread(6, MIB) == b"before"
        (claim,) = it.hub.claims()
        assert claim.process.name == "X"
        with pytest.raises(RangeBusy, match="pc went back to a snapshot"):
            await other.set_range(WINDOW + MIB, MIB, MDF_WRITECOMBINE)

        with anyio.fail_after(10):
            assert (await news.receive())["cause"] == "restore"

        assert await xorg.reset() == ["pc"]
        assert it.hub.claims() == []
        assert await mem.pread(6, MIB) == bytes(6)
        it.log.flush()
        told = state_at(it.log.path, arches=ARCHES).machines["pc"]
        table = it.hub.machines["pc"].table
        assert table is not None
        assert (told.slots, told.claims) == (table.state.slots, ())


async def test_a_client_that_waits_is_answered_with_ecanceled(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("X") as xorg, it.connect("late") as late:
        mem, other = await xorg.open("/dev/mem", "r+"), await late.open("/dev/mem", "r+")
        await mem.claim(WINDOW, MIB)

        async def wait() -> None:
            with pytest.raises(Cancelled, match="pc was reset"):
                await other.claim(WINDOW, MIB, wait=60)

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                while not it.hub.machines["pc"].waits.waits:
                    await anyio.lowlevel.checkpoint()

                await xorg.reset("pc")

        await other.claim(WINDOW, MIB)


async def test_a_large_file_goes_in_pieces_and_mapped_memory_sees_it(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("X") as client:
        mem = await client.open("/dev/mem", "r+")
        noise = os.urandom(3 * MIB)
        await mem.pwrite(noise, MIB)
        file = await client.take_snapshot("pc")
        assert len(file) > 3 * MIB
        with await mem.map(write=True) as ram:
            ram.write(MIB, b"mapped")
            await client.restore_snapshot(file, "pc")
            assert ram.read(MIB, 6) == noise[:6]

        assert await mem.pread(3 * MIB, MIB) == noise


async def test_what_is_wrong_is_refused_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = machine(), machine("two")
    async with lab(tmp_path, *specs) as it, it.connect("X") as client:
        file, before = await client.take_snapshot(), it.hub.snapshot()
        for data, name, error, says in (
            (b"", None, InvalidArgument, "no snapshot of memhub"),
            (file[:-1], None, InvalidArgument, "damaged"),
            (file, "three", NoSuchDevice, "no machine 'three'"),
        ):
            with pytest.raises(error, match=says):
                await client.restore_snapshot(data, name)

        with pytest.raises(NoSuchDevice):
            await client.take_snapshot("three")

        with pytest.raises(NoSuchDevice):
            await client.reset("three")

        monkeypatch.setattr(server_snapshots, "FILE_MAX", 100)
        with pytest.raises(NoSpace, match="100 bytes of a file are put, which is the limit"):
            await client.restore_snapshot(bytes(101))

        assert it.hub.snapshot() == before
        assert not [r for r in read_records(it.log.path) if r["event"] == "device.restore"]


async def test_rights_are_of_each_machine(tmp_path: Path) -> None:
    looks: frozenset[Right] = frozenset({"read-memory", "read-ranges"})
    rights = (
        RightsRule(uid=os.getuid(), machine="*", allow=looks),
        RightsRule(uid=os.getuid(), machine="pc", allow=frozenset({"restore-machines"})),
    )
    specs = machine(), machine("two")
    async with lab(tmp_path, *specs, rights=rights) as it, it.connect("X") as client:
        both, one = await client.take_snapshot(), await client.take_snapshot("pc")
        assert await client.restore_snapshot(one) == ["pc"]
        assert await client.restore_snapshot(both, "pc") == ["pc"]
        assert await client.reset("pc") == ["pc"]
        for call in (
            partial(client.restore_snapshot, both),
            partial(client.restore_snapshot, one, "two"),
            client.reset,
        ):
            with pytest.raises(NotPermitted, match="no right to restore-machines on two"):
                await call()

        assert [it["machine"] for it in it.records("device.restore")] == ["pc"] * 3


async def test_an_earlier_client_does_not_have_the_frame(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURE_FAULTS)
        client.send(wire.Snapshot(1, "reset", "", b"").encode())
        (last,) = await client.last_words()
        assert isinstance(last, wire.Abort)
        assert "unknown-frame" in last.reason

        async with it.connect() as hub:
            hub._greeted().features &= ~wire.FEATURE_SNAPSHOTS
            with pytest.raises(NotSupported, match="of a version without snapshots"):
                await hub.reset()


async def test_a_file_may_have_machines_of_architectures_that_are_not_served(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path) as it, it.connect("X") as client:
        spec = next(iter(it.hub.machines.values())).spec
        two = Hub([spec, MachineSpec(name="board", arch="powerpc")], arches=load_arches())
        two.begin()
        file = two.snapshot().to_bytes()
        two.end()
        assert await client.restore_snapshot(file, "pc") == ["pc"]
        with pytest.raises(NoSuchDevice, match="board"):
            await client.restore_snapshot(file)
