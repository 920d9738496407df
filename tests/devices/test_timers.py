"""The timer of a device model: what it takes, and that a model's mistake harms its caller alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from devices.strange import BASE, Good, book, device, kind_of, machine
from memhub import DeviceError, Hub
from memhub.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable


class Timed(Good):
    """A model that keeps its timer."""

    timer: Any = None

    def use_timer(self, timer: object) -> None:
        self.timer = timer

    async def write(self, offset: int, data: bytes) -> None:
        self.timer.set_alarm(None, print)


class Timeless(Good):
    """A model that takes no timer."""

    error: BaseException = RuntimeError("no crystal")

    def use_timer(self, timer: object) -> None:
        raise self.error


class Exiting(Timeless):
    error = SystemExit(3)


class Awaiting(Good):
    async def use_timer(self, timer: object) -> None:
        pass


class Unread(Good):
    read = 5  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Timeless, r"device 'it' \(timeless\) .*failed in use_timer: .*no crystal"),
        (Exiting, r"device 'it' \(exiting\) .*failed in use_timer: SystemExit: 3"),
        (Awaiting, "its use_timer .* is an async function: it is called, and not awaited"),
        (Unread, "its read 5 is not a function"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_before_anything_runs(
    kind: type[Good], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Hub(
            [machine(device(kind.__name__.lower()))],
            device_kinds=book(kind_of(kind, step=1)),
        )


async def test_a_mapped_model_that_takes_no_timer_is_not_mapped() -> None:
    async with Hub([machine()]) as hub:
        with pytest.raises(ValueError, match=r"use_timer: .*no crystal"):
            hub.map_device(BASE, 8, Timeless({"step": 1}))

        async with await hub.open("/dev/mem") as mem:
            assert await mem.pread(1, BASE) == b"\xff"


async def test_an_alarm_at_no_number_is_refused_to_its_caller_and_not_kept() -> None:
    kinds = book(kind_of(Timed, step=1))
    clock = ManualClock()
    async with (
        Hub([machine(device("timed"))], device_kinds=kinds, clock=clock) as hub,
        await hub.open("/dev/mem", "r+") as mem,
    ):
        with pytest.raises(DeviceError, match=r"mono_ns None is .*integer"):
            await mem.pwrite(b"x", BASE)

        with pytest.raises(TypeError, match=r"ring 5 is not a function"):
            hub.device("it").timer.set_alarm(1, 5)

        with pytest.raises(TypeError, match=r"ring .* is an async function"):
            hub.device("it").timer.set_alarm(1, anyio.sleep_forever)

        await mem.set_range(0xD0000000, 1 << 20, "write-combine", lease=1)
        clock.advance(2)
        await anyio.wait_all_tasks_blocked()
        assert await mem.pread(1, BASE) == b"\0"


async def test_a_model_is_not_mapped_over_more_than_it_says_to_have() -> None:
    async with Hub([machine()]) as hub:
        with pytest.raises(ValueError, match="length 0x1001 is more than the 0x1000 bytes of <"):
            hub.map_device(BASE, 0x1001, Good({"step": 1}))

        async with await hub.open("/dev/mem") as mem:
            assert await mem.pread(1, BASE) == b"\xff"


def _raise(error: BaseException) -> Callable[[], object]:
    def ring() -> None:
        raise error

    return ring


@pytest.mark.parametrize("error", [ValueError("loud"), SystemExit("loud"), GeneratorExit("loud")])
async def test_an_alarm_that_fails_is_a_warning_that_names_its_model(error: BaseException) -> None:
    kinds = book(kind_of(Timed, step=1))
    clock = ManualClock()
    async with Hub([machine(device("timed"))], device_kinds=kinds, clock=clock) as hub:
        hub.device("it").timer.set_alarm(1, _raise(error))
        hub.map_device(BASE + 0x10000, 8, mapped := Timed({"step": 1}))
        clock.advance(1)
        with pytest.warns(UserWarning, match=r"alarm of device 'it' \(timed\) .*failed: .*loud"):
            await anyio.wait_all_tasks_blocked()

        mapped.timer.set_alarm(1, _raise(error))
        with pytest.warns(UserWarning, match=r"alarm of device <.*Timed object.* failed: .*loud"):
            await anyio.wait_all_tasks_blocked()

        async with await hub.open("/dev/mem") as mem:
            assert await mem.pread(1, BASE) == b"\0"


async def test_a_copy_of_a_model_has_the_timer_of_its_own_hub() -> None:
    kinds = book(kind_of(Timed, step=1))
    async with Hub([machine(device("timed"))], device_kinds=kinds, clock=ManualClock()) as hub:
        clock = ManualClock(mono_ns=77)
        async with hub.fork(clock=clock) as fork:
            assert fork.device("it").timer.mono_ns() == 77
            assert hub.device("it").timer.mono_ns() != 77
