"""A read of 1 MiB by a blocking client: of memhub's service, and of QEMU by its qtest protocol."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.harness import (
    Goal,
    Plan,
    Row,
    Work,
    backends,
    cores,
    measure_sync,
    once,
    pinned,
    skipped,
    together,
)
from benchmarks.serving import BULK, served
from memhub.service.blocking import BlockingClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_QUESTION = "read of 1 MiB, blocking client"
_QTEST = "QEMU qtest b64read"
_QEMU = "qemu-system-x86_64"
_MACHINE = ("-machine", "q35", "-m", "256", "-accel", "tcg", "-S", "-nodefaults")
_SILENT = ("-display", "none", "-qtest-log", "none")
_AT = 2 << 20
#: Written first, to check that memory is read.
_CONTENT = bytes(range(1, 256)) * 16


@contextmanager
def _machine(folder: Path) -> Iterator[tuple[socket.socket, int]]:
    """A stopped machine of QEMU; yields its qtest connection and process id."""
    path = folder / "qtest.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(20)
        command = [_QEMU, *_MACHINE, *_SILENT, "-qtest", f"unix:{path}"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
            try:
                connection, _ = listener.accept()
                with connection:
                    yield connection, process.pid
            finally:
                process.kill()
                path.unlink()


def _qtest(connection: socket.socket, stack: ExitStack) -> Work:
    answers = stack.enter_context(connection.makefile("rb", buffering=1 << 16))
    content = base64.b64encode(_CONTENT)
    connection.sendall(b"b64write %#x %#x %b\n" % (_AT, len(_CONTENT), content))
    assert answers.readline() == b"OK\n"
    request = b"b64read %#x %#x\n" % (_AT, BULK)

    def read() -> bytes:
        connection.sendall(request)

        return base64.b64decode(answers.readline()[3:])

    return _reading(read)


def _memhub(path: Path, stack: ExitStack) -> Work:
    client = stack.enter_context(BlockingClient(path))
    handle = stack.enter_context(client.open("/dev/mem", "r+"))
    handle.pwrite(_CONTENT, _AT)

    return _reading(lambda: handle.pread(BULK, _AT))


def _reading(read: Callable[[], bytes]) -> Work:
    """Work of one read each time, after a check that it reads memory."""
    data = read()
    assert len(data) == BULK
    assert data.startswith(_CONTENT)

    return once(read)


def _streaming(path: Path, stack: ExitStack) -> Work:
    stream = stack.enter_context(socket.socket(socket.AF_UNIX))
    stream.connect(str(path))
    buffer = memoryview(bytearray(BULK))

    def read() -> None:
        stream.sendall(b"x")
        size = 0
        while size < BULK:
            size += stream.recv_into(buffer[size:])

        bytes(buffer)

    return once(read)


def _on(backend: str, plan: Plan) -> Iterator[Row]:
    core = cores()[0]
    with ExitStack() as stack:
        hub, anchor = (
            stack.enter_context(served(kind, backend, plan.folder, core))
            for kind in ("memhub", "bulk")
        )
        stack.enter_context(pinned(core))
        cases = {"memhub": _memhub(hub[0], stack), "raw stream": _streaming(anchor[0], stack)}
        pids = [hub[1], anchor[1]]
        if plan.peers and shutil.which(_QEMU):
            connection, pid = stack.enter_context(_machine(plan.folder))
            cases[_QTEST] = _qtest(connection, stack)
            pids.append(pid)

        samples = measure_sync(cases, plan.with_rounds(11), together(*pids))

    yield samples.row(_QUESTION, "memhub", "raw stream", column=backend, more=True)
    if _QTEST in cases:
        yield samples.row(_QUESTION, "memhub", _QTEST, Goal(10, 30), column=backend, more=True)
    else:
        yield skipped(_QUESTION, peers.wanted(_QEMU), against=_QTEST, column=backend)


def rows(plan: Plan) -> Iterator[Row]:
    """The rows of every backend; both ends share a core."""
    for backend in backends(plan):
        yield from _on(backend, plan)
