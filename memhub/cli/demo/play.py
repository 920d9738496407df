"""Run the demo: the lab, its clients, its log; then what is left of it as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from memhub.abi import MDF_ACTIVE, MDF_FIXACTIVE, MDF_FIXBASE, RangeDesc
from memhub.arches import load_arches
from memhub.audit import AuditLog, read_records, summary, verify
from memhub.cli.backends import run_on
from memhub.cli.demo.cast import Cast
from memhub.cli.demo.scenes import parts
from memhub.cli.demo.stage import Stage
from memhub.cli.version import version
from memhub.config import load_config
from memhub.hub import Hub

if TYPE_CHECKING:
    from memhub.audit import Summary, Verdict
    from memhub.cli.demo.cast import Note
    from memhub.cli.demo.scenes import Part
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.machine import Machine

LAB = Path(__file__).parent / "lab.toml"
LOG_ID = "memhub-demo"

#: The play begins on New Year's Day of 2026, UTC.
_BEGIN_NS = 1_767_225_600 * 10**9


@dataclass(frozen=True, slots=True)
class Slot:
    """An active slot that is not one of the fixed ones, and the process whose claim it is."""

    number: int
    desc: RangeDesc
    claimant: str | None


@dataclass(frozen=True, slots=True)
class Scene:
    """One machine as the play leaves it, with those that stayed.

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
class Performance:
    """All that there is to show; `curtain` records were made before everybody left."""

    seed: int
    clients: int
    scenes: tuple[Scene, ...]
    notes: tuple[Note, ...]
    records: tuple[dict[str, Any], ...]
    curtain: int
    total: Summary
    verdict: Verdict
    path: Path


def perform(seed: int, path: Path, *, backend: str = "asyncio") -> Performance:
    """Run the play.

    Args:
        seed: decides latencies and random choices; the same seed gives the same log.
        path: where the audit log goes; there is no file yet.
        backend: `asyncio` or `trio`.
    """
    scenes, cast, curtain = run_on(backend, _play, seed, path)

    return Performance(
        seed=seed,
        clients=len(cast.actors),
        scenes=scenes,
        notes=tuple(cast.notes),
        records=tuple(read_records(path)),
        curtain=curtain,
        total=summary(path),
        verdict=verify(path),
        path=path,
    )


async def _play(seed: int, path: Path) -> tuple[tuple[Scene, ...], Cast, int]:
    arches = load_arches()
    lab = load_config(LAB, arches=arches)
    stage = Stage(_BEGIN_NS)
    log = AuditLog.open(
        path,
        wall=lambda: stage.now().wall_ns,
        mono=lambda: stage.now().mono_ns,
        log_id=LOG_ID,
        software=f"memhub {version()}",
    )
    hub = Hub(lab.machines.values(), default=lab.default, arches=arches, log=log, clock=stage)
    with log:
        async with hub:
            cast = Cast(hub, stage, seed)
            await _act(cast)
            scenes = tuple(_scene(machine) for machine in hub.machines.values())
            curtain = log.seq
            cast.leave()

    return scenes, cast, curtain


async def _act(cast: Cast) -> None:
    left = len(roles := parts(cast))

    async def follow(role: Part) -> None:
        nonlocal left
        await role()
        left -= 1

    async with anyio.create_task_group() as tasks:
        for role in roles:
            tasks.start_soon(follow, role)

        await cast.stage.run(lambda: not left)


def _scene(machine: Machine) -> Scene:
    table = machine.table
    rows = () if table is None else table.state.slots
    fixed = [slot for slot, desc in enumerate(rows) if desc.mr_flags & MDF_FIXBASE]
    slots = [
        Slot(slot, desc, _claimant(machine, slot))
        for slot, desc in enumerate(rows)
        if _in_force(desc)
    ]

    return Scene(
        name=machine.name,
        arch=machine.arch.name,
        summary=machine.arch.summary,
        slots=tuple(slots),
        free=len(rows) - len(slots) - len(fixed),
        fixed=len(fixed),
        types=None if table is None else table.types,
        end=1 << machine.spec.cpu.phys_bits,
    )


def _in_force(desc: RangeDesc) -> bool:
    """Whether to show a slot; the K6 driver never marks one active."""
    if desc.mr_flags & (MDF_FIXBASE | MDF_FIXACTIVE):
        return False

    return bool(desc.mr_flags & MDF_ACTIVE) or bool(desc.mr_len and desc.owner)


def _claimant(machine: Machine, slot: int) -> str | None:
    claim = machine.claims.holder(slot)

    return None if claim is None else claim.process.name
