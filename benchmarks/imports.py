"""How long memhub takes to import, in CPU seconds of fresh interpreters."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from benchmarks.harness import Goal, Plan, Row, Samples, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DEPENDENCIES = "import anyio, numpy, pluggy, structlog"
#: Every name of the package, which loads what the lazy import has not loaded.
_WHOLE = "import memhub; [getattr(memhub, name) for name in memhub.__all__]"
_CASES = {
    "import memhub": "import memhub",
    "its hub": "import memhub.hub.hub",
    "every name": _WHOLE,
    "dependencies": _DEPENDENCIES,
    "bare": "pass",
}


def cpu_of(*arguments: str, environment: Mapping[str, str] | None = None) -> float:
    """CPU seconds that a command takes, whose output nobody reads."""
    silent = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_WRONLY, 0) for fd in (1, 2)]
    pid = os.posix_spawn(arguments[0], arguments, environment or os.environ, file_actions=silent)
    _, status, usage = os.wait4(pid, 0)
    if status:
        words = " ".join(arguments[1:])
        raise RuntimeError(f"python {words} failed: {os.waitstatus_to_exitcode(status)}")

    return usage.ru_utime + usage.ru_stime


def rows(plan: Plan) -> Iterator[Row]:
    """Lazily, the hub, and every name, against the four core dependencies together."""
    times: dict[str, list[float]] = {name: [] for name in _CASES}
    with pinned():
        for _ in range(plan.with_rounds(9).rounds):
            for name, source in _CASES.items():
                times[name].append(cpu_of(sys.executable, "-c", source))

    samples, goal = Samples(times), Goal(1.15, 1.05)
    yield samples.row("import memhub (lazy)", "import memhub", "dependencies", goal)
    yield samples.row("import memhub.hub.hub", "its hub", "dependencies", goal)
    yield samples.row("import of every public name", "every name", "dependencies", goal)
    yield samples.row("import memhub (lazy)", "import memhub", "bare")
