"""Suspend and resume: what requests come to meanwhile, and what the registers are afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import DeviceSpec, Sickness
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.clock import ManualClock
from memhub.core.spec import Content
from memhub.errors import DeviceError, InvalidArgument, RangeBusy
from shell.kit import BOARD, MTRR, OFF, K, M, lab

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from memhub import Hub
    from memhub.handles.handle import Handle

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


#: What the machine's bus, its devices or its CPUs would have to do.
STILL: dict[str, Callable[[Hub], Any]] = {
    "bus read": lambda it: it.bus().read(M, 4),
    "bus write": lambda it: it.bus().write(M, b"dma!"),
    "bus flush": lambda it: it.bus().flush_all(),
    "show": lambda it: it.show("vga"),
    "check": lambda it: it.hardware.check_cpus(),
    "reinit": lambda it: it.hardware.reinit(),
}
SCREENED = replace(MTRR, devices=(DeviceSpec(name="vga", kind="vga-text"),))


@pytest.mark.parametrize("word", sorted(STILL))
async def test_the_bus_devices_and_cpus_of_a_suspended_machine_stand_still(
    tmp_path: Path, word: str
) -> None:
    async with lab(tmp_path, SCREENED) as it:
        await it.hub.suspend()
        before = it.state()
        it.news()
        with pytest.raises(DeviceError, match="EAGAIN: machine mtrr is suspended"):
            STILL[word](it.hub)

        accesses = [r["errno"] for r in it.news() if r["event"] == "bus.access"]
        assert accesses == ([] if word in ("check", "reinit") else ["EAGAIN"])
        assert it.state() == before
        await it.hub.resume()
        STILL[word](it.hub)


async def test_what_the_embedder_does_to_a_suspended_machine_goes_on(tmp_path: Path) -> None:
    class Port:
        async def read(self, _offset: int, size: int) -> bytes:
            return b"p" * size

        async def write(self, _offset: int, _data: bytes) -> None:
            raise AssertionError

    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        hub, mem = it.hub, await x.open("/dev/mem")
        await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
        await hub.suspend()
        then = hub.snapshot()
        assert hub.load_memory([Content(base=M, data=b"kept")]) == 4
        assert any(it.data.startswith(b"kept") for it in hub.dump_memory().contents)
        hub.map_device(0x50000000, 4096, Port())
        (claim,) = hub.claims()
        hub.break_claim("mtrr", claim.fence, "by hand")
        with hub.hardware.add(Sickness(action="stuck_slot", slot=0)):
            assert hub.report()["machines"][0]["sick"]["suspended"] is not None

        async with hub.fork() as twin:
            await twin.resume()
            assert twin.bus().read(M, 4) == b"kept"
            with pytest.raises(DeviceError, match="EAGAIN"):
                hub.bus().read(M, 4)

        hub.restore(then)
        with pytest.raises(DeviceError, match="EAGAIN"):
            hub.bus().read(M, 4)

        hub.reset()
        assert hub.bus().read(M, 4) == bytes(4)
        assert await mem.pread(2, 0x50000000) == b"pp"


async def test_an_access_of_a_device_that_has_begun_ends_during_the_suspend(tmp_path: Path) -> None:
    asked, answer = anyio.Event(), anyio.Event()

    class Slow:
        async def read(self, _offset: int, size: int) -> bytes:
            asked.set()
            await answer.wait()
            return b"s" * size

        async def write(self, _offset: int, _data: bytes) -> None:
            raise AssertionError

    found: list[bytes] = []
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem")
        it.hub.map_device(0x50000000, 4096, Slow())

        async def read() -> None:
            found.append(await mem.pread(2, 0x50000000))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await asked.wait()
                await it.hub.suspend()
                answer.set()

        assert found == [b"ss"]
        with pytest.raises(DeviceError, match="EAGAIN"):
            await read()


async def test_suspend_and_resume_are_refused_out_of_turn(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it:
        with pytest.raises(InvalidArgument, match="mtrr is not suspended"):
            await it.hub.resume()

        await it.hub.suspend()
        with pytest.raises(InvalidArgument, match="mtrr is suspended already"):
            await it.hub.suspend()


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
