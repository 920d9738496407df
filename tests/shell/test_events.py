"""Subscriptions: who is told what, and that no request waits for a reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import Hub
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.errors import DeviceError, LogFailed
from shell.kit import ARCHES, MTRR, PAT, M, lab

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.engine.subscriptions import Subscription

WC = MDF_WRITECOMBINE


def drain(subscription: Subscription) -> list[dict[str, Any]]:
    """The events that are there."""
    found = []
    while True:
        try:
            found.append(subscription.receive_nowait())
        except (anyio.WouldBlock, anyio.EndOfStream):
            return found


def bases(subscription: Subscription) -> list[int | None]:
    return [event.get("base") for event in drain(subscription)]


async def test_a_subscriber_gets_changes_in_order_and_no_looks(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT, MTRR) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        with rig.hub.subscribe() as changes:
            await handle.set_range(0, 4096, WC)
            await handle.ranges()
            await handle.write(b"x")
            await handle.claim(M, 4096)
            await handle.release(M, 4096)
            await handle.remove_range(0, 4096)

            events = [(e["event"], e["base"]) for e in drain(changes)]
            assert events == [
                ("request.set", 0),
                ("claim.take", M),
                ("claim.release", M),
                ("request.set", 0),
            ]


async def test_filters_choose_machine_range_event_and_failures(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT, MTRR) as rig:
        process = rig.hub.process()
        pat, mtrr = await process.open("/dev/mem"), await process.open("mtrr:/dev/mem")
        subscribe = rig.hub.subscribe
        every, of_pat = subscribe(), subscribe(machine="pat")
        both, of_none = subscribe(machines=["pat", "mtrr"]), subscribe(machines=[])
        one_of_both = subscribe(machine="mtrr", machines=["pat", "mtrr"])
        near = subscribe(base=2 * M + 4095, length=2)
        sets, failures = subscribe(events=["request.set"]), subscribe(failures=True)
        looks = subscribe(events=["request.get"])

        await pat.set_range(2 * M, 4096, WC)
        await pat.set_range(2 * M + 8192, 4096, WC)
        await mtrr.set_range(64 * M, M, WC)
        await pat.claim(0, 4096)
        with pytest.raises(DeviceError):
            await pat.set_range(1, 4096, WC)

        await mtrr.ranges()

        assert bases(every) == [2 * M, 2 * M + 8192, 64 * M, 0]
        assert bases(of_pat) == [2 * M, 2 * M + 8192, 0]
        assert bases(both) == [2 * M, 2 * M + 8192, 64 * M, 0]
        assert (bases(one_of_both), bases(of_none)) == ([64 * M], [])
        assert bases(near) == [2 * M]
        assert bases(sets) == [2 * M, 2 * M + 8192, 64 * M]
        assert bases(failures) == [2 * M, 2 * M + 8192, 64 * M, 0, 1]
        assert [e["machine"] for e in drain(looks)] == ["mtrr"]
        process.close()


async def test_a_slow_reader_misses_the_oldest_is_told_so_and_holds_nobody_up(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem") as handle:
        slow, quick = rig.hub.subscribe(size=3), rig.hub.subscribe()
        for place in range(10):
            await handle.claim(place * 4096, 4096)

        assert bases(quick) == [place * 4096 for place in range(10)]
        assert slow.receive_nowait() == {"event": "missed", "count": 7}
        assert bases(slow) == [7 * 4096, 8 * 4096, 9 * 4096]
        await handle.claim(0, 1)
        assert bases(slow) == [0]


async def test_closing_a_subscription_ends_its_reader_after_what_is_held(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem") as handle:
        subscription = rig.hub.subscribe()
        got: list[str] = []

        async def read() -> None:
            got.extend([event["event"] async for event in subscription])

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                await handle.claim(0, 1)
                subscription.close()
                subscription.close()
                await handle.claim(1, 1)

        assert got == ["claim.take"]
        with pytest.raises(anyio.EndOfStream):
            await subscription.receive()


async def test_each_of_two_readers_that_wait_is_woken(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem") as handle:
        with rig.hub.subscribe() as subscription, anyio.fail_after(5):
            got: list[int] = []

            async def read() -> None:
                got.append((await subscription.receive())["base"])

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                tasks.start_soon(read)
                for base in (0, 1):
                    await anyio.wait_all_tasks_blocked()
                    await handle.claim(base, 1)

            assert got == [0, 1]


async def test_a_reader_that_waits_is_woken_by_the_next_change(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem") as handle:
        with rig.hub.subscribe() as subscription, anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                got: list[int] = []

                async def read() -> None:
                    got.append((await subscription.receive())["base"])

                tasks.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                await handle.claim(7, 1)

            assert got == [7]
            with anyio.CancelScope() as scope:
                scope.cancel()
                await subscription.receive()

            await handle.claim(9, 1)
            assert bases(subscription) == [9]


async def test_a_change_that_the_log_did_not_take_is_no_event(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        with rig.hub.subscribe(failures=True) as subscription:
            rig.disk.full = True
            for request in (handle.set_range(0, 4096, WC), handle.claim(0, 1)):
                with pytest.raises(LogFailed):
                    await request

            rig.disk.full = False
            assert drain(subscription) == []


async def test_what_a_reader_does_to_an_event_is_seen_by_nobody_else() -> None:
    async with Hub([PAT], arches=ARCHES) as hub, await hub.open("/dev/mem") as handle:
        with hub.subscribe() as one, hub.subscribe() as two:
            await handle.set_range(0, 4096, MDF_UNCACHEABLE)
            one.receive_nowait().clear()

            assert two.receive_nowait()["event"] == "request.set"


async def test_a_hub_without_a_log_tells_subscribers_of_its_own_end() -> None:
    async with Hub([PAT], arches=ARCHES) as hub:
        subscription = hub.subscribe()
        handle = await hub.open("/dev/mem")
        await handle.set_range(0, 4096, WC)

    assert [e["event"] for e in drain(subscription)] == [
        "request.set",
        "claim.release",
        "device.detach",
    ]


async def test_a_subscription_that_can_hold_nothing_is_refused() -> None:
    async with Hub([PAT], arches=ARCHES) as hub:
        with pytest.raises(ValueError, match="cannot hold 0 events"):
            hub.subscribe(size=0)


async def test_a_subscription_ends_with_its_hub(tmp_path: Path) -> None:
    """A reader that outlives the hub reads what is left and stops."""
    async with lab(tmp_path) as it:
        subscription = it.hub.subscribe(events=("device.detach",))

    with anyio.fail_after(5):
        events = [record["event"] async for record in subscription]

    assert set(events) == {"device.detach"}
