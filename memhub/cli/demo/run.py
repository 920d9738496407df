"""Run the demo: the lab, its clients and its log; the result is plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from memhub.abi import MDF_FIXACTIVE, MDF_FIXBASE, RangeDesc
from memhub.arches import load_arches
from memhub.audit import AuditLog, read_records, summary, verify
from memhub.cli.backends import run_on
from memhub.cli.demo.clients import Clients
from memhub.cli.demo.clock import SimulatedClock
from memhub.cli.demo.steps import all_steps
from memhub.cli.version import version
from memhub.config import load_config
from memhub.core.ranges.slot_extents import is_in_use
from memhub.hub.hub import Hub

if TYPE_CHECKING:
    from memhub.audit import Summary, Verdict
    from memhub.cli.demo.clients import Observation
    from memhub.cli.demo.steps import Steps
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.machine import Machine

LAB = Path(__file__).parent / "lab.toml"
LOG_ID = "memhub-demo"

#: The run begins on 1 January 2026, 00:00 UTC.
_BEGIN_NS = 1_767_225_600 * 10**9


@dataclass(frozen=True, slots=True)
class Slot:
    """An active slot that is not one of the fixed ones, and the process whose claim it is."""

    number: int
    desc: RangeDesc
    claimant: str | None


@dataclass(frozen=True, slots=True)
class MachineSummary:
    """One machine at the end of the run, before its clients close.

    Attributes:
        name: the machine.
        arch: its architecture.
        summary: what that is, in a line.
        slots: the active slots that are not fixed.
        free: how many slots are not active.
        fixed: how many slots are fixed.
        types: effective types, or None where there are no range operations.
        end: one past its last address.
    """

    name: str
    arch: str
    summary: str
    slots: tuple[Slot, ...]
    free: int
    fixed: int
    types: TypeMap | None
    end: int


@dataclass(frozen=True, slots=True)
class DemoRun:
    """The result of one run.

    Attributes:
        seed: what the run was made with.
        clients: how many clients there were.
        machines: the machines at the end.
        observations: what clients saw.
        records: the whole audit log.
        before_close: how many of `records` were made before the clients closed.
        total: the records counted.
        verdict: what the verification of the log found.
        path: the log.
    """

    seed: int
    clients: int
    machines: tuple[MachineSummary, ...]
    observations: tuple[Observation, ...]
    records: tuple[dict[str, Any], ...]
    before_close: int
    total: Summary
    verdict: Verdict
    path: Path


def run_demo(seed: int, path: Path, *, backend: str = "asyncio") -> DemoRun:
    """Run the clients on the machines of the lab.

    Args:
        seed: decides latencies and random choices; the same seed gives the same log.
        path: where the audit log goes; the file must not exist.
        backend: `asyncio` or `trio`.
    """
    machines, clients, before_close = run_on(backend, _run_demo, seed, path)

    return DemoRun(
        seed=seed,
        clients=len(clients.all),
        machines=machines,
        observations=tuple(clients.observations),
        records=tuple(read_records(path)),
        before_close=before_close,
        total=summary(path),
        verdict=verify(path),
        path=path,
    )


async def _run_demo(seed: int, path: Path) -> tuple[tuple[MachineSummary, ...], Clients, int]:
    arches = load_arches()
    lab = load_config(LAB, arches=arches)
    clock = SimulatedClock(_BEGIN_NS)
    log = AuditLog.open(
        path,
        wall=clock.wall_ns,
        mono=clock.mono_ns,
        log_id=LOG_ID,
        software=f"memhub {version()}",
    )
    hub = Hub(lab.machines.values(), default=lab.default, arches=arches, log=log, clock=clock)
    with log:
        async with hub:
            clients = Clients(hub, clock, seed)
            await _run_clients(clients)
            machines = tuple(_summarize_machine(machine) for machine in hub.machines.values())
            before_close = log.seq
            clients.close_all()

    return machines, clients, before_close


async def _run_clients(clients: Clients) -> None:
    left = len(steps := all_steps(clients))

    async def follow(one: Steps) -> None:
        nonlocal left
        await one()
        left -= 1

    async with anyio.create_task_group() as tasks:
        for one in steps:
            tasks.start_soon(follow, one)

        await clients.clock.run(lambda: not left)


def _summarize_machine(machine: Machine) -> MachineSummary:
    table = machine.table
    rows = () if table is None else table.state.slots
    fixed = [slot for slot, desc in enumerate(rows) if desc.mr_flags & MDF_FIXBASE]
    slots = [
        Slot(slot, desc, _find_claimant(machine, slot))
        for slot, desc in enumerate(rows)
        if table is not None
        and not desc.mr_flags & (MDF_FIXBASE | MDF_FIXACTIVE)
        and is_in_use(table.driver, table.state, slot)
    ]

    return MachineSummary(
        name=machine.name,
        arch=machine.arch.name,
        summary=machine.arch.summary,
        slots=tuple(slots),
        free=len(rows) - len(slots) - len(fixed),
        fixed=len(fixed),
        types=None if table is None else table.types,
        end=1 << machine.spec.cpu.phys_bits,
    )


def _find_claimant(machine: Machine, slot: int) -> str | None:
    claim = machine.claims.holder(slot)

    return None if claim is None else claim.process.name
