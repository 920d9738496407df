"""While the log fails nothing changes; what was owed is done as soon as it works."""

from __future__ import annotations

import errno
import math
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.audit import AuditLog, read_records, verify
from memhub.errors import LogFailed
from ownership.rig import PAGE, Bench, bench, check_log, settle

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path


class Disk:
    """A disk that is full when told so."""

    def __init__(self) -> None:
        self.full = False
        self._good = -1

    def fail_after(self, good: int) -> None:
        """Take so many writes, refuse one, and work again."""
        self._good = good

    def write(self, fd: int, data: bytes) -> int:
        refuse, self._good = self._good == 0, self._good - 1
        if self.full or refuse:
            raise OSError(errno.ENOSPC, "no space left on device")

        return os.write(fd, data)


@asynccontextmanager
async def logged(
    path: Path, *, arch: str = "amd64", latency: float = 0
) -> AsyncGenerator[tuple[Bench, Disk]]:
    """A bench with a log on a disk that can fill; the log must tell everything in the end."""
    disk = Disk()
    log = AuditLog.open(path / "log.jsonl", write=disk.write)
    try:
        async with bench(arch, latency=latency, log=log) as b:
            yield b, disk
    finally:
        log.close()

    assert verify(log.path).broken is None
    check_log([r for r in read_records(log.path) if "machine" in r], b.machine)
    b.check_idle()


def _state(b: Bench) -> object:
    return b.table(), b.holders(), len(b.machine.waits), len(b.machine.commits)


@pytest.mark.parametrize("latency", [0, 1])
async def test_a_request_whose_record_is_lost_has_not_happened(
    tmp_path: Path, latency: float
) -> None:
    async with logged(tmp_path, latency=latency) as (b, disk), await b.open("client") as client:
        await client.claim(0, PAGE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.set_range, PAGE, PAGE, MDF_WRITECOMBINE)
            await settle()
            await b.pass_time(1)

        before, disk.full = _state(b), True
        async with anyio.create_task_group() as tasks:

            async def all_fail() -> None:
                for attempt in (
                    client.set_range(4 * PAGE, PAGE, MDF_WRITECOMBINE),
                    client.set_range(PAGE, PAGE, MDF_UNCACHEABLE),
                    client.remove_range(PAGE, PAGE),
                    client.claim(8 * PAGE, PAGE),
                    client.release(0, PAGE),
                    client.renew(1, 10),
                    client.ranges(),
                    b.open("another"),
                ):
                    with pytest.raises(LogFailed):
                        await attempt

                    assert _state(b) == before

                tasks.cancel_scope.cancel()

            async def let_time_pass() -> None:
                while True:
                    await b.pass_time(1)

            tasks.start_soon(all_fail)
            tasks.start_soon(let_time_pass)

        disk.full = False
        await client.release(0, PAGE)


async def test_a_record_of_no_change_takes_back_nothing(tmp_path: Path) -> None:
    """A refusal, a timeout or a cancellation that cannot be logged is not a change to undo."""
    async with logged(tmp_path) as (b, disk), await b.open("a") as a, await b.open("b") as other:
        await a.set_range(0, PAGE, MDF_WRITECOMBINE)
        async with anyio.create_task_group() as tasks:

            async def wait(limit: float) -> None:
                with pytest.raises(LogFailed):
                    await other.claim(0, PAGE, wait=limit)

            tasks.start_soon(wait, 5)
            await settle()
            await a.set_range(4 * PAGE, PAGE, MDF_WRITECOMBINE)
            before, disk.full = _state(b)[:2], True  # type: ignore[index]
            await b.pass_time(5)
            with pytest.raises(LogFailed):
                await other.set_range(0, PAGE, MDF_UNCACHEABLE)

        assert _state(b)[:2] == before  # type: ignore[index]
        disk.full = False


async def test_a_close_is_owed_until_the_log_works(tmp_path: Path) -> None:
    async with logged(tmp_path) as (b, disk), await b.open("other") as other:
        client = await b.open("client", undo=True)
        await client.set_range(0, PAGE, MDF_WRITECOMBINE)
        disk.full = True
        with pytest.raises(LogFailed):
            client.close()

        assert client.closed
        assert b.holders() == [("client", 0, PAGE)]

        disk.full = False
        await other.ranges()
        assert b.holders() == []
        assert b.table()[0].mr_len == 0


async def test_a_close_that_is_owed_happens_by_itself(tmp_path: Path) -> None:
    async with logged(tmp_path) as (b, disk):
        client = await b.open("client")
        await client.claim(0, PAGE)
        disk.full = True
        with pytest.raises(LogFailed):
            client.close()

        for _ in range(3):
            await b.pass_time(1)

        assert len(b.holders()) == 1
        disk.full = False
        await b.pass_time(1)
        assert b.holders() == []


async def test_a_process_closes_all_its_files_whatever_the_log_does(tmp_path: Path) -> None:
    async with logged(tmp_path) as (b, disk):
        process = b.hub.process("client")
        handles = [await process.open("/dev/mem") for _ in range(3)]
        await handles[0].claim(0, PAGE)
        disk.full = True
        with pytest.raises(LogFailed):
            process.close()

        assert all(handle.closed for handle in handles)
        disk.full = False
        await b.pass_time(1)
        assert b.holders() == []


async def test_a_lease_that_runs_out_meanwhile_ends_when_the_log_works(tmp_path: Path) -> None:
    """And the hub lives on."""
    async with logged(tmp_path) as (b, disk), await b.open("client") as client:
        await client.claim(0, PAGE, lease=5)
        disk.full = True
        await b.pass_time(5)
        assert len(b.holders()) == 1
        disk.full = False
        await b.pass_time(1)
        assert b.holders() == []


async def test_a_grant_that_cannot_be_logged_is_taken_back(tmp_path: Path) -> None:
    async with logged(tmp_path) as (b, disk), await b.open("a") as a, await b.open("b") as other:
        await a.claim(0, PAGE, lease=5)
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with pytest.raises(LogFailed):
                    await other.claim(0, PAGE, wait=math.inf)

            tasks.start_soon(wait)
            await settle()
            disk.fail_after(0)
            with pytest.raises(LogFailed):
                await a.release(0, PAGE)

            assert b.holders() == [("a", 0, PAGE)]
            disk.fail_after(1)
            await a.release(0, PAGE)

        assert b.holders() == []


async def test_a_change_inside_a_batch_is_handed_over_at_once(tmp_path: Path) -> None:
    async with logged(tmp_path) as (b, _), await b.open("client") as client:
        with b.hub.batch():
            await client.set_range(0, PAGE, MDF_WRITECOMBINE)
            assert '"op":"update"' in (tmp_path / "log.jsonl").read_text().splitlines()[-1]


async def test_a_batch_whose_looks_were_lost_fails_though_the_log_works_again(
    tmp_path: Path,
) -> None:
    async with logged(tmp_path) as (b, disk), await b.open("client") as client:

        async def lose() -> None:
            with b.hub.batch():
                await client.ranges()
                disk.fail_after(0)
                with pytest.raises(LogFailed):
                    await client.set_range(0, PAGE, MDF_WRITECOMBINE)

        with pytest.raises(LogFailed, match="looks of this batch"):
            await lose()

        assert b.table()[0].mr_len == 0
        with b.hub.batch():
            await client.ranges()
