"""A read of 8 bytes, embedded and audited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.floors import fa
from benchmarks.harness import AsyncWork, Goal, Plan, Row, backends, measure, run_on
from benchmarks.rig import opened, records_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.handles.handle import Handle

_PLACE = 0x123450


def reading(handle: Handle) -> AsyncWork:
    """`pread` of eight bytes, on one handle."""

    async def work(count: int) -> None:
        for _ in range(count):
            await handle.pread(8, _PLACE)

    return work


async def _run(backend: str, plan: Plan) -> Row:
    folder = plan.folder
    records = await records_of(folder / f"read-one-{backend}", lambda h: h.pread(8, _PLACE))
    with fa(folder / f"read-fa-{backend}", records) as floor:
        async with opened(folder / f"read-{backend}") as (_, handle):
            samples = await measure({"read": reading(handle), "FA": floor}, plan)

    return samples.row("read of 8 bytes, audited", "read", "FA", Goal(1.6, 1.2), column=backend)


def rows(plan: Plan) -> Iterator[Row]:
    """The rows of every backend."""
    for backend in backends(plan):
        yield run_on(backend, _run, backend, plan)
