"""Machines of every kind behind one hub with a log, and what the log must be at the end.

`lab` leaves with these checks, whatever the test did: the chain verifies, each record fits the
schema, and the log alone rebuilds every machine's table and registers.
"""

from __future__ import annotations

import errno
import os
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memhub import AuditLog, Cpu, Hub, KernelMapping, MachineSpec, Region, load_arches
from memhub.abi import ILP32, LP64, RangeDesc
from memhub.audit import read_records, verify
from memhub.audit.line import parse_record
from memhub.audit.schema import problems

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

    from memhub.abi import DataModel

ARCHES = load_arches()
K = 1 << 10
M = 1 << 20
DIRECT = 0xFFFFF80000000000

#: Fixed ranges: write-back to 640K, uncacheable to 768K, write-protect above; RAM write-back.
MTRRS = {
    0xFE: 0x508,
    0x2FF: 0xC06,
    0x250: 0x0606060606060606,
    0x258: 0x0606060606060606,
    0x259: 0,
    **dict.fromkeys(range(0x268, 0x270), 0x0505050505050505),
    0x200: 0x80000000,
    0x201: 0xF80000800,
}

RAM = (
    Region(base=0, length=640 * K),
    Region(base=0xC0000, length=256 * K),
    Region(base=1 * M, length=3 * M),
)

PAT = MachineSpec(
    name="pat",
    arch="amd64",
    memory=RAM,
    options={"slots": 4},
    msrs={0x2FF: 0x806},
    kmem=(
        KernelMapping(virtual=0xFFFFFFFF80100000, physical=0x100000, length=64 * K),
        KernelMapping(virtual=0xFFFFFFFF80110000, physical=0x110000, length=64 * K, writable=False),
    ),
)
MTRR = MachineSpec(name="mtrr", arch="amd64-mtrr", memory=RAM, msrs=MTRRS)
OLD = MachineSpec(
    name="old",
    arch="i386",
    memory=RAM,
    msrs=MTRRS,
    kmem=(KernelMapping(virtual=0xC0000000, physical=0, length=64 * K),),
)
K6 = MachineSpec(
    name="k6", arch="k6", memory=RAM, cpu=Cpu(vendor="AMD", signature=0x58C, phys_bits=32)
)
PPC = MachineSpec(name="ppc", arch="powerpc", memory=RAM, cpu=Cpu(vendor="PowerPC", phys_bits=32))
BOARD = MachineSpec(name="board", arch="arm64", memory=RAM)
SECURE = MachineSpec(name="secure", arch="amd64", memory=RAM, securelevel=1)
OFF = MachineSpec(name="off", arch="i386", memory=RAM, msrs={0xFE: 0x508})

SPECS = (PAT, MTRR, OLD, K6, PPC, BOARD, SECURE, OFF)


class Disk:
    """A write(2) that fails with ENOSPC while the disk is full."""

    def __init__(self) -> None:
        self.full = False

    def write(self, fd: int, data: bytes) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return os.write(fd, data)

    @contextmanager
    def emptied(self) -> Iterator[None]:
        """At the block's end the disk has space again, so that the log can be closed."""
        try:
            yield
        finally:
            self.full = False


@dataclass
class News:
    """What a log gets, read as it comes.

    Attributes:
        path: the log.
    """

    path: Path
    _offset: int = field(default=0)

    def read(self) -> list[dict[str, Any]]:
        """The records since the last call."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            lines = file.read().splitlines(keepends=True)

        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()

        self._offset += sum(map(len, lines))

        return [parse_record(line[:-1]) for line in lines]


@dataclass
class Lab:
    """A hub with a log.

    Attributes:
        hub: the hub.
        path: its log.
        disk: what the log is written to.
    """

    hub: Hub
    path: Path
    disk: Disk
    _news: News = field(init=False)

    def __post_init__(self) -> None:
        self._news = News(self.path)

    def news(self) -> list[dict[str, Any]]:
        """The records since the last call."""
        return self._news.read()

    def state(self) -> dict[str, Any]:
        """All that a refused request must leave as it was."""
        return {name: _state(machine) for name, machine in self.hub.machines.items()}


def _state(machine: Any) -> tuple[Any, ...]:
    table = machine.table
    ranges = table.state if table is not None else None
    claims = [(c.fence, c.base, c.end, set(c.slots)) for c in machine.claims.claims.values()]
    files = [(file.caller.handle, file.offset) for file in machine.files]
    memory = machine.memory.read(0, 16 * K) + machine.memory.read(1 * M, 64 * K)

    return ranges, claims, files, dict(machine.waits.waits), dict(machine.commits.commits), memory


@asynccontextmanager
async def lab(folder: Path, *specs: MachineSpec, **options: Any) -> AsyncIterator[Lab]:
    """A hub of these machines (all kinds if none is named) with a log in `folder`."""
    path, disk = folder / "audit.jsonl", Disk()
    with AuditLog.open(path, write=disk.write) as log, disk.emptied():
        async with Hub(specs or SPECS, arches=ARCHES, log=log, **options) as hub:
            rig = Lab(hub, path, disk)
            rig.news()
            yield rig
            live = {name: m.table for name, m in hub.machines.items()}

    check_log(path)
    for name, (slots, msrs) in rebuilt(read_records(path)).items():
        table = live[name]
        assert slots == (list(table.state.slots) if table is not None else []), name
        assert msrs == (dict(table.state.msrs) if table is not None else {}), name


def check_log(path: Path) -> None:
    """The chain verifies and every record fits the schema."""
    verdict = verify(path)
    assert verdict.ok, verdict
    for record in read_records(path):
        assert problems(record) == [], record


def rebuilt(records: Iterable[dict[str, Any]]) -> dict[str, tuple[list[RangeDesc], dict[int, int]]]:
    """Every machine's table and registers, from the log and nothing else."""
    machines: dict[str, tuple[list[RangeDesc], dict[int, int]]] = {}
    for record in records:
        if record["event"] in ("device.attach", "device.restore"):
            machines[record["machine"]] = ([RangeDesc(0, 0)] * len(record["slots"]), {})

        if record.get("errno") is None and "after_msr" in record:
            _, msrs = machines[record["machine"]]
            msrs.update(zip(record["msrs"], record["after_msr"], strict=True))

        if record.get("errno") is None and "after_base" in record:
            slots, _ = machines[record["machine"]]
            columns = (record[f"after_{name}"] for name in ("base", "length", "flags", "owner"))
            for slot, base, length, flags, owner in zip(record["slots"], *columns, strict=True):
                label = owner.encode("latin-1").ljust(8, b"\0")
                slots[slot] = RangeDesc(base, length, flags, label)

    return machines


def op(model: DataModel, arg: int) -> bytes:
    """A `struct mem_range_op` with `mo_arg[0]`."""
    return model.op.pack(0, arg, 0)


def desc(model: DataModel, base: int, length: int, flags: int, owner: bytes = b"test") -> bytes:
    """A packed `struct mem_range_desc`."""
    return model.pack(RangeDesc(base, length, flags, owner.ljust(8, b"\0")))


MODELS = {"LP64": LP64, "ILP32": ILP32}
