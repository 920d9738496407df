"""The service under a C client: 100 connections, 1,000 connections, 64 requests in flight."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks import loading, peers
from benchmarks.get import getting
from benchmarks.harness import (
    Goal,
    Plan,
    Row,
    backends,
    cores,
    measure,
    pinned,
    run_on,
    skipped,
)
from benchmarks.loading import Load, NoCompiler
from benchmarks.rig import opened
from benchmarks.serving import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HUNDRED = "service, GET, 100 connections"
_THOUSAND = "service, GET, 1,000 connections"
_FLIGHT = "service, GET, 64 in flight"
_MS = 120


def _loads(stack: ExitStack, backend: str, plan: Plan) -> dict[str, Load]:
    core = cores()[0]
    many = plan.scaled(100, 2)
    loads = {}
    kinds = ("memhub", "audited", "echo") if backend == "asyncio" else ("memhub", "echo")
    for kind in kinds:
        path, pid = stack.enter_context(served(kind, backend, plan.folder, core))
        prelude = loading.prelude() if kind != "echo" else b""
        loads[kind] = Load(str(path), pid, many, 1, prelude, loading.getting(1))

    loads["1,000"] = replace(loads["memhub"], connections=plan.scaled(1_000, 4))
    loads["flight"] = replace(loads["memhub"], connections=1, depth=64)
    loads["echo flight"] = replace(loads["echo"], connections=1, depth=64)

    return loads


async def _embedded(plan: Plan) -> float:
    async with opened() as (_, handle):
        samples = await measure({"get": getting(handle)}, plan.with_rounds(1))

    return samples.times["get"][0]


def _backend(program: Path, backend: str, plan: Plan) -> Iterator[Row]:
    few = plan.with_rounds(5)
    with ExitStack() as stack:
        loads = _loads(stack, backend, plan)
        if backend == "asyncio" and plan.peers and peers.missing("pymodbus") is None:
            port, pid = stack.enter_context(peers.modbus_served(plan.folder, cores()[0]))
            loads["pymodbus"] = peers.modbus_load(port, pid, loads["memhub"].connections)

        def embedded() -> float:
            with pinned():
                seconds: float = run_on(backend, _embedded, plan)

            return seconds

        samples = loading.rounds(program, {**loads, "embedded": embedded}, few, _MS)

    goal = Goal(0.5, 0.75)
    yield samples.row(_HUNDRED, "memhub", "echo", goal, column=backend, more=True)
    if "audited" in loads:
        yield samples.row(f"{_HUNDRED}, audited", "audited", "echo", column=backend, more=True)

    if "pymodbus" in loads:
        yield samples.row(_HUNDRED, "memhub", "pymodbus", Goal(3, 5), column=backend, more=True)

    goal = Goal(0.55, 0.65)
    yield samples.row(_THOUSAND, "1,000", "memhub", goal, column=backend, more=True)
    goal = Goal(0.6, 1)
    yield samples.row(_FLIGHT, "flight", "embedded", goal, column=backend, more=True)
    yield samples.row(_FLIGHT, "flight", "echo flight", column=backend, more=True)


def rows(plan: Plan) -> Iterator[Row]:
    """The rows of every backend."""
    try:
        program = loading.compiled(plan.folder)
    except NoCompiler as error:
        yield from (skipped(question, str(error)) for question in (_HUNDRED, _THOUSAND, _FLIGHT))
        return

    if not plan.peers:
        yield skipped(_HUNDRED, "--peers, with pymodbus installed", against="pymodbus")

    for backend in backends(plan):
        yield from _backend(program, backend, plan)
