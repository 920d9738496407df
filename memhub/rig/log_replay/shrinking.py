"""The fewest requests of a log that still fail."""

from __future__ import annotations

import errno
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from memhub.arches import load_arches
from memhub.audit import AuditLog
from memhub.rig.log_replay.ddmin import find_fewest
from memhub.rig.log_replay.devices import MachinesAgain
from memhub.rig.log_replay.player import machine_again
from memhub.rig.log_replay.replaying import choose_machines, play_run, replay_run
from memhub.rig.log_replay.steps import LogRun, LogStep, divide, machines_in, read_run
from memhub.whole_file import check_creatable

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from memhub.core.drivers.driver import Arch
    from memhub.core.spec import MachineSpec

#: How often it is asked whether something fails, at most.
RUNS_MAX = 5000


class Shrunk(NamedTuple):
    """The fewest requests of a log that still fail.

    Attributes:
        steps: the requests, in order.
        of: how many the log has.
        runs: how often it was asked whether some of them fail.
    """

    steps: tuple[LogStep, ...]
    of: int
    runs: int

    def __str__(self) -> str:
        rows = [f"{number:>3}. {step}" for number, step in enumerate(self.steps, 1)]

        return "\n".join([*rows, f"{len(self.steps)} of {self.of} requests, in {self.runs} runs"])


class NothingFails(ValueError):
    """Raised where a whole log does not fail."""


class CheckFailed(RuntimeError):
    """Raised where the command of a check cannot be run."""


def shrink_log(
    path: str | os.PathLike[str],
    *,
    against: str | None = None,
    specs: Mapping[str, MachineSpec] | None = None,
    check: Callable[[Path], bool] | None = None,
    machine: str | None = None,
    out: str | os.PathLike[str] | None = None,
    arches: Mapping[str, Arch] | None = None,
    runs: int = RUNS_MAX,
    verified: bool = True,
) -> Shrunk:
    """Find the fewest requests of a log that still fail.

    Some of its requests fail where `check` says so of the log of them; without it, where another
    machine answers them otherwise than the machine of the log does.

    Args:
        path: a file or a folder of segments.
        against: the other architecture.
        specs: the other machines, by name.
        check: whether a log fails; it is handed the path of a log of some of the requests.
        machine: only the requests to this machine.
        out: where to write the log of the requests that are left; `replay_log` takes it.
        arches: architectures by name; None loads those that are installed.
        runs: how often it is asked whether something fails, at most.
        verified: whether the chain of the log is checked.

    Raises:
        DamagedLog: the chain breaks.
        AuditError: the log cannot be read.
        NothingFails: the whole log does not fail.
        FileExistsError: `out` is there already, and is not empty.
        OSError: `out` cannot be written; that is found before anything else is done.
        ValueError: none or more than one of `against`, `specs` and `check` is given, or the log
            has no such machine.
    """
    if out is not None:
        if Path(out).exists() and Path(out).stat().st_size:
            raise FileExistsError(
                errno.EEXIST, "there is a log already: give another name", str(out)
            )

        check_creatable(out)

    if sum(it is not None for it in (against, specs, check)) != 1:
        raise ValueError("one of against, specs and check is needed, and no more")

    known = load_arches() if arches is None else arches
    whole = read_run(path, machine, verified=verified)
    asked = [step for step in whole.steps if not step.framing]
    if check is None:
        fails = _differs(whole, known, against, specs)
    else:
        fails = _fails_check(whole, known, check)

    if not fails(asked):
        alike = "the check passes" if check else f"its {len(asked)} requests are answered alike"
        raise NothingFails(f"{path} does not fail: {alike}")

    left, count = find_fewest(asked, fails, runs)
    if out is not None:
        _write_log(_part_of(whole, left), known, Path(out))

    return Shrunk(tuple(left), len(asked), count)


def command_check(words: Sequence[str]) -> Callable[[Path], bool]:
    """A check that runs a command: a log fails if its exit code is not 0.

    Args:
        words: the command; `{}` is replaced by the path of the log, which is added where there is
            no such word.

    Returns:
        the check; it raises CheckFailed where the command cannot be run.
    """

    def check(path: Path) -> bool:
        filled = [word.replace("{}", str(path)) for word in words]
        if filled == list(words):
            filled.append(str(path))

        try:
            done = subprocess.run(  # noqa: S603 - of the caller
                filled, capture_output=True, check=False, stdin=subprocess.DEVNULL
            )
        except OSError as error:
            raise CheckFailed(f"{filled[0]}: {error.strerror}") from error

        return done.returncode != 0

    return check


def _part_of(whole: LogRun, some: Sequence[LogStep]) -> LogRun:
    """Some steps, with the starts and ends of their machines."""
    names, wanted = set(machines_in(some)), {step.seq for step in some}
    framed = (
        step
        for step in whole.steps
        if step.seq in wanted or (step.framing and step.machine in names)
    )

    return LogRun(list(framed))


def _differs(
    whole: LogRun,
    arches: Mapping[str, Arch],
    against: str | None,
    specs: Mapping[str, MachineSpec] | None,
) -> Callable[[Sequence[LogStep]], bool]:
    make = choose_machines(MachinesAgain(arches), arches, against, specs)

    def fails(some: Sequence[LogStep]) -> bool:
        part = _part_of(whole, some)
        rows = [it.row for it in play_run(part, machine_again(arches)).told]
        numbered = ({**row, "seq": seq} for seq, row in enumerate(rows, 1))

        return bool(replay_run(divide(numbered), make).differences)

    return fails


def _fails_check(
    whole: LogRun, arches: Mapping[str, Arch], check: Callable[[Path], bool]
) -> Callable[[Sequence[LogStep]], bool]:
    def fails(some: Sequence[LogStep]) -> bool:
        with tempfile.TemporaryDirectory(prefix="memhub-shrink-") as folder:
            path = Path(folder) / "audit.jsonl"
            _write_log(_part_of(whole, some), arches, path)

            return check(path)

    return fails


def _write_log(run: LogRun, arches: Mapping[str, Arch], path: Path) -> None:
    with AuditLog.open(path) as log:
        play_run(run, machine_again(arches), log)
