"""Handles: what ends with them, however they end."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.errors import LogFailed
from shell.kit import MTRR, OLD, PAT, lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from memhub import Process
    from memhub.core.events import Event

WC = MDF_WRITECOMBINE


async def test_a_handle_dropped_unclosed_warns_and_ends_its_claims(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        handle = await rig.hub.process("careless").open("/dev/mem")
        await handle.set_range(0, 4096, WC)
        rig.news()
        with pytest.warns(ResourceWarning, match="of careless> was never closed"):  # noqa: PT031
            del handle
            gc.collect()

        await anyio.wait_all_tasks_blocked()
        assert rig.hub.claims() == []
        events = [(r["event"], r["cause"]) for r in rig.news()]
        assert events == [("claim.release", "garbage"), ("request.close", "garbage")]


async def test_a_handle_in_a_dead_cycle_ends_when_it_is_collected(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        cycle: list[object] = [await rig.hub.open("/dev/mem")]
        cycle.append(cycle)
        with pytest.warns(ResourceWarning, match="never closed"):  # noqa: PT031
            del cycle
            gc.collect()

        async with await rig.hub.open("/dev/mem") as handle:
            await handle.ranges()

        causes = [r["cause"] for r in rig.news() if r["event"] == "request.close"]
        assert causes == ["garbage", "close"]


async def test_a_handle_collected_in_the_midst_of_a_request_does_not_disturb_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The change of a request that the log refuses is taken back, collection or not."""
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem") as handle:
        cycle: list[object] = [await rig.hub.process("lost").open("/dev/mem")]
        cycle.append(cycle)
        before = rig.state()["pat"][:2]
        engine = rig.hub.engine
        write = engine._write

        def collect_first(events: tuple[Event, ...]) -> None:
            rig.disk.full = False
            gc.collect()
            rig.disk.full = True
            write(events)

        monkeypatch.setattr(engine, "_write", collect_first)
        with pytest.warns(ResourceWarning, match="of lost> was never closed"):  # noqa: PT031
            del cycle
            with pytest.raises(LogFailed):
                await handle.set_range(0, 4096, WC)

        monkeypatch.undo()
        assert rig.state()["pat"][:2] == before
        rig.disk.full = False


async def test_a_claim_lasts_until_the_last_handle_on_the_machine(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT, MTRR) as rig:
        process = rig.hub.process()
        mem, kmem = await process.open("/dev/mem"), await process.open("/dev/kmem")
        elsewhere = await process.open("mtrr:/dev/mem")
        await mem.set_range(0, 4096, WC)
        mem.close()
        assert len(rig.hub.claims()) == 1
        kmem.close()
        assert rig.hub.claims() == []
        assert (await elsewhere.ranges())[0].mr_len == 65536
        elsewhere.close()


async def test_a_processs_end_is_the_end_of_all_it_has_on_every_machine(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT, MTRR) as rig:
        handles = []
        async with rig.hub.process("p") as process:
            for path in ("/dev/mem", "mtrr:/dev/mem"):
                handle = await process.open(path, undo=True)
                await handle.set_range(0x40000000, 4096, MDF_UNCACHEABLE)
                handles.append(handle)

        assert (rig.hub.claims("pat"), rig.hub.claims("mtrr")) == ([], [])
        assert rig.hub.report()["machines"][0]["processes"] == []
        assert [r["event"] for r in rig.news()].count("undo") == 2
        process.close()


@pytest.mark.parametrize("cause", ["close", "error", "cancelled"])
async def test_the_log_says_how_a_handle_came_to_its_end(tmp_path: Path, cause: str) -> None:
    async with lab(tmp_path, PAT) as rig:
        with anyio.CancelScope() as scope:
            try:
                async with await rig.hub.open("/dev/mem"):
                    if cause == "error":
                        raise ZeroDivisionError

                    if cause == "cancelled":
                        scope.cancel()
                        await anyio.sleep_forever()

            except ZeroDivisionError:
                pass

        assert rig.news()[-1]["cause"] == cause


CLOSERS: dict[str, Callable[[Process], object]] = {
    "with": lambda process: process.__exit__(None, None, None),
    "close": lambda process: process.close("disconnect"),
}


@pytest.mark.parametrize("close", CLOSERS.values(), ids=CLOSERS)
async def test_closing_needs_no_event_loop(
    tmp_path: Path, close: Callable[[Process], object]
) -> None:
    async with lab(tmp_path, PAT) as rig:
        process = rig.hub.process()
        handle = process.open_nowait("/dev/mem")
        close(process)
        assert handle.closed
        assert "closed" in repr(handle)
        assert "0 files" in repr(process)


async def test_aclose_closes_even_when_its_caller_is_cancelled(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        handle = await rig.hub.open("/dev/mem")
        process = rig.hub.process()
        other = await process.open("/dev/mem")
        with anyio.CancelScope() as scope:
            scope.cancel()
            await handle.aclose()

        with anyio.CancelScope() as scope:
            scope.cancel()
            await process.aclose()

        assert (handle.closed, other.closed) == (True, True)


async def test_a_cancelled_caller_has_changed_nothing(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT, OLD) as rig:
        handle = await rig.hub.open("/dev/mem", "r+")
        rig.news()
        before = rig.state()
        requests = (
            lambda: handle.set_range(0, 4096, WC),
            lambda: handle.write(b"x"),
            lambda: handle.claim(0, 4096),
            lambda: handle.seek(9),
            lambda: rig.hub.open("/dev/mem"),
        )
        for request in requests:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await request()

            assert scope.cancelled_caught

        assert rig.state() == before
        assert rig.news() == []
        handle.close()


async def test_a_process_that_ends_on_a_full_disk_closes_every_handle(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        process = rig.hub.process()
        handles = [await process.open("/dev/mem") for _ in range(3)]
        rig.disk.full = True
        with pytest.raises(LogFailed):
            process.close()

        assert all(handle.closed for handle in handles)
        rig.disk.full = False
        process.close()
