"""A client that speaks the bytes of the protocol's first version, and what it was answered.

`python tests/service/record_conversation.py FILE` wrote `tests/data/protocol-1.json` with the
service of that version; `test_last_version.py` holds the present one to it.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from memhub import ManualClock
from memhub.abi import LP64, MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.core.driver import Cpu
from memhub.core.spec import MachineSpec, Region
from memhub.hub import Hub
from memhub.service import wire
from memhub.service.server import Server
from memhub.service.settings import Limits, ServiceConfig

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

WINDOW, MIB = 0xD0000000, 1 << 20
_DESC = LP64.desc.pack(WINDOW, MIB, MDF_WRITECOMBINE, b"old")
_OTHER = LP64.desc.pack(WINDOW, MIB, MDF_UNCACHEABLE, b"new")
_OP = LP64.op.pack(1, 0, 0)
_GET = LP64.op.pack(1, 3, 0)

#: Who says what, in turn: the first client holds the range, the second is in its way.
STEPS: tuple[tuple[int, wire.Message], ...] = (
    (0, wire.Open(1, 3, 0, "/dev/mem")),
    (1, wire.Open(1, 7, 2, "pc:/dev/mem")),
    (1, wire.Open(2, 3, 1, "pc:/dev/mem")),
    (1, wire.Subscribe(3, 0, 0, 0, "")),
    (0, wire.Ioctl(2, 1, LP64.set[0], _OP, _DESC)),
    (0, wire.Ioctl(3, 1, LP64.get, _GET, room=96)),
    (1, wire.Ioctl(4, 2, LP64.set[0], _OP, _OTHER)),
    (1, wire.Ioctl(5, 2, 0x1234, _OP, _OTHER)),
    (0, wire.Claim(4, 1, 60_000, 0, 0, 4096)),
    (0, wire.Renew(5, 1, 0, 0, 2, 90_000)),
    (1, wire.Claim(6, 2, 0, 0, 0, 4096)),
    (1, wire.Break(7, 2, 0, 4096, 0, "stale")),
    (0, wire.Release(6, 1, 0, 4096, 2)),
    (0, wire.Pwrite(7, 1, 4096, 5, b"bytes")),
    (0, wire.Pread(8, 1, 4096, 5)),
    (0, wire.Seek(9, 1, 0, 4098)),
    (0, wire.Read(10, 1, 2)),
    (0, wire.Write(11, 1, 1, b"x")),
    (0, wire.Explain(12, 1, 0xA0000)),
    (1, wire.Report(8, "claims,waits", "")),
    (1, wire.Wait(9, 2, 8192, 4096, 100)),
    (1, wire.Open(10, 1, 0, "nowhere:/dev/mem")),
    (0, wire.Close(13, 1)),
    (0, wire.Close(14, 1)),
    (1, wire.Unsubscribe(11, 1)),
    (1, wire.Unsubscribe(12, 1)),
    (0, wire.Ping(15, 77)),
)

FEATURES = (0, wire.FEATURE_MAP)


@asynccontextmanager
async def serving(folder: Path) -> AsyncGenerator[str]:
    memory = (Region(base=0, length=64 * MIB),)
    cpu = Cpu(vendor="GenuineIntel", phys_bits=36)
    spec = MachineSpec(name="pc", arch="amd64", cpu=cpu, memory=memory)
    settings = ServiceConfig(socket=folder / "s", limits=Limits())
    async with (
        Hub([spec], clock=ManualClock()) as hub,
        Server(hub, settings, software="memhub 1") as server,
    ):
        yield server.addresses[0].removeprefix("unix:")


async def converse(path: str) -> list[str]:
    """The frames that both clients are sent, as hex, with what differs by machine left out."""
    heard: list[str] = []
    links = []
    for features in FEATURES:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        sock.setblocking(False)
        links.append(sock)
        hello = wire.Hello(0, wire.greeting.MAGIC, 1, 1, 1, 0, features, "old", b"")
        sock.sendall(hello.encode())
        heard += await _hear(sock, 0)

    for who, message in STEPS:
        links[who].sendall(message.encode())
        heard += await _hear(links[who], message.request)

    for sock in links:
        sock.close()

    return heard


async def _hear(sock: socket.socket, request: int) -> list[str]:
    """Everything up to the answer of a request, in whole frames."""
    heard, raw = [], b""
    while True:
        while len(raw) >= 12 and len(raw) >= 12 + int.from_bytes(raw[:4], "little"):
            size = 12 + int.from_bytes(raw[:4], "little")
            frame, raw = raw[:size], raw[size:]
            heard.append(_same_everywhere(frame))
            if frame[8:12] == request.to_bytes(4, "little") and frame[4] != wire.Event.TYPE:
                return sorted(heard)

        with anyio.fail_after(20):
            await anyio.wait_readable(sock)

        raw += sock.recv(1 << 20)


def _same_everywhere(frame: bytes) -> str:
    """A frame without process ids, user ids and lengths that depend on them."""
    if not re.search(rb'"(pid|uid|seq)":', frame):
        return frame.hex()

    differs = rb'"(seq|pid|uid|seconds|duration_ns)":[-\d.e]+,?|\(pid \d+\)'

    return f"{frame[4:20].hex()} {re.sub(differs, b'', frame[28:]).hex()}"


async def record() -> dict[str, Any]:
    """What the clients say, and what they are answered."""
    async with anyio.TemporaryDirectory() as folder, serving(Path(folder)) as path:
        heard = await converse(path)

    return {"said": [message.encode().hex() for _, message in STEPS], "heard": heard}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(anyio.run(record), indent=1) + "\n")
