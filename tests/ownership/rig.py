"""A hub on a clock that stands still, and what must hold of it whatever has happened."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import checkpoint

from memhub import Hub
from memhub.abi import MDF_BUSY, RangeDesc
from memhub.arches import load_arches
from memhub.audit.schema import EVENTS, problems
from memhub.clock import ManualClock
from memhub.core.drivers.driver import Cpu
from memhub.core.spec import MachineSpec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from memhub.audit import AuditLog
    from memhub.handles.handle import Handle

ARCHES = load_arches()
PAGE = 0x1000

_MTRR_CAP, _MTRR_DEFAULT, _WRITE_BACK = 0xFE, 0x2FF, 6
_ENABLED, _FIXED_ENABLED = 1 << 11, 1 << 10

#: Machines with ranges, small enough to run out of slots. MTRRs say write-back by default.
SPECS: Mapping[str, MachineSpec] = {
    "amd64": MachineSpec(
        name="amd64",
        arch="amd64",
        msrs={_MTRR_CAP: 0x508, _MTRR_DEFAULT: _ENABLED | _WRITE_BACK},
        options={"slots": 6},
    ),
    "amd64-mtrr": MachineSpec(
        name="amd64-mtrr",
        arch="amd64-mtrr",
        msrs={_MTRR_CAP: 0x404, _MTRR_DEFAULT: _ENABLED | _WRITE_BACK},
    ),
    "i386": MachineSpec(
        name="i386",
        arch="i386",
        msrs={_MTRR_CAP: 0x504, _MTRR_DEFAULT: _ENABLED | _FIXED_ENABLED | _WRITE_BACK},
    ),
    "k6": MachineSpec(name="k6", arch="k6", cpu=Cpu(vendor="AMD", signature=0x58C)),
    "powerpc": MachineSpec(name="powerpc", arch="powerpc", cpu=Cpu(vendor="PowerPC")),
}


def spec(arch: str = "amd64", *, latency: float = 0.0) -> MachineSpec:
    """One of `SPECS`, with a commit latency."""
    found = SPECS[arch]

    return MachineSpec(
        name=found.name,
        arch=found.arch,
        cpu=found.cpu,
        msrs=found.msrs,
        options=found.options,
        commit_latency=latency,
    )


class Bench:
    """A hub under test.

    Attributes:
        hub: the hub, with one machine.
        clock: its clock; only `pass_time` moves it.
        records: every record since the start, in order.
    """

    def __init__(self, machine: MachineSpec, log: AuditLog | None = None) -> None:
        self.clock = ManualClock(wall_ns=1_700_000_000_000_000_000, mono_ns=5_000_000_000)
        self.hub = Hub([machine], arches=ARCHES, clock=self.clock, log=log)
        self.machine = self.hub.machines[machine.name]
        self._news = self.hub.subscribe(events=EVENTS, failures=True, size=1 << 20)
        self._records: list[dict[str, Any]] = []

    @property
    def records(self) -> list[dict[str, Any]]:
        try:
            while True:
                self._records.append(self._news.receive_nowait())
        except (anyio.WouldBlock, anyio.EndOfStream):
            return self._records

    async def open(self, process: str, *, undo: bool = False) -> Handle:
        """Open `/dev/mem` as a new process."""
        return await self.hub.process(process).open("/dev/mem", undo=undo)

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, and let whoever wakes run until all wait again."""
        self.clock.advance(seconds)
        await settle()

    def holders(self) -> list[tuple[str, int, int]]:
        """Who holds what: `(process, base, length)`, oldest first."""
        return [(c.process.name, c.base, c.end - c.base) for c in self.hub.claims()]

    def table(self) -> tuple[RangeDesc, ...]:
        """The slots, nobody's busy."""
        table = self.machine.table

        return table.state.slots if table is not None else ()

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The records of some events."""
        return [record for record in self.records if record["event"] in names]

    def check(self) -> None:
        """The log tells the table, the registers and the claims; each record fits its schema."""
        check_log(self.records, self.machine)

    def check_idle(self) -> None:
        """Nobody waits, nothing is on its way, no claim is left, and the log tells the rest."""
        assert self.machine.waits.waits == {}
        assert self.machine.commits.commits == {}
        assert self.holders() == []
        assert list(self.machine.files.processes()) == []
        self.check()


@asynccontextmanager
async def bench(
    arch: str = "amd64", *, latency: float = 0.0, log: AuditLog | None = None
) -> AsyncGenerator[Bench]:
    """A hub with one of the machines of `SPECS`."""
    made = Bench(spec(arch, latency=latency), log)
    async with made.hub:
        yield made


async def settle() -> None:
    """Let every task run until all wait."""
    await checkpoint()
    await anyio.wait_all_tasks_blocked()


async def busy(handle: Handle) -> list[int]:
    """The slots that show MDF_BUSY to a handle's process."""
    return [slot for slot, row in enumerate(await handle.ranges()) if row.mr_flags & MDF_BUSY]


def rows(record: Mapping[str, Any], side: str) -> Iterable[tuple[int, tuple[Any, ...]]]:
    """The descriptors of a record, with their slots."""
    columns = (record[f"{side}_{name}"] for name in ("base", "length", "flags", "owner"))

    return zip(record.get("slots", ()), zip(*columns, strict=True), strict=True)


def check_log(records: Iterable[Mapping[str, Any]], machine: Any) -> None:
    """Rebuild table, registers and claims from records alone, and compare."""
    slots: dict[int, tuple[Any, ...]] = {}
    msrs: dict[int, int] = {}
    claims: set[int] = set()
    for record in records:
        assert problems({"v": 1, "seq": 1, "prev": "", "hash": "", **record}) == [], record
        if "after_base" in record:
            if "before_base" in record:
                for slot, row in rows(record, "before"):
                    assert slots[slot] == row, record

            slots.update(rows(record, "after"))
            msrs.update(zip(record.get("msrs", ()), record.get("after_msr", ()), strict=True))

        _follow(record, claims)

    table = machine.table
    state = {
        slot: (d.mr_base, d.mr_len, d.mr_flags, d.mr_owner.rstrip(b"\0").decode("latin-1"))
        for slot, d in enumerate(table.state.slots)
    }
    assert slots == state
    assert {k: v for k, v in msrs.items() if v} == {k: v for k, v in table.state.msrs.items() if v}
    assert set(machine.claims.claims) <= claims


def _follow(record: Mapping[str, Any], claims: set[int]) -> None:
    """Keep the fencing numbers that were given out and have not been taken back by a record."""
    if record.get("errno") is not None or record.get("fence") is None:
        return

    if record["event"] in ("request.set", "claim.take"):
        claims.add(record["fence"])
    elif record["event"] in ("claim.expire", "claim.break") or record.get("cause") == "close":
        claims.discard(record["fence"])
