"""Going back while clients stay connected: their files, claims, waits, memory and devices."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import AuditLog, FaultRule, Hub, ManualClock, Snapshot
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.audit import read_records, state_at
from memhub.audit.history.rebuild import rebuild
from memhub.errors import (
    BadHandle,
    Cancelled,
    DeviceError,
    InvalidArgument,
    LogFailed,
    NoSuchDevice,
    RangeBusy,
)
from shell.kit import ARCHES, BOARD, K6, MTRR, OFF, PAT, SPECS, Disk, M, lab
from shell.test_devices import BASE, Registers

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


class Memo(Registers):
    """A device that can say what it keeps."""

    def save_state(self) -> bytes:
        return bytes(self.bytes)

    def load_state(self, data: bytes) -> None:
        self.bytes[:] = data


class Grumpy(Memo):
    """A device that takes no state back."""

    def load_state(self, data: bytes) -> None:
        raise RuntimeError(f"no room for {len(data)} bytes")


async def test_a_machine_goes_back_and_its_clients_go_on(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT, MTRR) as it:
        xorg, late = it.hub.process("Xorg"), it.hub.process("late")
        mem = await xorg.open("pat:/dev/mem", "r+")
        await mem.set_range(16 * M, M, MDF_WRITECOMBINE, owner="Xorg")
        await mem.write(b"before")
        then = it.hub.snapshot("pat")

        other = await late.open("pat:/dev/mem", "r+")
        await mem.remove_range(16 * M, M)
        await other.set_range(32 * M, M, MDF_UNCACHEABLE, owner="late")
        await mem.pwrite(b"after!", 0)
        it.hub.restore(then)

        assert await mem.pread(6, 0) == b"before"
        assert await mem.seek(0, os.SEEK_CUR) == 6
        (claim,) = it.hub.claims("pat")
        assert (claim.process.name, claim.base) == ("Xorg", 16 * M)
        with pytest.raises(RangeBusy, match="pat went back to a snapshot"):
            await other.set_range(32 * M, M, MDF_UNCACHEABLE)

        with pytest.raises(RangeBusy, match="is claimed by Xorg"):
            await other.set_range(16 * M, M, MDF_UNCACHEABLE)

        await other.set_range(32 * M, M, MDF_UNCACHEABLE)
        (record,) = [r for r in read_records(it.path) if r["event"] == "device.restore"]
        assert (record["cause"], record["reason"]) == ("restore", "a snapshot of pat")


async def test_fault_rules_are_the_hubs_and_go_on_through_a_reset_and_a_restore(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, MTRR) as it, await it.hub.open("/dev/mem") as mem:
        then = it.hub.snapshot()
        rule = it.hub.faults.add(FaultRule("errno", op=("read",), times=2))
        for go_back in (it.hub.reset, partial(it.hub.restore, then)):
            go_back()
            with pytest.raises(DeviceError, match="fault-1"):
                await mem.pread(4, M)

        it.hub.reset()
        assert (rule.seen, len(await mem.pread(4, M))) == (2, 4)  # `times` is over
        async with it.hub.fork() as twin:
            assert [*twin.faults] == []


async def test_a_reset_leads_to_the_start(tmp_path: Path) -> None:
    async with lab(tmp_path, *SPECS) as it:
        start = it.hub.snapshot()
        mems = [await it.hub.open(f"{spec.name}:/dev/mem", "r") for spec in SPECS]
        mem = await it.hub.open("mtrr:/dev/mem", "r+")
        await mem.set_range(16 * M, M, MDF_UNCACHEABLE)
        await mem.pwrite(b"x", 0)
        it.hub.reset("mtrr")
        assert it.hub.claims("mtrr") == []
        assert it.hub.snapshot("mtrr").machines["mtrr"].table == (
            start.machines["mtrr"].table._replace(generation=2)  # type: ignore[union-attr]
        )
        it.hub.reset()
        for spec, handle in zip(SPECS, mems, strict=True):
            now, then = it.hub.snapshot().machines[spec.name], start.machines[spec.name]
            assert now.memory == then.memory
            assert next(file.caller.handle for file in now.files) == handle.number


async def test_a_wait_ends_with_ecanceled(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as it:
        holder, other = await it.hub.open("/dev/mem", "r+"), await it.hub.open("/dev/mem", "r+")
        await holder.claim(16 * M, M)

        async def wait() -> None:
            with pytest.raises(Cancelled, match="pat was reset"):
                await other.claim(16 * M, M, wait=60)

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                it.hub.reset()

        await other.claim(16 * M, M)


async def test_a_lease_runs_as_long_as_it_had_left() -> None:
    clock = ManualClock()
    async with Hub([PAT], arches=ARCHES, clock=clock) as hub:
        mem = await hub.open("/dev/mem", "r+")
        await mem.claim(16 * M, M, lease=10)
        clock.advance(4)
        then = hub.snapshot()
        clock.advance(100)
        hub.engine.tick()
        assert hub.claims() == []
        hub.restore(then)
        clock.advance(5.9)
        hub.engine.tick()
        assert len(hub.claims()) == 1
        clock.advance(0.2)
        hub.engine.tick()
        assert hub.claims() == []


async def test_mapped_memory_goes_back_under_who_has_it_mapped(tmp_path: Path) -> None:
    import mmap

    async with lab(tmp_path, PAT) as it:
        memory = it.hub.machines["pat"].memory
        memory.write(M, b"first")
        early = it.hub.snapshot()
        fd = memory.open_ram(writable=True)
        with mmap.mmap(fd, 0) as view:
            os.close(fd)
            place = view.find(b"first")
            view[place : place + 5] = b"later"
            late = it.hub.snapshot()
            it.hub.restore(early)
            assert view[place : place + 5] == b"first"
            assert memory.read(M, 5) == b"first"
            it.hub.restore(late)
            assert view[place : place + 5] == b"later"
            it.hub.reset()
            assert view[place : place + 5] == bytes(5)


async def test_devices_go_back_if_they_can(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as it:
        memo, plain = Memo(), Registers()
        it.hub.map_device(BASE, 0x4000, memo)
        it.hub.map_device(BASE + 0x10000, 0x4000, plain)
        mem = await it.hub.open("/dev/mem", "r+")
        await mem.pwrite(b"one", BASE)
        then = it.hub.snapshot()
        for at in (BASE, BASE + 0x10000):
            await mem.pwrite(b"two", at)

        it.hub.restore(then)
        assert await mem.pread(3, BASE) == b"one"
        assert await mem.pread(3, BASE + 0x10000) == b"two"
        it.hub.reset()
        assert await mem.pread(3, BASE) == bytes(range(3))
        async with it.hub.fork() as twin, twin.adopt(mem) as other:
            await other.pwrite(b"fork", BASE)
            assert await other.pread(4, BASE) == b"fork"

        assert await mem.pread(3, BASE) == bytes(range(3))


async def test_a_device_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as it:
        memo = Memo()
        it.hub.map_device(BASE, 0x4000, memo)
        it.hub.map_device(BASE + 0x10000, 0x4000, Grumpy())
        mem = await it.hub.open("/dev/mem", "r+")
        then = it.hub.snapshot()
        await mem.set_range(16 * M, M, MDF_UNCACHEABLE)
        await mem.pwrite(b"two", BASE)
        before = it.hub.snapshot()
        with pytest.raises(
            DeviceError, match=r"load_state of .*Grumpy failed: RuntimeError: no room"
        ):
            it.hub.restore(then)

        assert it.hub.snapshot() == before


async def test_a_log_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    disk = Disk()
    with AuditLog.open(tmp_path / "a.jsonl", write=disk.write) as log:
        async with Hub([PAT, MTRR], arches=ARCHES, log=log) as hub:
            hub.map_device(BASE, 0x4000, memo := Memo())
            mem = await hub.open("/dev/mem", "r+")
            await mem.pwrite(b"one", M)
            then = hub.snapshot()
            await mem.set_range(16 * M, M, MDF_UNCACHEABLE)
            await mem.pwrite(b"two", M)
            memo.bytes[:1] = b"M"
            before, generation = hub.snapshot(), hub.machines["pat"].generation
            disk.full = True
            for go_back in (partial(hub.restore, then), hub.reset):
                with pytest.raises(LogFailed):
                    go_back()

                assert hub.snapshot() == before
                assert hub.machines["pat"].generation == generation
                assert bytes(memo.bytes[:1]) == b"M"

            disk.full = False
            hub.restore(then)
            assert await mem.pread(3, M) == b"one"

    assert rebuild(read_records(tmp_path / "a.jsonl"), ARCHES) == {}


async def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT, MTRR, K6, BOARD) as it:
        whole = it.hub.snapshot()
        one = it.hub.snapshot("pat")
        for snapshot, machine, error, says in (
            (one, "mtrr", InvalidArgument, "of pat does not fit mtrr: architecture amd64 there"),
            (whole, "nix", NoSuchDevice, "there is no machine 'nix'"),
            (Snapshot({"x": one.machines["pat"]}), None, NoSuchDevice, "there is no machine 'x'"),
            (
                Snapshot({"x": one.machines["pat"], "y": one.machines["pat"]}),
                "pat",
                InvalidArgument,
                r"the snapshot has no machine 'pat', but \['x', 'y'\]",
            ),
        ):
            with pytest.raises(error, match=says):
                it.hub.restore(snapshot, machine)

        wrongs: tuple[Any, ...] = (None, 1, {})
        for wrong in wrongs:
            with pytest.raises(TypeError, match="is not a Snapshot"):
                it.hub.restore(wrong)

        other = OFF.__class__(name="pat", arch="amd64", options={"slots": 5})
        bigger = Hub([other], arches=ARCHES).snapshot()
        with pytest.raises(InvalidArgument, match="slots 5 there, 4 here"):
            it.hub.restore(bigger)


async def test_a_fork_is_a_hub_of_its_own(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as it:
        mem = await it.hub.open("/dev/mem", "r+")
        await mem.set_range(16 * M, M, MDF_WRITECOMBINE, owner="Xorg")
        await mem.pwrite(b"both", M)
        path = tmp_path / "twin.jsonl"
        with AuditLog.open(path) as log:
            async with it.hub.fork(log=log) as twin:
                other = twin.adopt(mem)
                assert other.process == mem.process
                await other.pwrite(b"twin", M)
                await other.remove_range(16 * M, M)
                fresh = await twin.open("/dev/mem", "r+")
                assert fresh.process.id > mem.process.id
                await fresh.set_range(16 * M, M, MDF_UNCACHEABLE)
                told = state_at(path, arches=ARCHES).machines["pat"]
                assert told.claims == tuple(twin.claims())
                assert told.slots == twin.machines["pat"].table.state.slots  # type: ignore[union-attr]

        assert await mem.pread(4, M) == b"both"
        (claim,) = it.hub.claims()
        assert (claim.process.name, claim.base) == (mem.process.name, 16 * M)
        late = await it.hub.open("/dev/mem")
        with pytest.raises(DeviceError, match="EBADF"):
            twin.adopt(late)


async def test_a_fork_adopts_the_handles_of_its_parent_alone(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as it, Hub([PAT], arches=ARCHES) as strange:
        victim = await it.hub.open("/dev/mem", "r+")
        stranger = await strange.open("/dev/mem", "r")
        assert stranger.number == victim.number
        async with it.hub.fork() as twin:
            own = await twin.open("/dev/mem", "r+")
            late = await it.hub.open("/dev/mem", "r")
            assert own.number == late.number
            for handle in (stranger, own, late):
                with pytest.raises(BadHandle, match=r"EBADF.*was not open in the hub that"):
                    twin.adopt(handle)

            with pytest.raises(BadHandle, match="was not open in the hub that"):
                it.hub.adopt(victim)

            for wrong in (None, 1, it.hub):
                with pytest.raises(TypeError, match="handle"):
                    twin.adopt(wrong)  # type: ignore[arg-type]

            async with twin.adopt(victim) as same:
                assert same.number == victim.number

        for handle in (victim, late, stranger):
            await handle.aclose()
