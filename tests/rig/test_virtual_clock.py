"""Time passes when everybody waits, and at once."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from memhub import Hub
from memhub.clock import ManualClock
from memhub.core.drivers.driver import Cpu
from memhub.core.spec import MachineSpec
from memhub.errors import TimedOut
from memhub.rig import VirtualClock

MIB = 1 << 20
HOUR_NS = 3_600_000_000_000
SPEC = MachineSpec(name="pc", arch="amd64", cpu=Cpu(phys_bits=36), commit_latency=60.0)


async def test_an_hour_passes_when_everybody_sleeps() -> None:
    with anyio.fail_after(10):
        async with VirtualClock(wall_ns=5) as clock:
            await clock.sleep(3600)

    assert clock.mono_ns() == HOUR_NS
    assert clock.wall_ns() == HOUR_NS + 5


async def test_time_stands_still_while_a_task_runs() -> None:
    async with VirtualClock() as clock, anyio.create_task_group() as tasks:
        tasks.start_soon(clock.sleep, 1)
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
            assert clock.mono_ns() == 0


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    woken: list[tuple[float, int]] = []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.mono_ns()))

    async with VirtualClock() as clock, anyio.create_task_group() as tasks:
        for seconds in (3, 1, 2):
            tasks.start_soon(sleep, seconds)

    assert woken == [(it, it * 10**9) for it in (1, 2, 3)]


async def test_commits_leases_and_waits_take_no_real_time() -> None:
    with anyio.fail_after(10):
        async with (
            VirtualClock() as clock,
            Hub([SPEC], clock=clock) as hub,
            hub.process("one") as one,
            hub.process("two") as two,
        ):
            file, other = await one.open("/dev/mem"), await two.open("/dev/mem")
            await file.set_range(0xD0000000, MIB, 1, lease=600)
            assert clock.mono_ns() == 60 * 10**9
            with pytest.raises(TimedOut):
                await other.claim(0xD0000000, MIB, wait=300)

            assert clock.mono_ns() == 360 * 10**9
            await other.claim(0xD0000000, MIB, wait=3600)
            assert clock.mono_ns() == 660 * 10**9


async def test_a_block_is_bounded_in_virtual_time() -> None:
    async with VirtualClock() as clock:
        with clock.move_on_after(5) as scope:
            await anyio.sleep_forever()

        assert scope.cancelled_caught
        assert clock.mono_ns() == 5 * 10**9
        late = pytest.raises(TimeoutError, match="more than 7 seconds of virtual time")
        with late, clock.fail_after(7):
            await anyio.sleep_forever()

        with clock.fail_after(7):
            await clock.sleep(6.9)

        assert clock.next_ns is None


async def test_what_happens_at_the_moment_of_the_bound_happens_before_it() -> None:
    async with VirtualClock() as clock:
        with clock.move_on_after(5) as scope:
            await clock.sleep(5)

        assert not scope.cancelled_caught


async def test_no_limit_and_infinity_are_no_alarm() -> None:
    clock = VirtualClock()
    for seconds in (None, float("inf"), 1e300):
        with clock.move_on_after(seconds), clock.fail_after(seconds):
            assert clock.next_ns is None


async def test_who_sleeps_for_ever_sleeps_past_every_moment() -> None:
    async with VirtualClock() as clock:
        with clock.move_on_after(3600) as scope:
            await clock.sleep(float("inf"))

        assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("seconds", "error", "message"),
    [
        (-1, ValueError, "advances by 0 to 9223372037 seconds, not -1"),
        (float("inf"), ValueError, "seconds, not inf"),
        (1e300, ValueError, "seconds, not 1e"),
        (float("nan"), ValueError, "seconds, not nan"),
        (None, TypeError, "seconds None is not a number of seconds"),
    ],
)
@pytest.mark.parametrize("make", [VirtualClock, ManualClock])
def test_time_does_not_go_back_or_end(
    make: Any, seconds: Any, error: type[Exception], message: str
) -> None:
    clock = make()
    with pytest.raises(error, match=message):
        clock.advance(seconds)

    assert clock.mono_ns() == 0


async def test_a_time_is_a_number() -> None:
    clock = VirtualClock()
    with pytest.raises(ValueError, match="nan is not a number of seconds"):
        await clock.sleep(float("nan"))

    with pytest.raises(ValueError, match="nan is"), clock.move_on_after(float("nan")):
        pytest.fail("the block is entered")

    with pytest.raises(TypeError, match="seconds 'x' is not a number"), clock.fail_after("x"):  # type: ignore[arg-type]
        pytest.fail("the block is entered")


async def test_time_can_be_moved_by_hand_too() -> None:
    clock = VirtualClock()
    clock.advance(3)
    assert clock.mono_ns() == 3 * 10**9
