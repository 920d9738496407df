"""The same questions in another process: other hash seed, other process ids.

There it is also seen what the driver does outside of its process.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from memhub.errors import DeviceError, DriverFailed
from memhub.rig.arch_check.finding import Fault
from memhub.rig.arch_check.ground import Ground
from memhub.rig.arch_check.outside import OutsideWatch
from memhub.rig.arch_check.running import run_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.rig.arch_check.asking import Request

#: Processes that are asked; their ids follow one another.
_PROCESSES: Final = 4
_SECONDS: Final = 30.0
_CODE: Final = (
    "import pickle, sys\n"
    "sys.path[:] = pickle.load(sys.stdin.buffer)\n"
    "from memhub.rig.arch_check.other_process import answer_questions\n"
    "answer_questions()\n"
)


def check_other_process(
    ground: Ground, sequences: Sequence[Sequence[Request]]
) -> Iterator[tuple[Sequence[Request], Fault]]:
    """Ask in processes with another seed of hashes, and compare the answers.

    An architecture that another process cannot import, such as one of a script, is left out.
    """
    here = _answers(ground, sequences)
    asked = (ground.arch, ground.cpu, dict(ground.options), dict(ground.msrs), sequences)
    try:
        question = pickle.dumps(sys.path) + pickle.dumps(asked)
    except Exception:  # noqa: BLE001 - told where copies are looked at
        return

    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", _CODE],
            input=question,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        for there, outside in _take_answers(done.stdout):
            if outside:
                words = f"it reaches outside of its process; {outside}"
                yield (), Fault("side-effects", "", words)
                return

            for requests, one, other in zip(sequences, here, there, strict=True):
                for request, first, second in zip(requests, one, other, strict=False):
                    if first != second:
                        words = f"{request}: another process answers ({second}), this ({first})"
                        yield requests, Fault("not-deterministic", request.op, words)
                        return


def _take_answers(told: bytes) -> list[Any]:
    try:
        found = pickle.loads(told)  # noqa: S301 - our own child's
    except Exception:  # noqa: BLE001 - it could not import the architecture
        return []

    return found if isinstance(found, list) else []


def _answers(ground: Ground, sequences: Sequence[Sequence[Request]]) -> list[list[str]]:
    return [
        [it.in_words() for it in run_steps(ground, requests, deep=False).answers]
        for requests in sequences
    ]


def answer_questions() -> None:
    """Answer what standard input asks, in this process and in some that it forks."""
    arch, cpu, options, msrs, sequences = pickle.load(sys.stdin.buffer)  # noqa: S301 - our parent's
    out = os.dup(1)
    os.dup2(2, 1)
    found = []
    for _ in range(_PROCESSES):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            with contextlib.suppress(DriverFailed, DeviceError), os.fdopen(write, "wb") as pipe:
                with OutsideWatch() as watch:
                    ground = Ground(arch, cpu, options, msrs)
                    ground.start = ground.attach(ground.new_driver())
                    answers = _answers(ground, sequences)

                pipe.write(pickle.dumps((answers, watch.seen)))

            os._exit(0)

        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            found.append(pickle.loads(pipe.read()))  # noqa: S301 - our own child's

        os.waitpid(child, 0)

    with os.fdopen(out, "wb") as pipe:
        pipe.write(pickle.dumps(found))
