"""What a driver leaves behind elsewhere in the process: files, threads, handlers, settings."""

from __future__ import annotations

import builtins
import decimal
import gc
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from memhub.rig.arch_check.finding import Fault
from memhub.watchdog import REPORT_THREAD

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Signals that the check itself handles.
_OWN: Final = frozenset({signal.SIGINT, signal.SIGURG, signal.SIGVTALRM, signal.SIGPROF})
#: What other threads of the process may change at any time.
_SHARED: Final = frozenset({"open files", "threads"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The process around a driver, at one instant.

    Attributes:
        values: what it is compared by, by name.
        built_ins: the built-in names.
    """

    values: dict[str, Any]
    built_ins: dict[str, Any]

    @classmethod
    def look(cls) -> Self:
        """What it is now."""
        umask = os.umask(0o77)
        os.umask(umask)
        is_main = threading.current_thread() is threading.main_thread()
        built_ins = {it: held for it, held in vars(builtins).items() if it != "_"}

        return cls(
            {
                "working directory": Path.cwd(),
                "umask": umask,
                "environment": dict(os.environ),
                "signal handlers": {
                    it: signal.getsignal(it) for it in signal.valid_signals() if it not in _OWN
                }
                if is_main
                else {},
                "random numbers": random.getstate(),
                "garbage collection": (gc.isenabled(), gc.get_threshold()),
                "recursion limit": sys.getrecursionlimit(),
                "search path of modules": tuple(sys.path),
                "decimal context": _settings_of(decimal.getcontext()),
                "locale": locale.setlocale(locale.LC_ALL),
                "filters of warnings": tuple(warnings.filters),
                "built-in names": {it: id(held) for it, held in built_ins.items()},
                "root logger": (
                    logging.root.level,
                    logging.root.manager.disable,
                    tuple(logging.root.handlers),
                ),
                "threads": frozenset(
                    it for it in threading.enumerate() if it.name != REPORT_THREAD
                ),
                "open files": _list_files(),
            },
            built_ins,
        )

    def differences(self) -> list[str]:
        """What is not as it was."""
        now = self.look().values

        return [it for it, value in self.values.items() if not _is_as_before(value, now[it])]

    def put_back(self) -> None:
        """Put back what can be."""
        values = self.values
        os.chdir(values["working directory"])
        os.umask(values["umask"])
        os.environ.clear()
        os.environ.update(values["environment"])
        for number, handler in values["signal handlers"].items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)

        random.setstate(values["random numbers"])
        (gc.enable if values["garbage collection"][0] else gc.disable)()
        gc.set_threshold(*values["garbage collection"][1])
        sys.setrecursionlimit(values["recursion limit"])
        sys.path[:] = values["search path of modules"]
        for name, value in values["decimal context"].items():
            setattr(decimal.getcontext(), name, value)

        locale.setlocale(locale.LC_ALL, values["locale"])
        warnings.resetwarnings()
        warnings.filters[:] = values["filters of warnings"]  # type: ignore[index]
        level, disabled, handlers = values["root logger"]
        logging.root.setLevel(level)
        logging.disable(disabled)
        logging.root.handlers[:] = handlers
        for name in vars(builtins).keys() - self.built_ins.keys() - {"_"}:
            delattr(builtins, name)

        vars(builtins).update(self.built_ins)


def tell_side_effects(before: Surroundings, own_threads: int, *, printed: bool) -> Iterator[Fault]:
    """What is not as it was before; it is put back.

    Args:
        before: the process before the driver was made.
        own_threads: how many threads the check has.
        printed: something was written to standard output.
    """
    alone = len(before.values["threads"]) <= own_threads
    found = [it for it in before.differences() if alone or it not in _SHARED]
    before.put_back()  # first: who takes one fault alone does not come back for more
    if found:
        yield Fault(
            "side-effects", "", f"after the check, not as before: {found[0]} of the process"
        )

    if printed:
        yield Fault("side-effects", "", "it writes to standard output")


def _is_as_before(before: Any, now: Any) -> bool:  # noqa: ANN401 - many kinds
    if isinstance(before, frozenset):
        return bool(now <= before)

    return bool(before == now)


def _settings_of(context: decimal.Context) -> dict[str, Any]:
    """What a context computes by, without the signals that it has seen."""
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")

    return {it: getattr(context, it) for it in names} | {"traps": dict(context.traps)}


def _list_files() -> frozenset[tuple[str, str]]:
    folder, found = Path("/proc/self/fd"), set()
    for it in folder.iterdir() if folder.is_dir() else ():
        try:
            found.add((it.name, str(it.readlink())))
        except OSError:
            continue  # that of the folder itself

    return frozenset(found)
