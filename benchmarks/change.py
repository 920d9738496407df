"""MEMRANGE_SET on i386, embedded and audited: registers are set and logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.floors import fa
from benchmarks.harness import AsyncWork, Goal, Plan, Row, backends, measure, run_on
from benchmarks.rig import COMBINE, REMOVE, SET, UNCACHE, UPDATE, opened, records_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.handles.handle import Handle

_GOAL = Goal(3, 1.8)


async def _pair(handle: Handle) -> None:
    await handle.ioctl(SET, UPDATE, COMBINE)
    await handle.ioctl(SET, REMOVE, COMBINE)


async def _retypes(handle: Handle) -> None:
    await handle.ioctl(SET, UPDATE, COMBINE)
    await handle.ioctl(SET, UPDATE, UNCACHE)


def changing(handle: Handle, pair: Any = _pair) -> AsyncWork:  # noqa: ANN401
    """An update and a remove in turn; a count of two is one of each."""

    async def work(count: int) -> None:
        for _ in range((count + 1) // 2):
            await pair(handle)

    return work


async def _run(backend: str, plan: Plan) -> list[Row]:
    folder = plan.folder
    both = await records_of(folder / f"set-one-{backend}", _pair)
    kept = await records_of(folder / f"set-two-{backend}", _retypes)
    with (
        fa(folder / f"set-fa-{backend}", both) as floor,
        fa(folder / f"type-fa-{backend}", kept) as type_floor,
    ):
        async with (
            opened(folder / f"set-{backend}") as (_, taking),
            opened(folder / f"type-{backend}") as (_, typing),
        ):
            samples = await measure(
                {
                    "set": changing(taking),
                    "FA": floor,
                    "type": changing(typing, _retypes),
                    "FA of it": type_floor,
                },
                plan,
            )

    return [
        samples.row("SET update and remove in turn, audited", "set", "FA", _GOAL, column=backend),
        samples.row(
            "SET update of a held slot's type, audited", "type", "FA of it", _GOAL, column=backend
        ),
    ]


def rows(plan: Plan) -> Iterator[Row]:
    """The rows of every backend."""
    for backend in backends(plan):
        yield from run_on(backend, _run, backend, plan)
