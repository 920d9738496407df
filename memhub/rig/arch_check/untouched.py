"""Answers of a process in which a driver was asked nothing else: what a driver remembers shows.

A driver can keep what it was asked where all machines of a process have it: in a module, a class,
a file. So another interpreter is started, which forks for each sequence that it is handed, and that
child tells the answers. It is small, so that its forks cost little. An architecture that it cannot
import is asked in a fork of this process, made before the first question.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import struct
import sys
import warnings
from functools import partial
from importlib import import_module
from subprocess import DEVNULL, Popen
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from memhub.rig.arch_check.asking import StoppedHere, ask_driver
from memhub.rig.arch_check.ground import Ground
from memhub.rig.arch_check.running import run_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memhub.core.drivers.driver import Arch
    from memhub.rig.arch_check.asking import Request

#: Seconds that all sequences of one call may take.
_SECONDS: Final = 10.0
_PROGRAM: Final = "from memhub.rig.arch_check.untouched import serve_pipes; serve_pipes()"
_READY: Final = b"ready"
_SIZE: Final = struct.Struct("!I")

#: The answers to each request of a sequence, in words; None where the process ended instead.
Answers = list[str] | None


class UntouchedProcess:
    """A process that was forked before a driver was asked anything; use it in `with`.

    Args:
        arch: the architecture.

    Attributes:
        arch: the same.
        own_interpreter: whether another interpreter runs, so that nothing of this one is there.
    """

    def __init__(self, arch: Arch) -> None:
        self.arch = arch
        self.own_interpreter = False
        self._child = 0
        self._process: Popen[bytes] | None = None
        self._ask = self._told = -1

    def __enter__(self) -> Self:
        self.own_interpreter = self._start_interpreter()
        if not self.own_interpreter:
            self._fork()

        return self

    def _start_interpreter(self) -> bool:
        """Start another interpreter; whether it has the architecture."""
        try:
            packed = pickle.dumps(self.arch)
        except Exception:  # noqa: BLE001 - told where copies are looked at
            return False

        places = os.pathsep.join(it or os.getcwd() for it in sys.path)  # noqa: PTH109 - text
        asked, self._ask = os.pipe()
        self._told, tell = os.pipe()
        self._process = Popen(  # noqa: S603 - this interpreter, and a constant
            [sys.executable, "-c", _PROGRAM],
            stdin=asked,
            stdout=tell,
            stderr=DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": places},
        )
        self._child = self._process.pid
        os.close(asked)
        os.close(tell)
        try:
            _write_frame(self._ask, packed)
            if _read_frame(self._told, _SECONDS) == _READY:
                return True
        except (OSError, EOFError):
            pass

        self._end()
        os.close(self._told)

        return False

    def _fork(self) -> None:
        asked, self._ask = os.pipe()
        self._told, tell = os.pipe()
        with warnings.catch_warnings():
            # other threads of the process stay with the parent, and the child needs none of them
            warnings.simplefilter("ignore", DeprecationWarning)
            self._child = os.fork()

        if self._child == 0:
            os.close(self._ask)
            os.close(self._told)
            _serve(asked, tell, self.arch)

        os.close(asked)
        os.close(tell)

    def __exit__(self, *_: object) -> None:
        self._end()
        os.close(self._told)

    def _end(self) -> None:
        if self._child:
            os.close(self._ask)
            with contextlib.suppress(OSError):
                os.killpg(self._child, signal.SIGKILL)

            if self._process is not None:
                self._process.wait()
                self._process = None
            else:
                os.waitpid(self._child, 0)

            self._child = 0

    def answers(
        self, ground: Ground, asked: Sequence[Sequence[Sequence[Request]]]
    ) -> list[Answers]:
        """What is answered to the last of some sequences, each asked of a new machine in turn.

        Args:
            ground: the machine.
            asked: for each process, the sequences.

        Returns:
            the answers to each last sequence; nothing once the process did not answer in time.
        """
        if not self._child:
            return []

        try:
            facts = (ground.cpu, dict(ground.options), dict(ground.msrs))
            data = pickle.dumps((*facts, [[list(it) for it in each] for each in asked]))
        except Exception:  # noqa: BLE001 - told where copies are looked at
            return []

        try:
            _write_frame(self._ask, data)
            found = _read_frame(self._told, _SECONDS)
        except (OSError, EOFError):
            self._end()
            return []

        answers: list[Answers] = pickle.loads(found)  # noqa: S301 - our own child's

        return answers


def serve_pipes() -> None:
    """Be the other interpreter: it reads from standard input and writes to standard output."""
    asked, tell = os.dup(0), os.dup(1)
    arch = pickle.loads(_read_frame(asked, None))  # noqa: S301 - our own parent's
    _write_frame(tell, _READY)
    _serve(asked, tell, arch)


def _serve(asked: int, tell: int, arch: Arch) -> NoReturn:
    """Answer until the parent is gone."""
    try:
        with contextlib.suppress(PermissionError):  # of a session of its own it is the leader
            os.setpgid(0, 0)

        quiet = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(quiet, number)

        while True:
            found = pickle.loads(_read_frame(asked, None))  # noqa: S301 - our own parent's
            cpu, options, msrs, sequences = found
            ground = (arch, cpu, options, msrs)
            for name in _run_apart(partial(_import_for_start, ground)) or ():
                with contextlib.suppress(Exception):  # here once, and not in each fork
                    import_module(name)

            answers = [_run_apart(partial(_answer_last, ground, it)) for it in sequences]
            _write_frame(tell, pickle.dumps(answers))
    except BaseException:  # noqa: BLE001 - nothing above is this process's
        os._exit(1)


def _import_for_start(ground: tuple[Any, ...]) -> list[str]:
    """The modules that a machine imports before it is asked anything."""
    known = {*sys.modules}
    _start_machine(ground)

    return [it for it in sys.modules if it not in known]


def _answer_last(ground: tuple[Any, ...], sequences: list[list[Request]]) -> list[str]:
    """The answers to the last of some sequences, each asked of a new machine in turn."""
    for requests in sequences[:-1]:
        run_steps(_start_machine(ground), requests, deep=False)

    machine, told = Ground(*ground), []
    driver = machine.new_driver()
    state = machine.attach(driver)
    assert state is not None
    with contextlib.suppress(StoppedHere):
        for request in sequences[-1]:  # nothing else is asked here
            answer = ask_driver(machine, driver, state, request)
            told.append(answer.in_words())
            state = state if answer.plan is None else answer.plan.after

    return told


def _start_machine(ground: tuple[Any, ...]) -> Ground:
    machine = Ground(*ground)
    machine.start = machine.attach(machine.new_driver())

    return machine


def _run_apart(call: Callable[[], list[str]]) -> list[str] | None:
    """What a call returns in a process of its own; None where the process ended instead."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            _write_frame(write, pickle.dumps(call()))

        os._exit(0)

    os.close(write)
    try:
        found: list[str] = pickle.loads(_read_frame(read, None))  # noqa: S301 - our own child's
    except EOFError:
        return None
    finally:
        os.close(read)
        os.waitpid(child, 0)

    return found


def _write_frame(number: int, data: bytes) -> None:
    left = memoryview(_SIZE.pack(len(data)) + data)
    while left:
        left = left[os.write(number, left) :]


def _read_frame(number: int, seconds: float | None) -> bytes:
    (size,) = _SIZE.unpack(_read_exactly(number, _SIZE.size, seconds))

    return _read_exactly(number, size, seconds)


def _read_exactly(number: int, size: int, seconds: float | None) -> bytes:
    data = b""
    while len(data) < size:
        if seconds is not None and not select.select([number], [], [], seconds)[0]:
            raise EOFError

        piece = os.read(number, size - len(data))
        if not piece:
            raise EOFError

        data += piece

    return data
