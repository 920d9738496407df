"""The public face as a caller writes it: checked by mypy with the rest, never run.

Each `assert_type` is a promise to people who type-check their own code against memhub.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

from memhub import (
    AsyncDeviceFile,
    AuditLog,
    Cpu,
    DeviceError,
    Handle,
    Hub,
    KernelMapping,
    MachineSpec,
    ManualClock,
    Process,
    Region,
    SystemClock,
    load_arches,
)
from memhub.abi import LP64, MDF_WRITECOMBINE, DataModel, Errno, IoctlReply, RangeDesc
from memhub.arches import Registry
from memhub.core.claims import Claim
from memhub.core.machine import Machine
from memhub.core.replies import Explanation, SetOutcome
from memhub.devices.screens import draw_png
from memhub.engine.subscriptions import Subscription
from memhub.errors import Obstacle
from memhub.plugin.pictures import Pixels, TextCells


class Uart:
    """A device model needs no base class."""

    async def read(self, offset: int, size: int) -> bytes:
        return bytes(size)

    async def write(self, offset: int, data: bytes) -> None: ...


def machine() -> MachineSpec:
    return MachineSpec(
        name="pc",
        arch="amd64",
        cpu=Cpu(vendor="Intel", phys_bits=39),
        memory=(Region(base=0, length=1 << 20), Region(base=1 << 20, length=1, kind="rom")),
        kmem=(KernelMapping(virtual=0xFFFFFFFF80000000, physical=0, length=4096),),
        wp_writes="drop",
    )


async def hub() -> None:
    with AuditLog.open("audit.jsonl", durability="disk") as log:
        assert_type(log, AuditLog)
        assert_type(load_arches(), Registry)
        Hub([machine()], clock=SystemClock())
        async with Hub([machine()], default="pc", log=log, clock=ManualClock()) as served:
            assert_type(served, Hub)
            assert_type(served.machines, Mapping[str, Machine])
            assert_type(served.report(), dict[str, Any])
            assert_type(served.claims(), list[Claim])
            assert_type(served.show("vga"), Pixels | TextCells)
            assert_type(draw_png(served.show(), scale=2), bytes)
            served.map_device(0x3F8000, 4096, Uart())
            served.break_claim("pc", 1, "stuck")
            process = served.process("xorg", pid=1, uid=2)
            assert_type(process, Process)
            assert_type(await process.open("/dev/mem", "r+", undo=True, model=LP64), Handle)
            async with await served.open("pc:/dev/kmem") as handle:
                await memory(handle)
                await ranges(handle)

            with served.subscribe(machine="pc", events=["request.set"]) as changes:
                assert_type(changes, Subscription)
                async for event in changes:
                    assert_type(event, dict[str, Any])


async def memory(handle: Handle) -> None:
    assert_type(await handle.read(4), bytes)
    assert_type(await handle.pread(4, 0), bytes)
    assert_type(await handle.write(b"x"), int)
    assert_type(await handle.pwrite(memoryview(b"x"), 0), int)
    assert_type(await handle.seek(0), int)
    assert_type(handle.read_nowait(4), bytes)
    assert_type(handle.closed, bool)


async def ranges(handle: Handle) -> None:
    reply = await handle.ioctl(LP64.get, bytearray(16))
    assert_type(reply, IoctlReply)
    assert_type(reply.op, bytes)
    assert_type(await handle.ranges(), tuple[RangeDesc, ...])
    assert_type(await handle.range_array(), npt.NDArray[np.void])
    assert_type(await handle.explain(0xA0000), Explanation)
    assert_type(await handle.explain_array([0xA0000]), npt.NDArray[np.uint8])
    outcome = await handle.set_range(0, 4096, MDF_WRITECOMBINE, wait=1.5, lease=2)
    assert_type(outcome, SetOutcome)
    assert_type(outcome.slots, tuple[int, ...])
    assert_type(await handle.remove_range(0, 4096), SetOutcome)
    claim = await handle.claim(0, 4096, lease=3)
    assert_type(claim, Claim)
    assert_type(await handle.renew(claim.fence, None), Claim)
    assert_type(await handle.release(0, 4096), None)
    assert_type(handle.file.model, DataModel)


async def any_face(file: AsyncDeviceFile) -> None:
    assert_type(await file.set_range(0, 4096, MDF_WRITECOMBINE), SetOutcome | None)
    assert_type((await file.claim(0, 4096)).fence, int)


def errors(error: DeviceError) -> None:
    assert_type(error.code, Errno)
    assert_type(error.reason, str)
    assert_type(error.obstacles, tuple[Obstacle, ...])
    as_os_error: OSError = error
    assert_type(as_os_error.errno, int | None)
