"""What needs the machines of a hub that is closed says that the hub is closed, and does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from memhub import AuditLog, FaultRule, Hub, Sickness
from memhub.audit import verify
from memhub.errors import BadHandle
from memhub.service.local import LocalClient
from shell.kit import ARCHES, MTRR

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_every_call_on_a_closed_hub_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        async with Hub([MTRR], arches=ARCHES, log=log) as hub:
            process = hub.process("X")
            handle = await process.open("/dev/mem", "r+")
            then, rule = hub.snapshot(), FaultRule(action="drop")

        count = log.seq
        calls: list[Callable[[], Any]] = [
            hub.snapshot,
            lambda: hub.restore(then),
            hub.reset,
            hub.fork,
            hub.subscribe,
            lambda: hub.break_claim("mtrr", 1, "stuck"),
            lambda: hub.faults.add(rule),
            lambda: hub.hardware.add(Sickness(action="stuck_slot", slot=0)),
            hub.hardware.check_cpus,
            hub.hardware.reinit,
            lambda: hub.bus().read(0, 4),
            lambda: process.open_nowait("/dev/mem"),
        ]
        for call in calls:
            with pytest.raises(BadHandle, match=r"EBADF: the .* is closed, and its"):
                call()

        with pytest.raises(BadHandle, match="the hub is closed"):
            await hub.suspend()

        with pytest.raises(BadHandle, match="the hub is closed"):
            await hub.resume()

        with pytest.raises(RuntimeError, match="the hub is closed"):
            await hub.open("/dev/mem")

        with pytest.raises(BadHandle, match="handle 1 is closed"):
            await handle.ranges()

        assert log.seq == count

    assert verify(path).ok


async def test_a_local_client_that_is_closed_says_so() -> None:
    client = LocalClient([MTRR], arches=ARCHES)
    file = client.take_snapshot()
    client.close()
    calls: list[Callable[[], Any]] = [
        client.take_snapshot,
        lambda: client.restore_snapshot(file),
        client.reset,
        client.hardware.reinit,
    ]
    for call in calls:
        with pytest.raises(BadHandle, match="the hub is closed"):
            call()
