"""A machine of 1 TiB: how long it takes to make, and what it takes beyond the touched pages."""

from __future__ import annotations

import mmap
import random
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Goal, Plan, Row, amount, measure_sync, once
from benchmarks.rig import ARCHES, MSRS
from memhub import Cpu, MachineSpec, Region
from memhub.core.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE = 1 << 40
_PAGE = 1 << 12


def _machine() -> Machine:
    spec = MachineSpec(
        name="big",
        arch="amd64-mtrr",
        cpu=Cpu(phys_bits=42),
        msrs=MSRS,
        memory=(Region(base=0, length=_SIZE),),
    )

    return Machine.make(spec, ARCHES["amd64-mtrr"])


def _make() -> None:
    _machine().close()


def _make_and_write() -> None:
    machine = _machine()
    machine.memory.write(_SIZE - 8, b"the end.")
    machine.close()


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def _beyond(pages: int, seed: int) -> float:
    """Resident bytes that touching some pages took, to the bytes of those pages."""
    numbers = random.Random(seed).sample(range(_SIZE // _PAGE), pages)
    machine = _machine()
    before = resident()
    for number in numbers:
        machine.memory.write(number * _PAGE, b"x")

    after = resident()
    machine.close()

    return (after - before) / (pages * _PAGE)


def rows(plan: Plan) -> Iterator[Row]:
    """Creation, creation and the last byte written, memory."""
    samples = measure_sync({"make": once(_make), "write": once(_make_and_write)}, plan)
    goal = Goal(1, 0.2)
    yield samples.figure("1 TiB machine: creation and end", "make", goal)
    yield samples.figure("1 TiB machine: creation, one write, end", "write", goal)
    pages = plan.scaled(20_000, 50)
    taken = [_beyond(pages, seed) for seed in range(plan.with_rounds(5).rounds)]
    yield amount("1 TiB machine: memory to touched pages", taken, "x", Goal(1.15, 1.05))
