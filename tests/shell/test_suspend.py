"""Suspend and resume: what requests come to meanwhile, and what the registers are afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import Sickness
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.clock import ManualClock
from memhub.errors import DeviceError, InvalidArgument, RangeBusy
from shell.kit import BOARD, MTRR, OFF, K, M, lab

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from memhub.handle import Handle

pytestmark = pytest.mark.anyio

#: A frame buffer.
SCREEN = (0x40000000, 16 * M)

REFUSED: dict[str, Callable[[Handle], Awaitable[Any]]] = {
    "read": lambda it: it.pread(16, M),
    "write": lambda it: it.pwrite(b"x" * 16, M),
    "get": lambda it: it.ranges(),
    "set": lambda it: it.set_range(*SCREEN, MDF_WRITECOMBINE),
    "ioctl": lambda it: it.ioctl(0, b""),
    "claim": lambda it: it.claim(M, 4 * K),
    "wait": lambda it: it.wait_free(M, 4 * K, 1),
    "explain": lambda it: it.explain(M),
    "explain_array": lambda it: it.explain_array([M]),
}


@pytest.mark.parametrize("word", sorted(REFUSED))
async def test_a_suspended_machine_answers_eagain_and_is_as_before_when_it_is_resumed(
    tmp_path: Path, word: str
) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem", "r+")
        await it.hub.suspend()
        before = it.state()
        with pytest.raises(DeviceError, match="EAGAIN: machine mtrr is suspended"):
            await REFUSED[word](mem)

        assert it.state() == before
        await it.hub.resume()
        if word != "ioctl":
            await REFUSED[word](mem)


async def test_a_suspended_machine_opens_nothing_and_closes_what_is_open(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem", undo=True)
        await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
        await it.hub.suspend("mtrr")
        with pytest.raises(DeviceError, match="EAGAIN"):
            await x.open("/dev/mem")

        await mem.aclose()
        assert it.hub.claims() == []
        await it.hub.resume("mtrr")
        mem = await x.open("/dev/mem")
        assert (await mem.explain(SCREEN[0])).type == "WB"


async def test_suspend_and_resume_are_refused_out_of_turn(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it:
        with pytest.raises(InvalidArgument, match="mtrr is not suspended"):
            await it.hub.resume()

        await it.hub.suspend()
        with pytest.raises(InvalidArgument, match="mtrr is suspended already"):
            await it.hub.suspend()

        with pytest.raises(InvalidArgument, match="it re-initialises as it resumes"):
            it.hub.hardware.reinit()


async def test_a_machine_is_not_suspended_during_a_commit(tmp_path: Path) -> None:
    clock = ManualClock()
    slow = replace(MTRR, commit_latency=1.0)
    async with lab(tmp_path, slow, clock=clock) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(mem.set_range, *SCREEN, MDF_WRITECOMBINE)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(RangeBusy, match="cannot be suspended during a commit"):
                await it.hub.suspend()

            clock.advance(1)

        await it.hub.suspend()


async def test_who_waits_for_a_range_gets_it_after_the_resume(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x, it.hub.process("Y") as y:
        first, second = await x.open("/dev/mem"), await y.open("/dev/mem")
        await first.set_range(*SCREEN, MDF_WRITECOMBINE)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: second.set_range(*SCREEN, MDF_UNCACHEABLE, wait=60))
                await anyio.wait_all_tasks_blocked()
                await it.hub.suspend()
                await first.aclose()
                await anyio.wait_all_tasks_blocked()
                assert len(it.hub.machines["mtrr"].waits) == 1
                await it.hub.resume()

        assert (await second.explain(SCREEN[0])).type == "UC"


async def test_a_resume_that_forgets_leaves_the_mtrrs_off_until_a_set_or_a_reinit(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem, hardware = await x.open("/dev/mem"), it.hub.hardware
        await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
        table = await mem.ranges()
        hardware.add(Sickness(action="forgetful_resume", times=1))
        await it.hub.suspend()
        await it.hub.resume()
        assert await mem.ranges() == table
        assert (await mem.explain(SCREEN[0])).type == "UC"
        assert [found.cpu for found in hardware.check_cpus()] == [0]
        hardware.reinit()
        assert (await mem.explain(SCREEN[0])).type == "WC"
        assert hardware.check_cpus() == ()
        await it.hub.suspend()
        await it.hub.resume()
        assert (await mem.explain(SCREEN[0])).type == "WC"


async def test_a_set_enables_mtrrs_that_a_resume_left_off(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem, hardware = await x.open("/dev/mem"), it.hub.hardware
        forgets = hardware.add(Sickness(action="forgetful_resume", times=1))
        await it.hub.suspend()
        await it.hub.resume()
        forgets.remove()
        await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
        assert (await mem.explain(SCREEN[0])).type == "WC"
        (found,) = hardware.check_cpus()  # the default type is lost
        assert (found.cpu, found.kinds) == (0, ("MTRRdefType",))


async def test_one_cpu_may_forget_and_the_kernel_may_reach_it_all_the_same(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, MTRR) as it:
        hardware = it.hub.hardware
        with hardware.add(Sickness(action="forgetful_resume", cpu=2)):
            await it.hub.suspend()
            await it.hub.resume()
            (found,) = hardware.check_cpus()
            assert found.cpu == 2
            assert set(found.kinds) == {"fixed MTRR", "variable MTRR", "MTRRdefType"}

        with hardware.add(Sickness(action="forgetful_resume", reinit=True)):
            await it.hub.suspend()
            await it.hub.resume()
            assert hardware.check_cpus() == ()


@pytest.mark.parametrize("spec", [BOARD, OFF], ids=lambda it: it.name)
async def test_a_machine_without_ranges_is_suspended_and_resumed_too(
    tmp_path: Path, spec: Any
) -> None:
    async with lab(tmp_path, spec) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem")
        await it.hub.suspend()
        with pytest.raises(DeviceError, match="EAGAIN"):
            await mem.pread(1, M)

        await it.hub.resume()
        await mem.pread(1, M)
        with pytest.raises(DeviceError, match=r"EOPNOTSUPP|ENXIO"):
            it.hub.hardware.check_cpus()
