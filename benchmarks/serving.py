"""Servers in processes of their own: memhub's, and the anchor that answers frames with frames.

`python -m benchmarks.serving KIND BACKEND SOCKET CORE` serves until its standard input ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Any

import anyio

from benchmarks.harness import run_on
from benchmarks.rig import ARCHES, spec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

    from anyio.abc import ByteStream, SocketStream

_HEADER = 12
_CHUNK = 1 << 16
#: What `sized` reads of a frame: its length, its number, and the size of the answer.
_ASKED = Struct("<I4xII")
_ANSWER = Struct("<I4xI")
#: What `bulk` answers to any request: as much as a read of 1 MiB returns.
BULK = 1 << 20


async def echo(stream: ByteStream) -> None:
    """Answer every frame with itself: all that one receive brought in one send."""
    rest = b""
    try:
        while True:
            rest += await stream.receive(_CHUNK)
            at, size = 0, len(rest)
            while size - at >= _HEADER:
                end = at + _HEADER + int.from_bytes(rest[at : at + 4], "little")
                if end > size:
                    break

                at = end

            if at:
                await stream.send(rest[:at])
                rest = rest[at:]
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return


async def sized(stream: ByteStream) -> None:
    """Answer every frame with one as long as its body's first number says, all in one send."""
    rest, bodies = b"", dict[int, bytes]()
    try:
        while True:
            rest += await stream.receive(_CHUNK)
            at, answers = 0, list[bytes]()
            while len(rest) - at >= _ASKED.size:
                length, number, size = _ASKED.unpack_from(rest, at)
                if at + _HEADER + length > len(rest):
                    break

                body = bodies.get(size) or bodies.setdefault(size, bytes(size - _HEADER))
                answers += (_ANSWER.pack(len(body), number), body)
                at += _HEADER + length

            if answers:
                await stream.send(b"".join(answers))
                rest = rest[at:]
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return


async def bulk(stream: ByteStream) -> None:
    """Answer every receive with a mebibyte."""
    answer = bytes(BULK)
    try:
        while True:
            await stream.receive(_CHUNK)
            await stream.send(answer)
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return


async def passing(stream: SocketStream) -> None:
    """Answer every receive with a descriptor."""
    fd = os.memfd_create("anchor")
    os.ftruncate(fd, 256 << 20)
    unix: Any = stream
    try:
        while True:
            await stream.receive(_CHUNK)
            await unix.send_fds(b"x", [fd])
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        os.close(fd)


_ANCHORS: dict[str, Callable[[Any], Awaitable[None]]] = {
    "echo": echo,
    "sized": sized,
    "bulk": bulk,
    "passing": passing,
}


@asynccontextmanager
async def _anchor(kind: str, path: Path) -> AsyncGenerator[None]:
    async with (
        await anyio.create_unix_listener(path, backlog=1024) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, _ANCHORS[kind])
        yield
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _memhub(kind: str, path: Path) -> AsyncGenerator[None]:
    from memhub import AuditLog, Hub
    from memhub.service.server import Server
    from memhub.service.settings import Limits, ServiceConfig

    settings = ServiceConfig(socket=path, limits=Limits(connections=1100))
    log = AuditLog.open(path.with_suffix(".log")) if kind == "audited" else None
    try:
        async with (
            Hub([spec()], arches=ARCHES, log=log) as hub,
            Server(hub, settings, grace=0),
        ):
            yield
    finally:
        if log is not None:
            log.close()


async def _serve(kind: str, path: Path) -> None:
    server = _anchor if kind in _ANCHORS else _memhub
    async with server(kind, path):
        print("ready", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)


@contextmanager
def served(
    kind: str, backend: str, folder: Path, core: int, *, program: str = "benchmarks.serving"
) -> Iterator[tuple[Path, int]]:
    """Run a server.

    Args:
        kind: `memhub`, `audited`, or an anchor's name.
        backend: its event loop.
        folder: where its socket is made.
        core: the core it stays on.
        program: the module that serves.

    Yields:
        the socket's path, and the process id.
    """
    path = folder / f"{kind}-{backend}.sock"
    command = [sys.executable, "-m", program, kind, backend, str(path), str(core)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError(f"the server {kind} on {backend} did not start")

            yield path, process.pid
        finally:
            process.stdin.close()
            process.wait(20)


def main() -> None:
    """Serve what the command line names."""
    kind, backend, path, core = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    run_on(backend, _serve, kind, Path(path))


if __name__ == "__main__":
    main()
