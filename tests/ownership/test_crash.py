"""However a client disappears, its claims end within a turn of the loop; the log says why."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.errors import BadHandle
from ownership.rig import PAGE, Bench, bench, settle

if TYPE_CHECKING:
    from memhub.handles.handle import Handle
    from memhub.handles.process import Process


async def _held(b: Bench) -> tuple[Process, Handle]:
    """A process that holds a slot, a stretch of addresses and a lease."""
    process = b.hub.process("client", pid=42)
    handle = await process.open("/dev/mem")
    await handle.set_range(0, PAGE, MDF_WRITECOMBINE)
    await handle.claim(8 * PAGE, 2 * PAGE)
    await handle.claim(16 * PAGE, PAGE, lease=60)

    return process, handle


def _gone(b: Bench, cause: str) -> None:
    """Nothing is held, another could take it, and the log tells how that came."""
    assert b.holders() == []
    assert b.machine.claims.busy_slots(None) == []
    assert len(b.events("claim.release")) == 3
    assert {r["cause"] for r in b.events("claim.release")} == {cause}
    assert [r["cause"] for r in b.events("request.close")] == [cause]
    assert b.table()[0].mr_len == PAGE
    b.check_idle()


async def test_it_closes_its_handle() -> None:
    async with bench() as b:
        _, handle = await _held(b)
        handle.close()
        _gone(b, "close")


async def test_it_closes_its_handle_asynchronously_and_is_cancelled_meanwhile() -> None:
    async with bench() as b:
        _, handle = await _held(b)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await handle.aclose()

        _gone(b, "close")


@pytest.mark.parametrize("cause", ["close", "disconnect"])
async def test_its_process_ends(cause: str) -> None:
    async with bench() as b:
        process, handle = await _held(b)
        process.close(cause)
        _gone(b, cause)
        with pytest.raises(BadHandle):
            await handle.ranges()
        with pytest.raises(BadHandle):
            await process.open("/dev/mem")


async def test_its_task_is_cancelled() -> None:
    async with bench() as b:
        async with anyio.create_task_group() as tasks:

            async def client() -> None:
                process, handle = await _held(b)
                async with process:
                    assert not handle.closed
                    await anyio.sleep_forever()

            tasks.start_soon(client)
            await settle()
            tasks.cancel_scope.cancel()

        _gone(b, "cancelled")


async def test_its_task_fails() -> None:
    async with bench() as b:
        with pytest.raises(ZeroDivisionError):
            async with (await _held(b))[1]:
                raise ZeroDivisionError

        _gone(b, "error")


async def test_it_fails_in_a_plain_with() -> None:
    async with bench() as b:
        process, handle = await _held(b)
        with pytest.raises(ZeroDivisionError), process:
            raise ZeroDivisionError

        assert handle.closed
        _gone(b, "error")


async def test_it_drops_its_handle() -> None:
    async with bench() as b:
        process, handle = await _held(b)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del handle
            gc.collect()
            await settle()

        assert [w.category for w in caught] == [ResourceWarning]
        assert not process.closed
        _gone(b, "garbage")


async def test_its_hub_stops() -> None:
    async with bench() as b:
        _, handle = await _held(b)

    assert handle.closed
    _gone(b, "stop")


async def test_it_dies_while_it_waits() -> None:
    async with bench() as b, await b.open("other") as other:
        await other.claim(0, PAGE)
        async with anyio.create_task_group() as tasks:

            async def client() -> None:
                async with await b.open("client") as handle:
                    await handle.set_range(0, PAGE, MDF_UNCACHEABLE, wait=1e9)

            tasks.start_soon(client)
            await settle()
            assert len(b.machine.waits) == 1
            tasks.cancel_scope.cancel()

        assert len(b.machine.waits) == 0
        assert b.events("wait.end")[-1]["cause"] == "cancelled"


async def test_it_dies_during_its_commit() -> None:
    async with bench(latency=1) as b:
        async with anyio.create_task_group() as tasks:

            async def client() -> None:
                async with await b.open("client") as handle:
                    await handle.set_range(0, PAGE, MDF_UNCACHEABLE)

            tasks.start_soon(client)
            await settle()
            assert len(b.machine.commits) == 1
            tasks.cancel_scope.cancel()

        assert b.table()[0].mr_len == 0
        assert b.events("request.set")[-1]["errno"] == "ECANCELED"
        b.check_idle()


async def test_the_claims_stay_until_the_last_handle_is_closed() -> None:
    async with bench() as b:
        process, handle = await _held(b)
        second = await process.open("/dev/kmem")
        handle.close()
        assert len(b.holders()) == 3
        second.close()
        assert b.holders() == []
