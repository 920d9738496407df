"""Programs in C, compiled where possible; the client is run against servers in rounds."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.harness import Plan, Samples, bystander, cores, cpu_seconds, pinned
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
        request: the frame that is asked again and again, or several: as many for each connection.
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


def prelude(mode: int = wire.OPEN_READ) -> bytes:
    """HELLO, and OPEN of /dev/mem."""
    hello = wire.ClientProtocol().hello("load")
    opening = wire.Open(1, mode, wire.MODEL_NATIVE, "/dev/mem")

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


class Pace(NamedTuple):
    """What requests at fixed times took, from when each was due.

    Attributes:
        p50: the median, in seconds.
        p99: the 99th percentile.
        worst: the longest.
    """

    p50: float
    p99: float
    worst: float


@contextmanager
def _running(
    program: Path, load: Load, milliseconds: int, folder: Path, *rate: str
) -> Iterator[Callable[[], list[int]]]:
    """The client on the other core, connected; gives what lets it work and reads its numbers."""
    before, asked = folder / "prelude", folder / "request"
    before.write_bytes(load.prelude)
    asked.write_bytes(load.request)
    sizes = (str(load.connections), str(load.depth), str(milliseconds))
    command: list[str | Path] = [program, load.address, load.framing, *sizes, before, asked, *rate]
    with (
        pinned(cores()[1]),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client,
    ):
        assert client.stdout is not None
        assert client.stdin is not None
        stdin, stdout = client.stdin, client.stdout
        stdout.readline()

        def numbers() -> list[int]:
            stdin.write(b"\n")
            stdin.flush()
            found = [int(word) for word in stdout.readline().split()]
            if not found or not found[0]:
                raise RuntimeError(f"{load.address} gave no answer")

            return found

        yield numbers
        stdin.close()


def run(program: Path, load: Load, milliseconds: int, folder: Path) -> float:
    """CPU seconds of the server for one answer."""
    with _running(program, load, milliseconds, folder) as numbers:
        begin = cpu_seconds(load.server)
        answers = numbers()[0]

        return (cpu_seconds(load.server) - begin) / answers


def greatest(program: Path, load: Load, milliseconds: int, folder: Path) -> tuple[float, int]:
    """Answers a second by the wall clock, and the bytes of one."""
    with _running(program, load, milliseconds, folder) as numbers:
        answers, size, nanoseconds = numbers()

        return answers * 1e9 / nanoseconds, round(size / answers)


def pace(
    program: Path,
    load: Load,
    milliseconds: int,
    folder: Path,
    rate: float,
    beside: AbstractContextManager[object] = nullcontext(),  # noqa: B008 - it has no state
) -> Pace:
    """What requests took that were due at a rate, whether or not others were answered.

    Args:
        program: the compiled client.
        load: what is asked.
        milliseconds: how long.
        folder: for the client's files.
        rate: requests a second.
        beside: what goes on meanwhile; it begins when the load is connected.

    Raises:
        RuntimeError: there was no answer, or a refusal.
    """
    with _running(program, load, milliseconds, folder, f"{rate:.3f}") as numbers, beside:
        _, refused, *times = numbers()

    if refused:
        raise RuntimeError(f"{load.address} refused {refused} requests")

    return Pace(*(nanoseconds / 1e9 for nanoseconds in times))


@contextmanager
def misbehaving(program: Path, kind: str, load: Load, folder: Path) -> Iterator[None]:
    """A client that misbehaves meanwhile, beside the load: `flood` or `churn` (`misbehave.c`)."""
    before, asked = folder / "rude prelude", folder / "rude request"
    before.write_bytes(load.prelude)
    asked.write_bytes(load.request)
    command: list[str | Path] = [program, load.address, kind, before, asked]
    with pinned(bystander()):
        client = subprocess.Popen(command, stdout=subprocess.PIPE)

    with client:
        assert client.stdout is not None
        client.stdout.readline()
        try:
            yield
            if client.poll() is not None:
                raise RuntimeError(f"the client {kind} ended with {client.returncode}")
        finally:
            client.kill()


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
