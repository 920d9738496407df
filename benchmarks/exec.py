"""An ioctl of an unmodified program: under `memhub exec`, and on umockdev with a Python handler.

The program times itself by the wall clock, since umockdev sleeps part of the time.
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import loading, peers
from benchmarks.harness import Goal, Plan, Row, backends, cores, pinned, skipped
from benchmarks.rig import ARCHES, spec
from benchmarks.serving import served
from memhub.abi import LP64
from memhub.exec import ShimUnavailable, run
from memhub.exec.over_client import ClientBackend
from memhub.service.blocking import BlockingClient
from memhub.service.local import LocalClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.loading import Other

_QUESTION = "ioctl of a program under memhub exec"
_EMBEDDED = "the same ioctl embedded"
_GI, _SOCKET = "umockdev, GI handler", "umockdev, bare socket"
#: What serves a case, and its goal: the handler of umockdev's own library has one.
_UMOCKDEV = {_GI: ("gi", Goal(1.3, 2.5)), _SOCKET: ("socket", None)}
_PACKAGES = "umockdev, python3-gi and gir1.2-umockdev-1.0"
_HOST_PYTHON = "/usr/bin/python3"
_PRELOAD = "libumockdev-preload.so.0"
_OP = LP64.op.pack(0, 0, 0)
_SLOTS = 96


class _NoUmockdev(Exception):
    """Raised when umockdev is missing."""


@contextmanager
def _mocked(kind: str, core: int) -> Iterator[dict[str, str]]:
    """The environment in which /dev/mem is umockdev's."""
    script = Path(__file__).with_name("umockdev.py")
    command: list[str | Path] = [_HOST_PYTHON, "-I", script, kind, str(core)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            folder = process.stdout.readline().decode().strip()
            if not folder:
                raise _NoUmockdev

            yield {**os.environ, "UMOCKDEV_DIR": folder, "LD_PRELOAD": _PRELOAD}
        finally:
            process.stdin.close()
            process.wait(20)


def _timed(start: Callable[[list[str]], int], program: Path, milliseconds: int) -> float:
    """Seconds that an ioctl of the program takes, which `start` runs to its end."""
    found = program.with_suffix(".result")
    found.unlink(missing_ok=True)
    status = start([str(program), str(milliseconds), str(found)])
    if status:
        raise RuntimeError(f"{program.name} ended with status {status}")

    taken, count = found.read_text().split()
    assert int(count) == _SLOTS

    return float(taken)


def _under_exec(client: LocalClient | BlockingClient) -> Callable[[list[str]], int]:
    names = {"/dev/mem": "/dev/mem"}

    return lambda argv: run(argv, ClientBackend(client, names), device_names=names)


def _preloaded(environment: dict[str, str]) -> Callable[[list[str]], int]:
    return lambda argv: subprocess.run(argv, env=environment, check=False).returncode


def _embedded(client: LocalClient, stack: ExitStack, calls: int) -> Other:
    handle = stack.enter_context(client.open("/dev/mem", model=LP64))

    def timed() -> float:
        begin = time.perf_counter()
        for _ in range(calls):
            handle.ioctl(LP64.get, _OP)

        return (time.perf_counter() - begin) / calls

    return timed


def _mocks(core: int, stack: ExitStack) -> dict[str, Callable[[list[str]], int]]:
    try:
        return {
            name: _preloaded(stack.enter_context(_mocked(kind, core)))
            for name, (kind, _) in _UMOCKDEV.items()
        }
    except (OSError, _NoUmockdev):
        return {}


def _measured(program: Path, plan: Plan) -> Iterator[Row]:
    core, length = cores()[0], plan.scaled(250, 20)
    with ExitStack() as stack:
        enter = stack.enter_context
        local = enter(LocalClient([spec()], arches=ARCHES))
        starts = {"in process": _under_exec(local)}
        for backend in backends(plan):
            path, _ = enter(served("memhub", backend, plan.folder, core))
            starts[f"service, {backend}"] = _under_exec(enter(BlockingClient(path)))

        mocks = _mocks(core, stack) if plan.peers else {}
        cases: dict[str, Other] = {
            name: partial(_timed, start, program, length)
            for name, start in (starts | mocks).items()
        }
        cases[_EMBEDDED] = _embedded(local, stack, plan.scaled(20_000, 10))
        enter(pinned(core))
        samples = loading.rounds(program, cases, plan.with_rounds(9), length)

    for column in starts:
        yield samples.row(_QUESTION, column, _EMBEDDED, column=column)
        for name, (_, goal) in _UMOCKDEV.items():
            if name in mocks:
                yield samples.row(_QUESTION, column, name, goal, column=column, more=True)

    if not mocks:
        yield skipped(_QUESTION, peers.wanted(_PACKAGES), against="umockdev")


def rows(plan: Plan) -> Iterator[Row]:
    """Machines in this process and behind a service; all that takes part shares a core."""
    try:
        yield from _measured(loading.compiled(plan.folder, "ioctls"), plan)
    except (loading.NoCompiler, ShimUnavailable) as error:
        yield skipped(_QUESTION, str(error))
