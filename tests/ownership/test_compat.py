"""With one process nothing of ownership shows: recorded answers come through a hub unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import traces
from memhub import Hub
from memhub.abi import RangeDesc
from memhub.clock import ManualClock
from memhub.core.spec import MachineSpec
from memhub.errors import DeviceError
from ownership.rig import ARCHES

if TYPE_CHECKING:
    from memhub.core.drivers.driver import RangeState
    from memhub.handles.handle import Handle

DRIVERS = {"i386": "i386", "x86": "amd64-mtrr", "k6": "k6", "powerpc": "powerpc"}

#: Of each driver's scenarios, every so many.
EVERY = 8


@pytest.mark.parametrize("wait", [None, 10.0], ids=["at-once", "would-wait"])
@pytest.mark.parametrize("driver", sorted(DRIVERS))
async def test_a_process_alone_gets_the_kernels_answers(driver: str, wait: float | None) -> None:
    """Also where it asks to wait: there is nobody to wait for."""
    scenarios = [t for n, t in enumerate(traces.load(driver)) if n % EVERY == (wait is None)]
    for trace in scenarios:
        await _replay(DRIVERS[driver], trace, wait)

    assert len(scenarios) >= 12


async def _replay(arch: str, trace: traces.Trace, wait: float | None) -> None:
    spec = MachineSpec(name="m", arch=arch, cpu=trace.cpu, msrs=trace.msrs)
    hub = Hub([spec], arches=ARCHES, clock=ManualClock())
    table, msrs = list(trace.table), dict(trace.msrs)
    async with hub:
        with hub.process("alone").open_nowait("/dev/mem") as handle:
            for number, step in enumerate(trace.steps):
                where = f"{trace.id} step {number} {step}"
                assert await _step(handle, step, wait) == (step["errno"] or None), where
                for slot, *fields in step.get("changed", ()):
                    table[slot] = tuple(fields)

                msrs.update(traces.registers(step.get("msr", {})))
                found = hub.machines["m"].table
                if found is not None:
                    _compare(found.state, table, msrs, where)


def _compare(state: RangeState, table: list[traces.Row], msrs: dict[int, int], where: str) -> None:
    assert [traces.row(desc) for desc in state.slots] == table, where
    assert {key: state.msrs.get(key, 0) for key in msrs} == msrs, where


async def _step(handle: Handle, step: Any, wait: float | None) -> str | None:
    model = handle.file.model
    try:
        if step["op"] == "get":
            reply = await handle.ioctl(model.get, model.op.pack(0, step["n"], 0))
            assert model.op.unpack(reply.op)[1] == step["count"]
            for row in model.unpack_table(reply.descs):
                assert isinstance(row, RangeDesc)
        else:
            desc, op = traces.request(step), model.op.pack(0, step["arg"], 0)
            await handle.ioctl(model.set[0], op, model.pack(desc), wait=wait)
    except DeviceError as error:
        return error.code.name

    return None
