"""The client in C, compiled once a run, and a service for it on each backend."""

from __future__ import annotations

import os
from fcntl import LOCK_EX, flock
from typing import TYPE_CHECKING

import pytest

from service.c_client.c_rig import HERE, LIBRARY, Driven, build
from service.process_rig import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "4c1f0a6be2d94d77"

CONFIG = """
default = "pc"

[machines.pc]
arch = "amd64"
phys_bits = 36
memory = [
    { base = 0x0, length = "32M" },
    { base = 0xf0000000, length = "64K", kind = "rom", hex = "55aa40" },
]

[machines.old]
arch = "i386"
msr = { "0xfe" = 0x508, "0x2ff" = 0xc06 }
memory = [{ base = 0x0, length = "16M" }]

[machines.arm]
arch = "arm64"
memory = [{ base = 0x0, length = "16M" }]

[service.tcp]
port = 0
token_file = "tokens"

[service.limits]
connections = 3
"""


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `drive`, `vectors` and `hostile`; the first worker that comes compiles them."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "c-client"
    with (shared / "c-client.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if folder.exists():
            return folder

        unfinished = tmp_path_factory.mktemp("c-client")
        for name in ("drive", "hostile"):
            build(unfinished / name, HERE / f"{name}.c", LIBRARY / "memhub.c")

        build(unfinished / "vectors", HERE / "vectors.c")
        unfinished.rename(folder)

    return folder


@pytest.fixture
def driven(programs: Path) -> Iterator[Driven]:
    """One client in C, not connected yet."""
    with Driven(programs / "drive") as client:
        yield client


class Service:
    """A service as an operator runs it, on sockets of both kinds."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.line = served.ready()
        self.socket = f"unix:{served.socket}"
        (self.tcp,) = [word.rstrip(",") for word in self.line.split() if word.startswith("tcp:")]


@pytest.fixture(params=["asyncio", "trio"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "lab.toml").write_text(CONFIG)
    (tmp_path / "tokens").write_text(f"ci:{TOKEN}\n")
    (tmp_path / "tokens").chmod(0o600)
    with Served(tmp_path, "--backend", request.param, "--grace", "5") as served:
        yield Service(served)
