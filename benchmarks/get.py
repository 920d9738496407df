"""MEMRANGE_GET of 96 slots, embedded: with the log off, and audited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.floors import fa, fc
from benchmarks.harness import AsyncWork, Goal, Plan, Row, backends, measure, run_on
from benchmarks.rig import GET, GET_ALL, opened, records_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.handles.handle import Handle


def getting(handle: Handle) -> AsyncWork:
    """The ioctl, on one handle."""

    async def work(count: int) -> None:
        for _ in range(count):
            await handle.ioctl(GET, GET_ALL)

    return work


async def _run(backend: str, plan: Plan) -> list[Row]:
    records = await records_of(plan.folder / f"get-one-{backend}", lambda h: h.ioctl(GET, GET_ALL))
    log, floor = plan.folder / f"get-{backend}", plan.folder / f"get-fa-{backend}"
    with fa(floor, records) as audited_floor:
        async with opened() as (_, silent), opened(log) as (_, audited):
            samples = await measure(
                {
                    "silent": getting(silent),
                    "FC": fc,
                    "audited": getting(audited),
                    "FA": audited_floor,
                },
                plan,
            )

    return [
        samples.row("GET of 96 slots, log off", "silent", "FC", Goal(2, 1.3), column=backend),
        samples.row("GET of 96 slots, audited", "audited", "FA", Goal(1.8, 1.25), column=backend),
    ]


def rows(plan: Plan) -> Iterator[Row]:
    """The rows of every backend."""
    for backend in backends(plan):
        yield from run_on(backend, _run, backend, plan)
