"""A model that hangs, raises or lies harms its caller alone, and is named."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

from devices.strange import BASE, Good, Hangs, M, book, device, kind_of, machine
from memhub import AuditLog, Hub, ManualClock, connect
from memhub.abi import Errno
from memhub.audit import read_records
from memhub.errors import DeviceError
from memhub.rig import VirtualClock
from memhub.service.server import Server
from memhub.service.settings import ServiceConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WHO = "device 'it' ({}) 0xfe000000/0x1000 of pc, from plugin 'strange' of the caller,"
FAILURES = {
    "raises": ("EIO", "failed in {}: ZeroDivisionError: a bug"),
    "exits": ("EIO", "failed in {}: SystemExit: 3"),
    "closes": ("EIO", "failed in {}: GeneratorExit: "),
    "stops": ("EIO", "failed in {}: Stop: of its own kind"),
    "mute": ("EIO", "failed in {}: Silent: (its text cannot be made: ValueError)"),
    "short": ("EIO", "answered {} with 9 bytes where 8 were asked"),
    "pretends": ("EIO", "answered {} with 2 bytes where 8 were asked"),
    "lies": ("EIO", "answered {} with str where bytes are due"),
    "nothing": ("EIO", "answered {} with NoneType where bytes are due"),
    "refuses": ("EFAULT", "refused {}: no such register"),
}


@asynccontextmanager
async def rig(
    tmp_path: Path, kind: str, clock: Any = None, **changes: Any
) -> AsyncIterator[tuple[Hub, Path]]:
    path = tmp_path / "log.jsonl"
    spec = machine(device(kind, **changes), device("good", BASE + 0x10000, "good"))
    with AuditLog.open(path) as log:
        async with Hub([spec], device_kinds=book(), log=log, clock=clock) as hub:
            yield hub, path


def last_transfer(path: Path) -> dict[str, Any]:
    rows = [it for it in read_records(path) if it["event"] in ("request.read", "request.write")]

    return dict(rows[-1])


@pytest.mark.parametrize("kind", FAILURES)
async def test_its_caller_and_the_log_are_told_who_failed(tmp_path: Path, kind: str) -> None:
    errno, words = FAILURES[kind]
    async with rig(tmp_path, kind) as (hub, path), await hub.open("/dev/mem", "r+") as mem:
        with pytest.raises(DeviceError) as caught:
            await mem.pread(8, BASE + 16)

        reason = caught.value.reason
        assert caught.value.code is Errno[errno]
        found = words.format("read(0x10, 8)")
        assert reason == f"at 0xfe000010: {WHO.format(kind)} {found}"
        row = last_transfer(path)
        assert (row["op"], row["errno"], row["moved"], row["reason"]) == ("pread", errno, 0, reason)
        assert await mem.pread(2, BASE + 0x10000) == b"\0\1"


@pytest.mark.parametrize("kind", ["raises", "exits", "refuses"])
async def test_writes_too(tmp_path: Path, kind: str) -> None:
    errno, words = FAILURES[kind]
    async with rig(tmp_path, kind) as (hub, path), await hub.open("/dev/mem", "r+") as mem:
        with pytest.raises(DeviceError) as caught:
            await mem.pwrite(bytes(8), BASE)

        assert words.format("write(0x0, 8 bytes)") in caught.value.reason
        assert last_transfer(path)["errno"] == errno


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_of_its_own_is_its_failure(tmp_path: Path, anyio_backend: str) -> None:
    async with rig(tmp_path, "cancels") as (hub, _), await hub.open("/dev/mem") as mem:
        with pytest.raises(DeviceError, match=r"failed in read.*CancelledError"):
            await mem.pread(8, BASE)


async def answer_or_reason(mem: Any, address: int) -> Any:
    """The bytes of a read, or the reason why it was refused."""
    try:
        return await mem.pread(8, address)
    except DeviceError as error:
        return error.reason


@pytest.mark.parametrize("kind", ["opens", "enters"])
async def test_what_it_leaves_open_is_not_its_callers(tmp_path: Path, kind: str) -> None:
    async with rig(tmp_path, kind) as (hub, path), await hub.open("/dev/mem") as mem:
        with anyio.fail_after(5):
            for _ in range(2):
                said = await answer_or_reason(mem, BASE)  # trio tells of it, asyncio does not
                assert said == bytes(8) or f"{WHO.format(kind)} failed in read(0x0, 8)" in said

                with anyio.move_on_after(1) as scope:
                    assert await mem.pread(2, BASE + 0x10000) == b"\0\1"

                assert not scope.cancelled_caught

        assert last_transfer(path)["moved"] == 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_model_that_cancels_its_task_cancels_no_other(
    tmp_path: Path, anyio_backend: str
) -> None:
    async with rig(tmp_path, "suicidal") as (hub, _), await hub.open("/dev/mem") as mem:
        with pytest.raises(DeviceError, match=r"failed in read.*CancelledError"):
            await mem.pread(8, BASE)

        await anyio.lowlevel.checkpoint()


HARMFUL_KINDS = ("closes", "stops", "mute", "opens", "enters")


async def test_a_service_and_its_connections_outlive_each_of_them(tmp_path: Path) -> None:
    kinds = [*HARMFUL_KINDS, "raises", "exits"]
    spec = machine(*(device(it, BASE + 0x1000 * at, it) for at, it in enumerate(kinds)))
    config = ServiceConfig(socket=tmp_path / "socket")
    async with (
        Hub([spec], device_kinds=book()) as hub,
        Server(hub, config),
        connect(tmp_path / "socket", timeout=5) as client,
    ):
        mem = await client.open("/dev/mem")
        for at, kind in enumerate(kinds):
            said = await answer_or_reason(mem, BASE + 0x1000 * at)
            assert said == bytes(8) or f"device {kind!r} ({kind})" in said

        assert await mem.pread(4, 0) == bytes(4)


@pytest.mark.parametrize("op", ["pread", "pwrite"])
async def test_one_that_hangs_is_given_up_at_its_limit(tmp_path: Path, op: str) -> None:
    clock = ManualClock()
    async with rig(tmp_path, "hangs", clock, limit=3.0) as (hub, path):
        model: Hangs = hub.device("it")
        async with await hub.open("/dev/mem", "r+") as mem, await hub.open("/dev/mem", "r+") as two:
            errors: list[DeviceError] = []

            async def ask() -> None:
                with pytest.raises(DeviceError) as caught:
                    await (mem.pread(8, BASE) if op == "pread" else mem.pwrite(bytes(8), BASE))

                errors.append(caught.value)

            with anyio.fail_after(5):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ask)
                    await model.asked.wait()
                    clock.advance(2.9)
                    assert await two.pread(2, BASE + 0x10000) == b"\0\1"
                    assert await two.pwrite(b"goes on", 0) == 7
                    assert errors == []
                    clock.advance(0.2)

            assert errors[0].code is Errno.EIO
            assert f"{WHO.format('hangs')} did not answer" in errors[0].reason
            assert errors[0].reason.endswith("within 3 s")
            assert last_transfer(path)["reason"] == errors[0].reason
            model.go.set()
            assert await mem.pread(8, BASE) == bytes(8)


async def test_the_limit_runs_by_the_systems_clock_too(tmp_path: Path) -> None:
    async with rig(tmp_path, "hangs", limit=0.001) as (hub, _), await hub.open("/dev/mem") as mem:
        with anyio.fail_after(5), pytest.raises(DeviceError, match=r"within 0\.001 s"):
            await mem.pread(8, BASE)


async def test_the_limit_takes_no_time_in_virtual_time(tmp_path: Path) -> None:
    with anyio.fail_after(5):
        async with VirtualClock() as clock, rig(tmp_path, "hangs", clock, limit=3600.0) as (hub, _):
            async with await hub.open("/dev/mem") as mem:
                with pytest.raises(DeviceError, match="within 3600 s"):
                    await mem.pread(8, BASE)

            assert clock.mono_ns() == 3600 * 10**9


async def test_a_caller_that_is_cancelled_does_not_wait(tmp_path: Path) -> None:
    async with rig(tmp_path, "hangs") as (hub, path), await hub.open("/dev/mem") as mem:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(mem.pread, 8, BASE)
                await hub.device("it").asked.wait()
                tasks.cancel_scope.cancel()

        assert last_transfer(path)["errno"] == "ECANCELED"


async def test_a_reader_whose_file_is_closed_does_not_wait_and_a_writer_waits_for_the_limit(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    async with rig(tmp_path, "hangs", clock) as (hub, path):
        model: Hangs = hub.device("it")
        words: list[str] = []

        async def ask(request: Any) -> None:
            with pytest.raises(DeviceError) as caught:
                await request

            words.append(str(caught.value))

        with anyio.fail_after(5):
            mem = await hub.open("/dev/mem", "r+")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, mem.pread(8, BASE))
                await model.asked.wait()
                mem.close()

            assert words[0].startswith("EBADF: handle")
            assert last_transfer(path)["errno"] == "EBADF"
            model.asked = anyio.Event()
            mem = await hub.open("/dev/mem", "r+")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, mem.pwrite(bytes(8), BASE))
                await model.asked.wait()
                mem.close()
                clock.advance(11)

            assert words[1].startswith("EIO: at 0xfe000000: device 'it'")


async def test_what_was_moved_before_stands(tmp_path: Path) -> None:
    async with rig(tmp_path, "raises") as (hub, _), await hub.open("/dev/mem", "r+") as mem:
        assert await mem.pwrite(bytes(64), BASE - 16) == 16
        assert await mem.pread(64, BASE - 16) == b"\xff" * 16


async def test_clients_of_a_service_are_told_and_the_service_goes_on(tmp_path: Path) -> None:
    async with rig(tmp_path, "hangs", limit=60.0) as (hub, _):
        model: Hangs = hub.device("it")
        async with (
            Server(hub, ServiceConfig(socket=tmp_path / "s")),
            connect(tmp_path / "s") as two,
        ):
            good = await two.open("/dev/mem", "r+")
            with anyio.fail_after(10):
                async with connect(tmp_path / "s") as one, anyio.create_task_group() as tasks:
                    mem = await one.open("/dev/mem")
                    tasks.start_soon(mem.pread, 8, BASE)
                    await model.asked.wait()
                    assert await good.pread(2, BASE + 0x10000) == b"\0\1"
                    tasks.cancel_scope.cancel()

                model.asked = anyio.Event()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(good.pread, 8, BASE)
                    await model.asked.wait()
                    tasks.cancel_scope.cancel()

            good.close()


async def test_a_service_answers_with_the_name_of_the_device(tmp_path: Path) -> None:
    async with (
        rig(tmp_path, "raises") as (hub, _),
        Server(hub, ServiceConfig(socket=tmp_path / "s")),
        connect(tmp_path / "s") as client,
    ):
        mem = await client.open("/dev/mem")
        with pytest.raises(DeviceError, match=r"device 'it' \(raises\).*ZeroDivisionError: a bug"):
            await mem.pread(8, BASE)

        assert await mem.pread(2, BASE + 0x10000) == b"\0\1"


class Blocks(Good):
    """A model that blocks until it is let go."""

    def __init__(self, options: Any) -> None:
        super().__init__({"step": 1})
        self.asked, self.go = threading.Event(), threading.Event()
        self.threads: set[str] = set()

    def read(self, offset: int, size: int) -> bytes:  # type: ignore[override]
        self.threads.add(threading.current_thread().name)
        self.asked.set()
        if offset == 8:
            raise ZeroDivisionError("a bug")

        if offset == 16:
            self.go.wait()

        return bytes(size)

    def write(self, offset: int, data: bytes) -> None:  # type: ignore[override]
        self.written.append((offset, data))


async def test_a_model_that_blocks_has_a_thread_and_nobody_else_waits() -> None:
    clock, spec = ManualClock(), machine(device("blocks"), device("good", BASE + M, "good"))
    hub = Hub([spec], device_kinds=book(kind_of(Blocks)), clock=clock)
    async with hub, await hub.open("/dev/mem", "r+") as mem:
        model: Blocks = hub.device("it")
        assert await mem.pread(8, BASE) == bytes(8)
        assert await mem.pwrite(b"abc", BASE) == 3
        with pytest.raises(DeviceError, match=r"failed in read.*ZeroDivisionError: a bug"):
            await mem.pread(8, BASE + 8)

        async def wait_for_limit(offset: int) -> None:
            with pytest.raises(DeviceError, match=r"did not answer .* within 10 s"):
                await mem.pread(8, BASE + offset)

        model.asked.clear()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait_for_limit, 16)
                await to_thread.run_sync(model.asked.wait)
                tasks.start_soon(wait_for_limit, 0)  # it waits for the first, which is stuck
                await anyio.wait_all_tasks_blocked()
                assert await mem.pread(2, BASE + M) == b"\0\1"
                clock.advance(11)

            model.go.set()
            assert await mem.pread(8, BASE) == bytes(8)

        assert (model.written, model.threads) == ([(0, b"abc")], {"device model"})


async def test_a_picture_that_contradicts_itself_is_an_error_of_who_looks() -> None:
    async with Hub([machine(device("torn"))], device_kinds=book()) as hub:
        with pytest.raises(DeviceError, match=r"\(torn\).*failed to show it: ValueError"):
            hub.show()


async def test_what_is_no_device_is_not_mapped() -> None:
    async with Hub([machine()]) as hub:
        with pytest.raises(TypeError, match=r"device 'x' has no read\(\)"):
            hub.map_device(BASE, 0x1000, "x")  # type: ignore[arg-type]
