"""The way of one request: calls, files and jumps between files, counted with `sys.setprofile`.

`python -m benchmarks.road` prints a line for each request; `--calls` lists every call.

Embedded, the count begins with the method of the handle. Over the service it is the server's
side: it begins with the bytes that one receive brought and ends with the bytes that are handed
to the socket. The client is a plain socket and sends frames that were made before the count.
The event loop and the socket (`service/readable.py`, `service/link.py`) come before and after.
"""

from __future__ import annotations

import itertools
import socket
import sys
import tempfile
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio

import memhub
from memhub import AuditLog, Hub, MachineSpec, abi
from memhub.service import wire
from memhub.service.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from types import FrameType

_ROOT: Final = str(Path(memhub.__file__).parent)
_TYPES: Final = (abi.MDF_WRITECOMBINE, abi.MDF_UNCACHEABLE)

#: What takes bytes from a socket and gives them to it, which is not counted.
_SOCKET: Final = ("service/readable.py", "service/link.py")


class Road(NamedTuple):
    """The calls of one request, in order: file and function."""

    calls: tuple[tuple[str, str], ...]

    @property
    def files(self) -> int:
        """How many files they are in."""
        return len({file for file, _ in self.calls})

    @property
    def jumps(self) -> int:
        """How often the next call is in another file."""
        names = [file for file, _ in self.calls]

        return sum(one != other for one, other in pairwise(names))


async def follow(call: Callable[[], Awaitable[Any]]) -> Road:
    """Count one call, after some to warm up."""
    for _ in range(3):
        await call()

    seen: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and (file.startswith(_ROOT) or "/memhub_" in file):
            seen.append((file.removeprefix(_ROOT + "/"), frame.f_code.co_name))

    sys.setprofile(note)
    try:
        await call()
    finally:
        sys.setprofile(None)

    return Road(tuple(seen))


@asynccontextmanager
async def audited_hub() -> AsyncIterator[tuple[Hub, Path]]:
    """A hub with a log and one i386 machine, and a folder."""
    spec = MachineSpec(name="pc", arch="i386", msrs={0xFE: 0x508, 0x2FF: 0xC00})
    with tempfile.TemporaryDirectory() as folder, AuditLog.open(f"{folder}/a.jsonl") as log:
        async with Hub([spec], log=log) as hub:
            yield hub, Path(folder)


async def measure() -> dict[str, Road]:
    """The roads of an embedded, audited hub with one i386 machine."""
    async with audited_hub() as (hub, _), await hub.open("/dev/mem", "r+") as handle:
        types = itertools.cycle(_TYPES)

        async def flip() -> None:
            await handle.set_range(0xD0000000, 0x1000000, next(types))

        return {
            "set": await follow(flip),
            "read of 8 bytes": await follow(lambda: handle.pread(8, 0x1000)),
            "get": await follow(handle.ranges),
            "claim": await follow(lambda: handle.claim(0xE0000000, 0x1000)),
        }


class _Client:
    """The client's end of a socket, with the frames that it sends."""

    def __init__(self, path: Path) -> None:
        self.protocol = wire.ClientProtocol()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.setblocking(False)

    async def send_frame(self, frame: bytes) -> bytes:
        """Send a frame; the bytes of the answer."""
        self._socket.send(frame)
        await anyio.wait_readable(self._socket)

        return self._socket.recv(1 << 16)

    async def open_memory(self) -> None:
        """Greet, and open /dev/mem, whose handle is 1."""
        features = wire.FEATURE_SET
        hello = self.protocol.hello(model=wire.MODEL_LP64, features=features)
        self.protocol.receive(await self.send_frame(hello))
        await self.send_frame(
            wire.Open(1, wire.OPEN_READ | wire.OPEN_WRITE, 0, "/dev/mem").encode()
        )

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _set_frame(attribute: int) -> bytes:
    desc = abi.LP64.pack(abi.RangeDesc(0xD0000000, 0x1000000, attribute))

    return wire.Set(2, 1, abi.MEMRANGE_SET_UPDATE, 0, 0, 0, desc).encode()


async def measure_service() -> dict[str, Road]:
    """The server's side of the same requests, from the bytes of a frame to those of its answer."""
    async with audited_hub() as (hub, folder), Server(hub, socket_path=folder / "socket"):
        client = _Client(folder / "socket")
        try:
            await client.open_memory()
            sets = itertools.cycle([_set_frame(attribute) for attribute in _TYPES])
            read = wire.Pread(2, 1, 0x1000, 8).encode()
            op = abi.LP64.op.pack(1, 0, 0)
            get = wire.Ioctl(2, 1, abi.LP64.get, op, room=1 << 12).encode()
            roads = {
                "set": await follow(lambda: client.send_frame(next(sets))),
                "read of 8 bytes": await follow(lambda: client.send_frame(read)),
                "get": await follow(lambda: client.send_frame(get)),
            }
        finally:
            client.close()

    return {name: _without_socket(road) for name, road in roads.items()}


def _without_socket(road: Road) -> Road:
    return Road(tuple(call for call in road.calls if call[0] not in _SOCKET))


def main() -> None:
    for where, roads in (
        ("embedded", anyio.run(measure)),
        ("service", anyio.run(measure_service)),
    ):
        for name, road in roads.items():
            print(f"{where} {name}: calls={len(road.calls)} files={road.files} jumps={road.jumps}")
            if "--calls" in sys.argv:
                for file, function in road.calls:
                    print(f"    {file} {function}")


if __name__ == "__main__":
    main()
