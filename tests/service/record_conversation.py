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
from memhub.core.drivers.driver import Cpu
from memhub.core.spec import MachineSpec, Region
from memhub.hub.hub import Hub
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

#: What the second client is told of: a SET, a claim, its renewal, and its end by BREAK; and the
#: end of the claim of the SET.
EVENTS = 5


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


class Old:
    """A connection of a client that knows frames as bytes, and no more."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.sock.setblocking(False)
        self.raw = b""
        self.events: list[str] = []

    async def ask(self, message: wire.Message) -> str:
        """Say something, and hear its answer."""
        self.sock.sendall(message.encode())
        while True:
            frame = await self.hear()
            if frame[4] != wire.Event.TYPE:
                assert frame[8:12] == message.request.to_bytes(4, "little")
                return _same_everywhere(frame)

    async def hear(self) -> bytes:
        """The next frame."""
        while len(self.raw) < 12 or len(self.raw) < 12 + int.from_bytes(self.raw[:4], "little"):
            with anyio.fail_after(20):
                await anyio.wait_readable(self.sock)

            self.raw += self.sock.recv(1 << 20)

        size = 12 + int.from_bytes(self.raw[:4], "little")
        frame, self.raw = self.raw[:size], self.raw[size:]
        if frame[4] == wire.Event.TYPE:
            self.events.append(_same_everywhere(frame))

        return frame


async def converse(path: str) -> list[str]:
    """The frames that both clients are sent, as hex, with what differs by machine left out."""
    links = [Old(path) for _ in FEATURES]
    heard: list[str] = []
    for link, features in zip(links, FEATURES, strict=True):
        hello = wire.Hello(0, wire.greeting.MAGIC, 1, 1, 1, 0, features, "old", b"")
        heard.append(await link.ask(hello))

    for who, message in STEPS:
        while isinstance(message, wire.Unsubscribe) and len(links[who].events) < EVENTS:
            await links[who].hear()

        heard.append(await links[who].ask(message))

    for link in links:
        link.sock.close()

    return heard + links[1].events


def _same_everywhere(frame: bytes) -> str:
    """A frame without process ids, user ids and lengths that depend on them."""
    if not re.search(rb'"(pid|uid|seq)":', frame):
        return frame.hex()

    if frame[4] == wire.Error.TYPE:  # the length of the reason depends on the process ids in it
        at = 26 + int.from_bytes(frame[24:26], "little")
        at += 2 + int.from_bytes(frame[at : at + 2], "little")
        frame = frame[:at] + frame[at + 2 :]

    differs = rb'"(seq|pid|uid|seconds|duration_ns)":[-\d.e]+,?|\(pid \d+\)'

    return f"{frame[4:20].hex()} {re.sub(differs, b'', frame[28:]).hex()}"


async def record() -> dict[str, Any]:
    """What the clients say, and what they are answered."""
    async with anyio.TemporaryDirectory() as folder, serving(Path(folder)) as path:
        heard = await converse(path)

    return {"said": [message.encode().hex() for _, message in STEPS], "heard": heard}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(anyio.run(record), indent=1) + "\n")
