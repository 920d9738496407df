"""Starts services quickly for rigs: it imports memhub once, and forks for each of them.

Run as `python -m memhub.cli.service_starter FD`, where FD is one end of a socket pair. Each message
on it is a JSON object. `{"start": [argument, …], "folder": path}`, with two file descriptors for
standard output and standard error, is answered with the service's process id, `{"wait": pid}` with
its exit code. When the other end is closed, the services that still run are killed, and folders
that are left are removed: pytest may have been killed itself.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

_LONGEST: Final = 1 << 16

#: What a service imports when it starts.
_IMPORTED: Final = (
    "anyio._backends._asyncio",
    "memhub.audit.writing.writer",
    "memhub.cli.keys",
    "memhub.cli.log_file",
    "memhub.cli.serve",
    "memhub.hub",
    "memhub.service.server.notify",
    "memhub.service.server.server",
    "memhub.watchdog",
)


def serve_starts(line: socket.socket) -> None:
    """Answer messages until the other end is closed."""
    _import_service()
    gc.collect()
    gc.freeze()
    line.send(b"{}")
    running: set[int] = set()
    folders: list[str] = []
    try:
        while True:
            data, fds, _, _ = socket.recv_fds(line, _LONGEST, 2)
            if not data:
                break

            line.send(
                json.dumps(_answer_message(json.loads(data), fds, line, running, folders)).encode()
            )
    finally:
        for pid in running:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _answer_message(
    message: dict[str, Any],
    fds: list[int],
    line: socket.socket,
    running: set[int],
    folders: list[str],
) -> int:
    if "wait" in message:
        _, status = os.waitpid(message["wait"], 0)
        running.discard(message["wait"])

        return os.waitstatus_to_exitcode(status)

    pid = os.fork()
    if pid == 0:
        line.close()
        _become_service(message["start"], fds)

    for fd in fds:
        os.close(fd)

    running.add(pid)
    folders.append(message["folder"])

    return pid


def _become_service(arguments: list[str], fds: list[int]) -> None:
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for fd, number in zip(fds, (1, 2), strict=True):
            os.dup2(fd, number)
            os.close(fd)

        # Those of the starter know whether what they had before could seek.
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for good
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for good
        from memhub.cli import main

        code = main(arguments)
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - the process ends here, and the rig shows what it wrote
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _import_service() -> None:
    for name in _IMPORTED:
        import_module(name)

    from memhub.arches import load_arches
    from memhub.cli.version import version
    from memhub.core.machine import Machine
    from memhub.machines import pc

    version()
    arches = load_arches()
    for name in arches:  # a driver loads the rest when it is made
        Machine.make(pc(arch=name, arches=arches), arches[name]).close()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as pair:
        serve_starts(pair)
