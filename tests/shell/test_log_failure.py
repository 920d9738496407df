"""A log that cannot take a record: the request answers EIO and has not happened."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import AuditLog, ManualClock, Region
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE, MDF_WRITEPROTECT, Errno
from memhub.audit import AuditError
from memhub.errors import BadHandle, LogFailed
from shell.kit import MTRR, OLD, PAT, M, lab

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from memhub import Handle

WC, UC = MDF_WRITECOMBINE, MDF_UNCACHEABLE
TOP = 1 << 36

REQUESTS: dict[str, Callable[[Handle], Awaitable[Any]]] = {
    "read": lambda h: h.read(100),
    "pread": lambda h: h.pread(100, 0),
    "write": lambda h: h.write(b"new bytes"),
    "pwrite": lambda h: h.pwrite(b"new bytes", M + 7),
    "pwrite over two pages": lambda h: h.pwrite(b"n" * 8192, M + 7),
    "ranges": lambda h: h.ranges(),
    "update": lambda h: h.set_range(8 * M, 1 * M, WC),
    "update of one's own": lambda h: h.set_range(16 * M, 1 * M, UC),
    "update in time": lambda h: h.set_range(8 * M, 1 * M, WC, wait=1),
    "remove": lambda h: h.remove_range(16 * M, 1 * M),
    "claim": lambda h: h.claim(32 * M, 4096),
    "claim with a lease": lambda h: h.claim(32 * M, 4096, lease=9),
    "release": lambda h: h.release(16 * M, 1 * M),
    "wait that need not": lambda h: h.wait_free(64 * M, 4096, 9),
    "wait that must": lambda h: h.claim(128 * M, 4096, wait=9),
    "a refusal": lambda h: h.set_range(0, 3, WC),
    "an unknown ioctl": lambda h: h.ioctl(1, b""),
}


@pytest.mark.parametrize("spec", [PAT, MTRR, OLD], ids=lambda spec: spec.name)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_on_a_full_disk_a_request_answers_eio_and_has_not_happened(
    tmp_path: Path, request_: Callable[[Handle], Awaitable[Any]], spec: Any
) -> None:
    async with lab(tmp_path, spec) as rig:
        mine = await rig.hub.process("mine").open("/dev/mem", "r+")
        other = await rig.hub.process("other").open("/dev/mem", "r+")
        await mine.write(b"old bytes")
        await mine.set_range(16 * M, 1 * M, WC)
        await other.claim(128 * M, 4096)
        await other.set_range(24 * M, 1 * M, WC)
        before, written = rig.state(), rig.path.read_bytes()
        rig.disk.full = True
        with pytest.raises(LogFailed) as caught:
            await request_(mine)

        assert caught.value.code is Errno.EIO
        assert str(rig.path) in caught.value.reason
        assert "No space left" in caught.value.reason
        assert rig.state() == before
        assert rig.path.read_bytes() == written

        rig.disk.full = False
        await mine.set_range(8 * M, 1 * M, WC)
        assert await mine.pread(9, 0) == b"old bytes"
        mine.close()
        other.close()


async def test_on_a_full_disk_nothing_opens(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        rig.disk.full = True
        for path in ("/dev/mem", "/dev/null"):
            with pytest.raises(LogFailed):
                await rig.hub.open(path)

        assert rig.hub.report()["machines"][0]["processes"] == []
        rig.disk.full = False
        (await rig.hub.open("/dev/mem")).close()


@pytest.mark.parametrize("spec", [OLD, PAT], ids=lambda spec: spec.name)
async def test_what_a_failed_write_had_moved_before_its_error_is_put_back_too(
    tmp_path: Path, spec: Any
) -> None:
    top = 1 << 32 if spec is OLD else TOP
    ends = replace(spec, memory=(*spec.memory, Region(base=top - 4096, length=4096)))
    async with lab(tmp_path, ends) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        await handle.pwrite(b"kept", top - 4)
        rig.disk.full = True
        with pytest.raises(LogFailed):
            await handle.pwrite(b"longer than what is there", top - 4)

        rig.disk.full = False
        assert await handle.pread(4, top - 4) == b"kept"


class Unasked:
    """A device that nothing reaches."""

    async def read(self, offset: int, size: int) -> bytes:
        raise AssertionError("it was read")

    async def write(self, offset: int, data: bytes) -> None:
        raise AssertionError("it was written")


async def test_what_was_moved_before_a_protected_page_in_front_of_a_device_is_put_back(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        await handle.set_range(M + 4096, 4096, MDF_WRITEPROTECT)
        rig.hub.map_device(M + 8192, 4096, Unasked())
        await handle.pwrite(b"kept", M + 4092)
        rig.disk.full = True
        with pytest.raises(LogFailed):
            await handle.pwrite(b"x" * 9000, M + 4092)

        rig.disk.full = False
        assert await handle.pread(4, M + 4092) == b"kept"


async def test_a_close_on_a_full_disk_is_owed_and_done_before_the_next_request(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, PAT) as rig:
        process = rig.hub.process("leaving")
        handles = [await process.open(path, undo=True) for path in ("/dev/mem", "/dev/kmem")]
        other = await rig.hub.process("other").open("/dev/mem", "r+")
        await handles[0].set_range(0, 4096, WC)
        rig.news()
        rig.disk.full = True
        with pytest.raises(LogFailed):
            process.close()

        assert all(handle.closed for handle in handles)
        with pytest.raises(BadHandle):
            await handles[1].ranges()

        assert len(rig.hub.claims()) == 1
        with pytest.raises(LogFailed):
            await other.set_range(0, 4096, UC)

        rig.disk.full = False
        await other.set_range(0, 4096, UC)
        assert [c.process.name for c in rig.hub.claims()] == ["other"]
        assert [(r["event"], r["process"]) for r in rig.news()] == [
            ("request.close", "leaving"),
            ("undo", "leaving"),
            ("request.close", "leaving"),
            ("request.set", "other"),
        ]
        other.close()


async def test_an_owed_close_wakes_those_who_wait_once_there_is_space_again(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    async with lab(tmp_path, PAT, clock=clock) as rig:
        holder = await rig.hub.process("holder").open("/dev/mem")
        waiter = await rig.hub.process("waiter").open("/dev/mem")
        await holder.claim(0, 4096)

        async def wait() -> None:
            await waiter.claim(0, 4096, wait=1000)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                rig.disk.full = True
                with pytest.raises(LogFailed):
                    holder.close()

                clock.advance(2)
                await anyio.wait_all_tasks_blocked()
                rig.disk.full = False
                clock.advance(2)

        assert [c.process.name for c in rig.hub.claims()] == ["waiter"]
        waiter.close()


async def test_a_lease_that_ends_on_a_full_disk_ends_later_and_the_hub_goes_on(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    async with lab(tmp_path, PAT, clock=clock) as rig, await rig.hub.open("/dev/mem") as handle:
        await handle.claim(0, 4096, lease=10)
        await anyio.wait_all_tasks_blocked()
        rig.disk.full = True
        clock.advance(11)
        await anyio.wait_all_tasks_blocked()
        assert len(rig.hub.claims()) == 1
        rig.disk.full = False
        clock.advance(2)
        await anyio.wait_all_tasks_blocked()
        assert rig.hub.claims() == []
        assert rig.news()[-1]["event"] == "claim.expire"


async def test_a_cancelled_wait_on_a_full_disk_takes_back_nothing_that_was_logged(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, PAT) as rig:
        holder = await rig.hub.process("holder").open("/dev/mem")
        waiter = await rig.hub.process("waiter").open("/dev/mem")
        await holder.set_range(0, 4096, WC)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: waiter.claim(0, 4096, wait=1000))
                await anyio.wait_all_tasks_blocked()
                await holder.set_range(M, 4096, WC)
                before = rig.state()["pat"][:2]
                rig.disk.full = True
                tasks.cancel_scope.cancel()

        assert rig.state()["pat"][:2] == before
        rig.disk.full = False
        holder.close()
        waiter.close()


async def test_a_change_in_a_batch_of_looks_is_logged_or_taken_back(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        before = rig.state()
        rig.disk.full = True
        with pytest.raises(LogFailed), rig.hub.batch():  # noqa: PT012 - the batch's end raises
            handle.pread_nowait(1, 0)
            with pytest.raises(LogFailed):
                handle.pwrite_nowait(b"x", 0)

        assert rig.state() == before
        with pytest.raises(LogFailed), rig.hub.batch():
            handle.pread_nowait(1, 0)

        rig.disk.full = False
        rig.news()
        with rig.hub.batch():
            handle.pread_nowait(1, 0)
            handle.pwrite_nowait(b"x", 0)
            handle.pread_nowait(1, 0)

        assert [r["op"] for r in rig.news()] == ["pread", "pwrite", "pread"]


async def test_a_hub_whose_log_fails_at_the_end_closes_all_and_says_so(tmp_path: Path) -> None:
    handles = []
    with pytest.raises(LogFailed):  # noqa: PT012 - what raises is the end of the block
        async with lab(tmp_path, PAT, MTRR) as rig:
            handles = [await rig.hub.open(f"{name}:/dev/mem") for name in ("pat", "mtrr")]
            rig.disk.full = True

    assert [handle.closed for handle in handles] == [True, True]


async def test_a_failing_log_does_not_hide_what_the_body_raised(tmp_path: Path) -> None:
    handles = []
    with pytest.raises(ZeroDivisionError) as caught:  # noqa: PT012 - two ends of one block
        async with lab(tmp_path, PAT) as rig:
            handles.append(await rig.hub.open("/dev/mem"))
            rig.disk.full = True
            raise ZeroDivisionError

    assert handles[0].closed
    assert "audit log failed" in "".join(caught.value.__notes__)


@pytest.mark.parametrize(
    ("place", "code"), [("missing/audit.jsonl", errno.ENOENT), ("file/audit.jsonl", errno.ENOTDIR)]
)
def test_a_log_directory_that_cannot_be_used_is_found_when_the_log_is_opened(
    tmp_path: Path, place: str, code: int
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AuditError) as caught:
        AuditLog.open(tmp_path / place)

    assert caught.value.errno == code
    assert str(tmp_path / place) in str(caught.value)
