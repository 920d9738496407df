"""Memory over the service: a read of 1 MiB, and memory that is mapped instead."""

from __future__ import annotations

import mmap
import os
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any

import anyio

import memhub.service.client
from benchmarks.harness import (
    AsyncWork,
    Goal,
    Plan,
    Row,
    backends,
    cores,
    measure,
    pinned,
    run_on,
    together,
)
from benchmarks.serving import BULK, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_AT = 2 << 20

#: Mappings through one handle; a CLOSE gives them back, which the limit of a connection needs.
_MAPS = 512


def _reading(handle: Any) -> AsyncWork:  # noqa: ANN401 - a RemoteHandle
    async def work(count: int) -> None:
        for _ in range(count):
            assert len(await handle.pread(BULK, _AT)) == BULK

    return work


def _streaming(stream: Any) -> AsyncWork:  # noqa: ANN401 - an anyio stream
    async def work(count: int) -> None:
        for _ in range(count):
            await stream.send(b"x")
            parts, size = [], 0
            while size < BULK:
                parts.append(await stream.receive(1 << 18))
                size += len(parts[-1])

            b"".join(parts)

    return work


def _mapping(hub: Any) -> AsyncWork:  # noqa: ANN401 - a RemoteHub
    async def work(count: int) -> None:
        for begun in range(0, count, _MAPS):
            async with await hub.open("/dev/mem", "r+") as handle:
                for _ in range(min(_MAPS, count - begun)):
                    (await handle.map()).close()

    return work


def _passing(stream: Any) -> AsyncWork:  # noqa: ANN401 - an anyio stream
    async def work(count: int) -> None:
        for _ in range(count):
            await stream.send(b"x")
            _, (fd,) = await stream.receive_fds(1, 1)
            mmap.mmap(fd, 256 << 20, prot=mmap.PROT_READ).close()
            os.close(fd)

    return work


def _copying(mapped: Any) -> AsyncWork:  # noqa: ANN401 - a MappedMemory
    async def work(count: int) -> None:
        for _ in range(count):
            mapped.read(_AT, BULK)

    return work


def _memcpy() -> AsyncWork:
    source = mmap.mmap(-1, 4 << 20)
    source.write(bytes(4 << 20))

    async def work(count: int) -> None:
        for _ in range(count):
            source[_AT : _AT + BULK]

    return work


async def _run(backend: str, paths: dict[str, tuple[Path, int]], plan: Plan) -> list[Row]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        client = await enter(memhub.service.client.connect(paths["memhub"][0]))
        handle = await enter(await client.open("/dev/mem", "r+"))
        await handle.pwrite(bytes(BULK), _AT)
        mapped = stack.enter_context(await handle.map())
        mapped.read(_AT, BULK)
        cases = {
            "read": _reading(handle),
            "raw stream": _streaming(await enter(await anyio.connect_unix(paths["bulk"][0]))),
            "map": _mapping(client),
            "fd": _passing(await enter(await anyio.connect_unix(paths["passing"][0]))),
            "mapped": _copying(mapped),
            "memcpy": _memcpy(),
        }
        clock = together(*(pid for _, pid in paths.values()))
        samples = await measure(cases, plan.with_rounds(11), clock)

    read, copy = Goal(0.6, 0.85), Goal(0.9, 1)
    yielded = [
        samples.row("read of 1 MiB", "read", "raw stream", read, column=backend, more=True),
        samples.row("mapped: set-up", "map", "fd", Goal(2, 1.3), column=backend),
    ]
    if backend == "asyncio":
        yielded.append(samples.row("mapped: copy of 1 MiB", "mapped", "memcpy", copy, more=True))

    return yielded


def rows(plan: Plan) -> Iterator[Row]:
    """The rows of every backend; both ends share a core."""
    core = cores()[0]
    for backend in backends(plan):
        with ExitStack() as stack:
            paths = {
                kind: stack.enter_context(served(kind, backend, plan.folder, core))
                for kind in ("memhub", "bulk", "passing")
            }
            stack.enter_context(pinned(core))
            yield from run_on(backend, _run, backend, paths, plan)
