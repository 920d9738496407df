"""What is measured: hubs of i386 machines, and the records that their log holds."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub import AuditLog, Hub, MachineSpec, Region
from memhub.abi import (
    ILP32,
    MDF_UNCACHEABLE,
    MDF_WRITECOMBINE,
    MEMRANGE_SET_REMOVE,
    MEMRANGE_SET_UPDATE,
    RangeDesc,
    owner_bytes,
)
from memhub.arches import load_arches

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from memhub.handles.handle import Handle

_CAP, _DEFAULT, _WB = 0xFE, 0x2FF, 6
_ENABLED: Final = 1 << 11 | 1 << 10

#: Eight variable pairs beside the 88 fixed ranges: 96 slots, and room for SET.
MSRS: Final = {_CAP: 0x508, _DEFAULT: _ENABLED | _WB}
ARCHES: Final = load_arches()
BASE: Final = 0xD0000000
LENGTH: Final = 16 << 20

GET: Final = ILP32.get
SET: Final = ILP32.set[0]
GET_ALL: Final = ILP32.op.pack(0, 96, 0)
UPDATE: Final = ILP32.op.pack(0, MEMRANGE_SET_UPDATE, 0)
REMOVE: Final = ILP32.op.pack(0, MEMRANGE_SET_REMOVE, 0)


def _desc(flags: int) -> bytes:
    return ILP32.pack(RangeDesc(BASE, LENGTH, flags, owner_bytes("bench")))


COMBINE: Final = _desc(MDF_WRITECOMBINE)
UNCACHE: Final = _desc(MDF_UNCACHEABLE)


def spec(name: str = "pc") -> MachineSpec:
    """An i386 of 96 slots and 256 MiB."""
    memory = (Region(base=0, length=0xA0000), Region(base=1 << 20, length=255 << 20))

    return MachineSpec(name=name, arch="i386", msrs=MSRS, memory=memory)


@asynccontextmanager
async def opened(log: Path | None = None, machines: int = 1) -> AsyncGenerator[tuple[Hub, Handle]]:
    """A hub and one handle on its first machine."""
    specs = [spec(f"pc{number}") for number in range(machines)]
    audit = AuditLog.open(log) if log is not None else None
    try:
        async with (
            Hub(specs, arches=ARCHES, log=audit) as hub,
            await hub.open("/dev/mem", "r+") as handle,
        ):
            yield hub, handle
    finally:
        if audit is not None:
            audit.close()


async def records_of(path: Path, request: Callable[[Handle], Awaitable[Any]]) -> list[Any]:
    """What the log says of one request, as `orjson.dumps` was given it."""
    async with opened(path) as (_, handle):
        begin = len(_bytes_of(path))
        await request(handle)
        lines = _bytes_of(path)[begin:].splitlines()

    records = [orjson.loads(line) for line in lines]
    for record in records:
        del record["hash"]

    return records


def _bytes_of(path: Path) -> bytes:
    return path.read_bytes()
