"""Flushes, write-backs and fences that fault rules meet, or that a suspended machine refuses."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from caches.cache_rig import pc
from caches.two_processes import PAGE, machine
from memhub import CacheLimits, FaultRule
from memhub.audit.verifying.verify import verify
from memhub.errors import DeviceError, LogFailed
from shell.kit import lab

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from memhub.handles.handle import Handle

AT = 0x200000
PC = pc(caches=CacheLimits(lines=4, line_size=16, buffers=2, seed=1, logged=True))

CALLS: dict[str, Callable[[Handle], Awaitable[None]]] = {
    "flush": lambda mem: mem.flush(AT, 64),
    "writeback": lambda mem: mem.writeback(AT, 64),
    "fence": lambda mem: mem.fence(),
}


@pytest.mark.parametrize("op", CALLS)
async def test_fault_rules_know_what_is_asked_of_caches(op: str, tmp_path: Path) -> None:
    async with lab(tmp_path, PC) as rig, await rig.hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"dirty", AT)
        caches = deepcopy(rig.hub.machines["pc"].caches)
        window: dict[str, Any] = {} if op == "fence" else {"base": AT + 63, "length": 1}
        with rig.hub.faults.add(FaultRule(action="errno", op=[op], **window)) as rule:
            with pytest.raises(DeviceError, match=r"EIO: .*fault rule"):
                await CALLS[op](mem)

            assert rule.injected == 1
            assert rig.hub.machines["pc"].caches == caches
            for other, call in CALLS.items():
                if other != op:
                    await call(mem)

        assert [it["op"] for it in rig.news() if it["event"] == "fault"] == [op]


@pytest.mark.parametrize("op", CALLS)
async def test_a_suspended_machine_refuses_what_is_asked_of_its_caches(
    op: str, tmp_path: Path
) -> None:
    async with lab(tmp_path, PC) as rig, await rig.hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"dirty", AT)
        await rig.hub.suspend()
        caches = deepcopy(rig.hub.machines["pc"].caches)
        with pytest.raises(DeviceError, match="EAGAIN: machine pc is suspended: ask again once"):
            await CALLS[op](mem)

        assert rig.hub.machines["pc"].caches == caches
        (refused,) = [it for it in rig.news() if it["event"] == "request.flush"]
        assert (refused["op"], refused["errno"]) == (op, "EAGAIN")
        await rig.hub.resume()
        await CALLS[op](mem)

    assert verify(rig.path).ok


async def test_caches_are_flushed_before_a_machine_sleeps(tmp_path: Path) -> None:
    async with lab(tmp_path, PC) as rig, await rig.hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"dirty", AT)
        assert rig.hub.bus().read(AT, 5) == bytes(5)
        rig.news()
        await rig.hub.suspend()
        assert [it["event"] for it in rig.news()] == ["bus.lines", "hardware.suspend"]
        await rig.hub.resume()
        assert rig.hub.bus().read(AT, 5) == b"dirty"
        rig.hub.restore(rig.hub.snapshot())

    assert verify(rig.path).ok


async def test_a_suspend_that_cannot_be_recorded_leaves_the_caches_as_they_are(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, PC) as rig, await rig.hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"dirty", AT)
        before = deepcopy(rig.hub.machines["pc"].caches)
        with rig.disk.emptied():
            rig.disk.full = True
            with pytest.raises(LogFailed):
                await rig.hub.suspend()

        assert rig.hub.machines["pc"].caches == before
        assert rig.hub.machines["pc"].health is None
        assert rig.hub.bus().read(AT, 5) == bytes(5)


@pytest.mark.parametrize("wp_writes", ["fault", "drop", "allow"])
async def test_a_write_to_protected_memory_is_told_with_all_its_bytes(wp_writes: Any) -> None:
    async with machine("write-protect", wp_writes=wp_writes) as it:
        for base, length in ((AT, 3), (AT + 16 * PAGE - 32, 64), (AT - 32, 64)):
            with suppress(DeviceError):
                await it.one.pwrite(bytes(length), base)

        found = [(one.address, one.length) for one in it.hub.hazards()]
        assert found == [(AT, 3), (AT + 16 * PAGE - 32, 32)]
        assert it.hub.hazards()[0].times == 2
