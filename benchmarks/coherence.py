"""Reads and writes where memory is not coherent, against the same where it is."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from benchmarks.harness import AsyncWork, Goal, Plan, Row, backends, measure, run_on
from benchmarks.rig import ARCHES, spec
from memhub import Hub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.handle import Handle

_AT: Final = 0x200000
_PLACES: Final = 64
_SIZES: Final = {"8 bytes": 8, "1 MiB": 1 << 20}
_GOALS: Final = {
    "write of 8 bytes": Goal(6, 3),
    "read of 8 bytes": Goal(6, 3),
    "write of 1 MiB": Goal(3, 2),
    "read of 1 MiB": Goal(3, 2),
}


def _writing(handle: Handle, size: int) -> AsyncWork:
    """`pwrite` at 64 places a page apart, in turn."""
    data = bytes(range(256)) * (size // 256) or b"12345678"

    async def work(count: int) -> None:
        for number in range(count):
            await handle.pwrite(data, _AT + (number % _PLACES << 12))

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

        for words, size in _SIZES.items():
            for verb, make in (("write", _writing), ("read", _reading)):
                works = {name: make(handle, size) for name, handle in handles.items()}
                samples = await measure(works, plan)
                question = f"{verb} of {words}"
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
