"""One machine that is not coherent, and random steps on it, beside the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from caches.cache_model import PAGE, CacheModel
from caches.seen_caches import Seen
from memhub import CacheLimits, MachineSpec, Region, load_arches
from memhub.abi import (
    LP64,
    MDF_UNCACHEABLE,
    MDF_WRITEBACK,
    MDF_WRITECOMBINE,
    MDF_WRITEPROTECT,
    MDF_WRITETHROUGH,
    RangeDesc,
)
from memhub.clock import ManualClock
from memhub.core.caches.requests import Fence, FlushLines
from memhub.core.deciding.cache_requests import decide_bus_read, decide_bus_write, decide_flush_all
from memhub.core.deciding.loading import decide_load
from memhub.core.files import Principal
from memhub.core.requests import Open, Pread, Pwrite, SetRange
from memhub.core.spec import Content
from memhub.engine.lifecycle import open_file
from memhub.engine.startup import make_engine

if TYPE_CHECKING:
    from random import Random

    from memhub.core.machine import Machine
    from memhub.engine.engine import Engine

ARCHES = load_arches()
M = 1 << 20
#: Steps happen around the borders of these pages.
PAGES = range(0x101, 0x106)
ATTRIBUTES = {
    "UC": MDF_UNCACHEABLE,
    "WC": MDF_WRITECOMBINE,
    "WT": MDF_WRITETHROUGH,
    "WP": MDF_WRITEPROTECT,
    "WB": MDF_WRITEBACK,
}
LIMITS = CacheLimits(lines=4, line_size=16, buffers=2, seed=7)
PC = MachineSpec(
    name="pc",
    arch="amd64",
    memory=(Region(base=0, length=640 << 10), Region(base=M, length=63 * M)),
    msrs={0x2FF: 0x806},
    coherent=False,
    bus="blind",
    caches=LIMITS,
    wp_writes="allow",
)


def pc(**changes: Any) -> MachineSpec:
    """The machine, with other fields."""
    return replace(PC, **changes)


class Rig:
    """An engine with one machine, two processes, and the model."""

    def __init__(self, spec: MachineSpec) -> None:
        self.engine: Engine = make_engine([spec], None, ARCHES, None, ManualClock())
        self.machine: Machine = self.engine.machines[spec.name]
        self.model = CacheModel(Seen(self.machine), spec.bus == "snooping")
        self.files = {}
        for number in (1, 2, 3):
            who = Principal(number, f"process-{number}")
            self.files[number] = open_file(self.engine, Open(who, "/dev/mem", "r+"))

    def store(self, process: int, base: int, data: bytes) -> None:
        assert self.engine.submit(Pwrite(self.files[process], data, base)) == len(data)
        self.model.store(process, base, data)

    def load(self, process: int, base: int, length: int) -> None:
        data = self.engine.submit(Pread(self.files[process], length, base))
        allowed = self.model.load(process, base, length)
        assert len(data) == length
        assert all(byte in known for byte, known in zip(data, allowed, strict=True))
        self.model.check_named(base, data)

    def flush(self, process: int, base: int, length: int, *, keep: bool) -> None:
        self.engine.submit(FlushLines(self.files[process], base, length, keep))
        self.model.flush(process, base, length, keep=keep)

    def fence(self, process: int) -> None:
        self.engine.submit(Fence(self.files[process]))
        self.model.fence(process)

    def bus_read(self, base: int, length: int) -> None:
        known = self.model.seen.hazards()
        decision = decide_bus_read(self.machine, base, length, self.engine.now())
        self.engine.perform(self.machine, decision)
        assert decision.reply == self.model.bus_read(base, length)
        self.model.check_writers("stale-bus-read", known)
        self.model.check_named(base, decision.reply)

    def bus_write(self, base: int, data: bytes) -> None:
        decision = decide_bus_write(self.machine, base, data, self.engine.now())
        self.engine.perform(self.machine, decision)
        self.model.bus_write(base, data)

    def flush_all(self) -> None:
        self.engine.perform(self.machine, decide_flush_all(self.machine, self.engine.now()))
        self.model.flush_all()

    def load_memory(self, contents: dict[int, bytes], *, clear: bool = False) -> None:
        given = [Content(base=base, data=data) for base, data in contents.items()]
        now = self.engine.now()
        decision = decide_load(self.machine, given, now, "the test", clear=clear)
        self.engine.perform(self.machine, decision)
        self.model.load_memory(contents, clear=clear)

    def change_type(self, page: int, kind: str) -> None:
        handle, held = self.files[3], self.model.types.get(page)
        if held is not None:
            desc = RangeDesc(page * PAGE, PAGE, ATTRIBUTES[held], b"rig".ljust(8, b"\0"))
            self.engine.submit(SetRange(handle, 1, desc))
            self.model.change_type(page, "WB")
            del self.model.types[page]

        desc = RangeDesc(page * PAGE, PAGE, ATTRIBUTES[kind], b"rig".ljust(8, b"\0"))
        self.engine.submit(SetRange(handle, 0, desc))
        self.model.change_type(page, kind)

    def step(self, chance: Random) -> None:
        """One random step."""
        border = chance.choice(PAGES) * PAGE
        base = border + chance.randrange(-48, 48)
        length = chance.choice((1, 3, 8, 16, 24, 40, 120))
        process = chance.choice((1, 2))
        kind = chance.randrange(100)
        if kind < 40:
            self.store(process, base, chance.randbytes(length))
        elif kind < 65:
            self.load(process, base, length)
        elif kind < 72:
            self.flush(process, base, length, keep=chance.random() < 0.5)
        elif kind < 77:
            self.fence(process)
        elif kind < 86:
            self.bus_read(base, length)
        elif kind < 95:
            self.bus_write(base, chance.randbytes(length))
        elif kind < 97:
            self.change_type(border // PAGE, chance.choice(tuple(ATTRIBUTES)))
        elif kind < 99:
            other = base + length + chance.randrange(64)
            contents = {base: chance.randbytes(length), other: chance.randbytes(length)}
            self.load_memory(contents, clear=chance.random() < 0.3)
        else:
            self.flush_all()


__all__ = ["LIMITS", "LP64", "PAGES", "PC", "Rig", "pc"]
