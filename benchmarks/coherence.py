"""Reads and writes where memory is not coherent, against the same where it is."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Final

from benchmarks.harness import AsyncWork, Goal, Plan, Row, backends, measure, run_on
from benchmarks.rig import ARCHES, spec
from memhub import Hub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.handles.handle import Handle

_AT: Final = 0x200000
_PLACES: Final = 64
#: Write-combined, in the same memory.
_COMBINED: Final = 0x800000
_LINE: Final = 64
#: Lines that are written in turn, so many that each has been evicted when its turn comes.
_LINES: Final = 1 << 14
_SIZES: Final = {"8 bytes": 8, "1 MiB": 1 << 20}
_GOALS: Final = {
    "write of 8 bytes": Goal(6, 3),
    "read of 8 bytes": Goal(6, 3),
    "write of 1 MiB": Goal(3, 2),
    "read of 1 MiB": Goal(3, 2),
    "write of 8 bytes, evicting": Goal(6, 4),
    "write of 8 bytes, combining": Goal(6, 4),
}


def _writing(handle: Handle, size: int) -> AsyncWork:
    """`pwrite` at 64 places a page apart, in turn."""
    data = bytes(range(256)) * (size // 256) or b"12345678"

    async def work(count: int) -> None:
        for number in range(count):
            await handle.pwrite(data, _AT + (number % _PLACES << 12))

    return work


def _striding(handle: Handle, first: int, lines: int) -> AsyncWork:
    """`pwrite` of 8 bytes into one line after the other, and from the first again."""
    places = cycle(range(first, first + lines * _LINE, _LINE))

    async def work(count: int) -> None:
        for at in islice(places, count):
            await handle.pwrite(b"12345678", at)

    return work


def _reading(handle: Handle, size: int) -> AsyncWork:
    """`pread` there."""

    async def work(count: int) -> None:
        for number in range(count):
            await handle.pread(size, _AT + (number % _PLACES << 12))

    return work


async def _run(backend: str, plan: Plan) -> list[Row]:
    found = []
    async with AsyncExitStack() as stack:
        handles = {}
        for name, coherent in (("coherent", True), ("incoherent", False)):
            made = replace(spec(), coherent=coherent)
            hub = await stack.enter_async_context(Hub([made], arches=ARCHES))
            handles[name] = await stack.enter_async_context(await hub.open("/dev/mem", "r+"))

        for handle in handles.values():
            await handle.set_range(_COMBINED, 1 << 20, "write-combine")

        makers: dict[str, Callable[[Handle], AsyncWork]] = {}
        for words, size in _SIZES.items():
            makers[f"write of {words}"] = partial(_writing, size=size)
            makers[f"read of {words}"] = partial(_reading, size=size)

        makers["write of 8 bytes, evicting"] = partial(_striding, first=_AT, lines=_LINES)
        makers["write of 8 bytes, combining"] = partial(_striding, first=_COMBINED, lines=_PLACES)
        for question, make in makers.items():
            samples = await measure({name: make(it) for name, it in handles.items()}, plan)
            row = samples.row(
                f"incoherent {question}",
                "incoherent",
                "coherent",
                _GOALS[question],
                column=backend,
            )
            found.append(row)

    return found


def rows(plan: Plan) -> Iterator[Row]:
    """The rows of every backend."""
    for backend in backends(plan):
        yield from run_on(backend, _run, backend, plan)
