"""A service in the test's own event loop, and plain sockets that talk to it."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import anyio

from memhub.abi import LP64
from memhub.audit import AuditLog, read_records, verify
from memhub.audit.schema import problems
from memhub.core.drivers.driver import Cpu
from memhub.core.spec import MachineSpec, Region
from memhub.hub.hub import Hub
from memhub.service import wire
from memhub.service.client import connect
from memhub.service.server import Server
from memhub.service.settings import Limits, ServiceConfig

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    from memhub.service.client import RemoteHub

MIB = 1 << 20
WINDOW = 0xD0000000


def machine(name: str = "pc", **changes: Any) -> MachineSpec:
    """A small PC of 64 MiB with page attributes."""
    return MachineSpec(
        **{
            "name": name,
            "arch": "amd64",
            "cpu": Cpu(vendor="GenuineIntel", phys_bits=36),
            "memory": (Region(base=0, length=64 * MIB),),
            **changes,
        }
    )


class Lab:
    """A hub with an audit log, served at a path of the test's own.

    Attributes:
        hub: the hub.
        server: the service.
        address: where to connect to.
    """

    def __init__(self, hub: Hub, server: Server, log: AuditLog) -> None:
        self.hub = hub
        self.server = server
        self.log = log
        self.address = server.addresses[0]

    def connect(self, label: str = "", **options: Any) -> RemoteHub:
        return connect(self.address, label=label, **options)

    def records(self, event: str = "") -> list[dict[str, Any]]:
        """The log so far, of one event."""
        self.log.flush()
        found = [r for r in read_records(self.log.path) if event in ("", r["event"])]
        assert [problem for record in found for problem in problems(record)] == []

        return found

    async def settled(self, connections: int) -> None:
        """Return once the service has so many clients."""
        with anyio.fail_after(20):
            while self.server.connections != connections:
                await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def lab(
    folder: Path, *specs: MachineSpec, limits: Limits | None = None, **options: Any
) -> AsyncGenerator[Lab]:
    """Serve machines; afterwards the log must verify and every record fit the schema."""
    path = folder / "audit.jsonl"
    grace = options.pop("grace", 5.0)
    clock = options.pop("clock", None)
    settings = ServiceConfig(**{"socket": folder / "s", "limits": limits or Limits(), **options})
    with AuditLog.open(path) as log:
        async with (
            Hub(specs or (machine(),), log=log, clock=clock) as hub,
            Server(hub, settings, grace=grace) as server,
        ):
            yield Lab(hub, server, log)

    assert verify(path).broken is None
    assert {r["event"]: p for r in read_records(path) if (p := problems(r))} == {}


class RawClient:
    """A blocking-free socket that speaks the protocol by hand, in the test's event loop."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.protocol = wire.ClientProtocol()

    @classmethod
    async def dial(cls, address: str, *, greet: bool = True, features: int = 0) -> Self:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(address.removeprefix("unix:"))
        sock.setblocking(False)
        client = cls(sock)
        if greet:
            client.send(client.protocol.hello("raw", features=features))
            while client.protocol.welcome is None:
                await client.receive()

        return client

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    async def receive(self) -> list[wire.Message]:
        """What the next receives bring; an empty list at the end."""
        found: list[wire.Message] = []
        while not found and self.protocol.state != "closed":
            with anyio.fail_after(20):
                await anyio.wait_readable(self.socket)

            data = self.socket.recv(1 << 20)
            if not data:
                break

            found = self.protocol.receive(data)

        return found

    async def ask(self, message: wire.Message) -> wire.Message:
        self.send(*self.protocol.send(message))
        while True:
            messages = await self.receive()
            assert messages, "the service closed the connection"
            for found in messages:
                if found.request == message.request:
                    return found

    async def open(self, path: str = "/dev/mem", flags: int = 3) -> int:
        opened = await self.ask(wire.Open(0, flags, 0, path))
        assert isinstance(opened, wire.Opened), opened

        return opened.handle

    async def last_words(self) -> list[wire.Message]:
        """Everything up to the end of the connection."""
        found: list[wire.Message] = []
        try:
            while messages := await self.receive():
                found += messages
        except ConnectionResetError:
            pass

        return found

    def close(self) -> None:
        self.socket.close()

    __del__ = close  # a test that failed leaves no warning behind in the next


def get(handle: int, count: int = 100) -> wire.Ioctl:
    """A MEMRANGE_GET."""
    return wire.Ioctl(0, handle, LP64.get, LP64.op.pack(1, count, 0), room=1 << 16)


def update(handle: int, base: int, length: int, flags: int, *, wait_ms: int = 0) -> wire.Ioctl:
    """A MEMRANGE_SET that updates."""
    desc = LP64.desc.pack(base, length, flags, b"raw")

    return wire.Ioctl(0, handle, LP64.set[0], LP64.op.pack(1, 0, 0), desc, wait_ms=wait_ms)


def frames(*messages: wire.Message) -> Iterator[bytes]:
    """Messages as they are, without a protocol that checks them."""
    return (message.encode() for message in messages)
