"""A large log of many machines, made by a hub, for the questions to it."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from memhub import AuditLog, Hub, MachineSpec
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE, MEMRANGE_SET_REMOVE, RangeDesc
from memhub.clock import ManualClock
from memhub.core.files import Principal
from memhub.core.requests import ClaimRange, GetRanges, Open, ReleaseRange, SetRange
from memhub.engine.lifecycle import close_file, open_file
from memhub.engine.startup import record_starts
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from pathlib import Path

_MACHINES = 8
_PROCESSES = 6
_PAGE = 0x1000


class Bench:
    """Machines and processes that contend for a few ranges each.

    Args:
        log: where it is recorded.
    """

    def __init__(self, log: AuditLog) -> None:
        names = [f"bench-{number}" for number in range(_MACHINES)]
        specs = [MachineSpec(name=name, arch="amd64", options={"slots": 8}) for name in names]
        self.clock = ManualClock(wall_ns=1_764_000_000_000_000_000, mono_ns=10**9)
        self.hub = Hub(specs, clock=self.clock, log=log)
        self.rng = Random(7)
        self.handles: dict[tuple[str, int], int] = {}
        self._names = names
        record_starts(self.hub.engine)

    def step(self) -> None:
        """One request of somebody; it may be refused."""
        rng, engine = self.rng, self.hub.engine
        self.clock.advance(rng.random() / 50)
        key = rng.choice(self._names), rng.randrange(1, _PROCESSES)
        handle = self.handles.get(key)
        if handle is None:
            who = Principal(key[1], f"client-{key[1]}", pid=1000 + key[1], uid=0)
            self.handles[key] = open_file(engine, Open(who, f"{key[0]}:/dev/mem", "r+"))
            return

        base, pick = 0xE000_0000 + rng.randrange(12) * _PAGE, rng.random()
        try:
            if pick < 0.45:
                kind = rng.choice([MDF_UNCACHEABLE, MDF_WRITECOMBINE])
                desc = RangeDesc(base, _PAGE, kind, b"client-%d" % key[1])
                engine.submit(SetRange(handle, 0, desc))
            elif pick < 0.6:
                engine.submit(SetRange(handle, MEMRANGE_SET_REMOVE, RangeDesc(base, _PAGE)))
            elif pick < 0.7:
                engine.submit(ClaimRange(handle, base, _PAGE, rng.choice([None, 1.0])))
            elif pick < 0.8:
                engine.submit(ReleaseRange(handle, base, _PAGE))
            elif pick < 0.98:
                engine.submit(GetRanges(handle, 0))
            else:
                close_file(engine, self.handles.pop(key), rng.choice(["close", "disconnect"]))
        except DeviceError:
            pass
        engine.tick()


def make_log(path: Path, records: int) -> int:
    """Write a log of at least so many records.

    Returns:
        how many it has.
    """
    with AuditLog.open(path, log_id="bench") as log:
        bench = Bench(log)
        while log.seq < records:
            bench.step()

        count = log.seq

    return count + 1
