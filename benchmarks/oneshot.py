"""A command that asks a running service once, and the memory of an idle connection."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import loading
from benchmarks.harness import Goal, Plan, Row, Samples, amount, backends, cores, pinned, skipped
from benchmarks.imports import cpu_of
from benchmarks.serving import served

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMMAND = (sys.executable, "-m", "memhub", "memcontrol", "list")
_QUESTION = "memhub memcontrol list, one shot"


def _command(plan: Plan) -> Row:
    times: dict[str, list[float]] = {"command": [], "bare interpreter": []}
    with served("memhub", "asyncio", plan.folder, cores()[1]) as (path, _), pinned():
        environment = {**os.environ, "MEMHUB_SOCKET": str(path)}
        try:
            for _ in range(plan.with_rounds(9).rounds):
                times["command"].append(cpu_of(*_COMMAND, environment=environment))
                times["bare interpreter"].append(cpu_of(sys.executable, "-c", "pass"))
        except RuntimeError as error:
            return skipped(_QUESTION, str(error), against="bare interpreter")

    return Samples(times).row(_QUESTION, "command", "bare interpreter", Goal(6, 3))


def _resident(pid: int) -> float:
    """KiB of a process that are in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()

    return float(next(line.split()[1] for line in lines if line.startswith("VmRSS")))


def _idle(backend: str, plan: Plan) -> float:
    """KiB of a connection that has opened a device and is idle."""
    many = plan.scaled(500, 2)
    with served("memhub", backend, plan.folder, cores()[0]) as (path, pid), ExitStack() as stack:
        taken = []
        for count in (20, many):
            for _ in range(count):
                _greeted(stack.enter_context(socket.socket(socket.AF_UNIX)), path)

            taken.append(_resident(pid))

        return (taken[1] - taken[0]) / many


def _greeted(sock: socket.socket, path: Path) -> None:
    sock.connect(str(path))
    for frame in loading.frames(loading.prelude()):
        sock.sendall(frame)
        sock.recv(4096)


def rows(plan: Plan) -> Iterator[Row]:
    """The command, and the connection on every backend."""
    yield _command(plan)
    goal = Goal(64, 16)
    for backend in backends(plan):
        row = amount("memory of an idle connection", [_idle(backend, plan)], "KiB", goal)
        yield row.in_column(backend)
