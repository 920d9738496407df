"""MEMRANGE_GET of a large table is a long answer: it is made when the client reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from memhub import FaultRule
from memhub.service import wire
from memhub.service.settings import Limits
from service.service_rig import RawClient, get, lab, machine

if TYPE_CHECKING:
    from pathlib import Path

    from memhub import MachineSpec


def large_table() -> MachineSpec:
    """A machine whose table is longer than what is sent however much is unread."""
    return machine(options={"slots": 200})


async def test_tables_that_are_pipelined_come_as_they_are_read(tmp_path: Path) -> None:
    """A client that asks for many and does not read costs no more than one that asks for few."""
    limits = Limits(queued_bytes=1 << 16, in_flight=1024)
    async with lab(tmp_path, large_table(), limits=limits) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        (connection,) = it.server._connections
        asked = [wire.Pwrite(0, handle, 0, 1, b"x"), *(get(handle, 300) for _ in range(500))]
        client.send(*(b for each in asked for b in client.protocol.send(each)))
        with anyio.fail_after(20):
            while connection.link.queued <= limits.queued_bytes // 2:
                await anyio.lowlevel.checkpoint()

        table = 300 * 32
        found: list[Any] = []
        while len(found) < len(asked):
            assert connection.link.queued <= limits.queued_bytes // 2 + table
            found += await client.receive()

        sizes = {len(it.desc) for it in found if isinstance(it, wire.IoctlDone)}
        assert len(sizes) == 1
        assert 4096 < min(sizes) < table
        client.close()


async def test_a_table_that_waits_to_be_read_is_cancelled_and_met_by_fault_rules(
    tmp_path: Path,
) -> None:
    limits = Limits(queued_bytes=1 << 16, in_flight=1024)
    async with lab(tmp_path, large_table(), limits=limits) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        (connection,) = it.server._connections
        many = [get(handle, 300) for _ in range(100)]
        client.send(*(b for each in many for b in client.protocol.send(each)))
        session: Any = connection._session
        with anyio.fail_after(20):
            while many[-1].request not in session.tasks._scopes:
                await anyio.lowlevel.checkpoint()

        it.hub.faults.add(FaultRule("delay", op="get", delay=0.01, times=1))
        session.tasks.cancel_request(many[-1].request)
        found: dict[int, Any] = {}
        while client.protocol.in_flight:
            found |= {it.request: it for it in await client.receive()}

        cancelled = found.pop(many[-1].request)
        assert {it.NAME for it in found.values()} == {"IOCTL_DONE"}
        assert getattr(cancelled, "name", "") == "ECANCELED"
        assert len(it.records("fault")) == 1
        client.close()
