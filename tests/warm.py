"""Starts processes of memhub's without the time that importing it takes.

That is most of what a short run costs. One process of each kind for each worker of pytest has
imported what is needed and done nothing else; it forks for each run. The fork becomes a child of
the test's process, with its streams, environment and folder, and runs to the end of the
interpreter, so signals, exit codes and kills are those of a process that was started.
tests/service/test_serve_process.py and tests/arch_check/test_kit.py start the interpreter itself.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from memhub.rig.arch_check import untouched

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


@dataclass(frozen=True)
class Kind:
    """What a process is, once it has been forked.

    Attributes:
        modules: what it has imported.
        home: the module of the function that it runs.
        function: the name of that.
    """

    modules: tuple[str, ...]
    home: str
    function: str


#: What `memhub serve` imports on its way to the first request.
_SERVE = (
    "anyio._backends._asyncio",
    "anyio._backends._trio",
    "uvloop",
    "memhub.cli.serve",
    "memhub.cli.log_file",
    "memhub.cli.version",
    "memhub.config",
    "memhub.arches",
    "memhub.hub",
    "memhub.plugin.x86",
    "memhub.audit.writing.writer",
    "memhub.service.server.server",
    "memhub.watchdog",
    "email.message",
)
MEMHUB = Kind(_SERVE, "memhub.cli", "main")
#: The interpreter that the conformance kit asks beside its own.
UNTOUCHED = Kind(("memhub.config", "memhub.plugin.x86"), untouched.__name__, "serve_pipes")

_SET_CHILD_SUBREAPER = 36


class WarmPopen(subprocess.Popen[Any]):
    """`subprocess.Popen` of `memhub` with arguments: its words, folder, environment, streams."""

    kind: ClassVar[Kind] = MEMHUB

    def _execute_child(  # what Popen calls for the system's part
        self,
        args: Any,
        _executable: Any,
        _preexec_fn: Any,
        _close_fds: Any,
        _pass_fds: Any,
        cwd: Any,
        env: Any,
        _startupinfo: Any,
        _creationflags: Any,
        _shell: Any,
        *rest: int,
    ) -> None:
        request = {
            "words": [os.fspath(word) for word in args],
            "cwd": os.fspath(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
        }
        given = enumerate((rest[0], rest[3], rest[5]))
        self.pid = _shared_forker(self.kind).request_fork(
            request, [fd if fd >= 0 else own for own, fd in given]
        )
        self._child_created = True
        self._close_pipe_fds(*rest[:6])  # type: ignore[attr-defined]


class WarmInterpreter(WarmPopen):
    """`subprocess.Popen` of the interpreter that the conformance kit starts."""

    kind = UNTOUCHED


def use_warm_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the conformance kit ask in forks of one interpreter, and not start one each time."""
    if sys.platform == "linux":
        monkeypatch.setattr(untouched, "Popen", WarmInterpreter)


def start_memhub(words: Sequence[str], *, warm: bool = True, **more: Any) -> subprocess.Popen[Any]:
    """Start `memhub` with arguments.

    Args:
        words: the arguments.
        warm: whether it may be a fork; otherwise, and on other systems, it is started.
        more: for `subprocess.Popen`.
    """
    if warm and sys.platform == "linux":
        return WarmPopen(words, **more)

    return subprocess.Popen([sys.executable, "-m", "memhub", *words], **more)


class Forker:
    """The process that forks.

    Args:
        kind: what its forks are.
    """

    def __init__(self, kind: Kind) -> None:
        self._asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = f"import sys; sys.path[:] = {sys.path!r}\nimport warm\nwarm.run_forks(warm.{kind!r})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(theirs.fileno())],
            stdin=subprocess.PIPE,  # pipes, as the streams of the forks are
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        atexit.register(self.close)

    def request_fork(self, request: dict[str, Any], streams: list[int]) -> int:
        """Have a child forked; its process id."""
        adopting = ctypes.CDLL(None).prctl
        adopting(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(self._asking, [json.dumps(request).encode()], streams)

            answer = self._asking.recv(64)
            if not answer:
                raise RuntimeError(f"nothing was forked: {self._process.communicate()[0]!r}")

            return int(answer)
        finally:
            adopting(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._asking.close()


@cache
def _shared_forker(kind: Kind) -> Forker:
    return Forker(kind)


def run_forks(kind: Kind) -> None:
    """Fork for each request; each fork runs its function and ends."""
    for name in kind.modules:
        import_module(name)

    gc.freeze()  # no collection of a fork looks at it, which would copy its pages
    arguments = _answer_requests(socket.socket(fileno=int(sys.argv[1])))
    if arguments is not None:
        sys.argv[1:] = arguments
        sys.exit(getattr(import_module(kind.home), kind.function)())


def _answer_requests(requests: socket.socket) -> list[str] | None:
    """The arguments, in a fork; None at the end of all requests."""
    while True:
        data, streams, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        if not data:
            return None

        reader, writer = os.pipe()
        between = os.fork()
        if not between:
            made = os.fork()
            if made:  # the child of this process is the test's as soon as this one has ended
                os.write(writer, b"%d" % made)
                os._exit(0)

            requests.close()
            os.close(reader)
            os.close(writer)

            return _take_over(json.loads(data), streams)

        os.waitpid(between, 0)
        requests.send(os.read(reader, 64))
        for fd in (reader, writer, *streams):
            os.close(fd)


def _take_over(request: dict[str, Any], streams: list[int]) -> list[str]:
    for target, fd in enumerate(streams):
        os.dup2(fd, target)
        os.close(fd)

    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    arguments: list[str] = request["words"]

    return arguments
