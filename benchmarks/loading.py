"""Programs in C, compiled where possible; the client is run against servers in rounds."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import Plan, Samples, cores, cpu_seconds, pinned
from memhub.abi import ILP32
from memhub.service import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Another case in the rounds, beside the client: CPU seconds of one operation.
Other = Callable[[], float]

_HEADER = 12
_SOURCES = Path(__file__).parent


class NoCompiler(Exception):
    """Raised when no C compiler is found."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of the client asks.

    Attributes:
        address: a socket's path, or a port.
        server: the server's process id.
        connections: how many.
        depth: requests in flight on each.
        prelude: frames that each connection begins with.
        request: the frame that is asked again and again.
        framing: `memhub` or `modbus`.
    """

    address: str
    server: int
    connections: int
    depth: int
    prelude: bytes
    request: bytes
    framing: str = "memhub"


def compiled(folder: Path, name: str = "load") -> Path:
    """Compile a program whose source is in this folder; the client unless named.

    Raises:
        NoCompiler: no C compiler is found.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise NoCompiler("no C compiler here")

    program, source = folder / name, _SOURCES / f"{name}.c"
    subprocess.run([compiler, "-O2", "-o", program, source], check=True, capture_output=True)

    return program


def prelude() -> bytes:
    """HELLO, and OPEN of /dev/mem."""
    hello = wire.ClientProtocol().hello("load")
    opening = wire.Open(1, wire.OPEN_READ, wire.MODEL_NATIVE, "/dev/mem")

    return hello + b"".join(opening.buffers())


def frames(data: bytes) -> Iterator[bytes]:
    """Bytes as frames."""
    while data:
        end = _HEADER + int.from_bytes(data[:4], "little")
        yield data[:end]
        data = data[end:]


def getting(count: int) -> bytes:
    """MEMRANGE_GET of `count` descriptors, on the first handle of a connection."""
    op = ILP32.op.pack(1, count, 0)
    request = wire.Ioctl(2, 1, ILP32.get, op, room=count * ILP32.desc.size)

    return b"".join(request.buffers())


def run(program: Path, load: Load, milliseconds: int, folder: Path) -> float:
    """CPU seconds of the server for one answer; the client runs on the other core."""
    before, asked = folder / "prelude", folder / "request"
    before.write_bytes(load.prelude)
    asked.write_bytes(load.request)
    command: list[str | Path] = [
        program,
        load.address,
        load.framing,
        str(load.connections),
        str(load.depth),
        str(milliseconds),
        before,
        asked,
    ]
    with (
        pinned(cores()[1]),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client,
    ):
        assert client.stdout is not None
        client.stdout.readline()
        begin = cpu_seconds(load.server)
        answers = int(client.stdout.readline() or 0)
        taken = cpu_seconds(load.server) - begin
        assert client.stdin is not None
        client.stdin.close()

    if not answers:
        raise RuntimeError(f"{load.address} gave no answer")

    return taken / answers


def rounds(
    program: Path, loads: Mapping[str, Load | Other], plan: Plan, milliseconds: int
) -> Samples:
    """Run every load once a round, in rotating order; others say their own seconds."""
    times: dict[str, list[float]] = {name: [] for name in loads}
    names = list(loads)
    length = plan.scaled(milliseconds, 50)
    for turn in range(plan.rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            load = loads[name]
            if isinstance(load, Load):
                times[name].append(run(program, load, length, plan.folder))
            else:
                times[name].append(load())

    return Samples(times)
