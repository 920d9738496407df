"""The records of a log, divided: what somebody asked, and what followed from it or from time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memhub.audit.reading.reader import read_records
from memhub.audit.rows.columns import instant_of
from memhub.audit.verifying.sound import SoundLog
from memhub.core.deciding.restoring import GONE_BACK

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from memhub.core.instant import Instant

    Row = Mapping[str, Any]

#: What a wait or a commit comes to, and so is no request of its own.
OUTCOMES: Final = frozenset({"request.set", "claim.take", "claim.wait", "commit.begin"})
#: What is asked of the hardware of a machine.
HARDWARE: Final = frozenset(
    f"hardware.{op}" for op in ("sicken", "cure", "reinit", "suspend", "resume", "check")
)
#: What is asked, where nothing else in the record says that it followed by itself.
_ASKED: Final = frozenset(
    {
        "device.attach",
        "device.detach",
        "device.restore",
        "request.open",
        "request.close",
        "request.get",
        "request.extract",
        "request.read",
        "request.write",
        "request.ioctl",
        "claim.renew",
        "claim.break",
        "wait.begin",
        *OUTCOMES,
        *HARDWARE,
    }
)
#: What follows by itself.
_FOLLOWS: Final = frozenset(
    {"undo", "claim.release", "claim.expire", "wait.end", "device.fail", "hardware.store"}
)
#: What says what a machine is; `held.part` records after it say what it holds.
_WHOLE: Final = frozenset({"device.restore", "held.machine"})
#: Calls to another kernel than FreeBSD that follow: from an open, a close, the end of a process, a
#: sleep, a resume or a re-initialisation, from what firmware does.
_KERNEL_FOLLOWS: Final = frozenset(
    {"open", "close", "exit", "suspend", "resume", "reinit", "firmware"}
)
#: In the reason of what a process asked for and is no call through its file.
NO_CALL: Final = "is no call through"
#: Why a wait ended whose caller has gone.
_GONE: Final = frozenset({"cancelled", "log"})


class LogStep(NamedTuple):
    """One record that says what somebody asked.

    Attributes:
        row: the record.
        parts: of a return to a snapshot, or of a machine that begins with something, the records
            that say what it then holds.
    """

    row: Row
    parts: tuple[Row, ...] = ()

    @property
    def seq(self) -> int:
        """The record's number."""
        return int(self.row["seq"])

    @property
    def at(self) -> Instant:
        """When it took effect."""
        return instant_of(self.row)

    @property
    def machine(self) -> str:
        """The machine's name."""
        return str(self.row["machine"])

    @property
    def framing(self) -> bool:
        """Whether it starts or ends a machine, and so belongs to every part of the log."""
        return self.row["event"] in ("device.attach", "device.detach") or self.begins_held

    @property
    def begins_held(self) -> bool:
        """Whether a machine begins with it that holds something: a fork, or one in mid-life."""
        event = str(self.row["event"])

        return event == "held.machine" or (
            event == "device.restore" and self.row.get("cause") == "fork"
        )

    def __str__(self) -> str:
        return say_request(self.row)


@dataclass(slots=True)
class LogRun:
    """What a log says.

    Attributes:
        steps: what was asked, in order.
        followed: the records of what followed, in order.
    """

    steps: list[LogStep] = field(default_factory=list)
    followed: list[Row] = field(default_factory=list)


class NotInLog(ValueError):
    """Raised when a log has no machine of a name."""


def read_run(
    path: str | os.PathLike[str], machine: str | None = None, *, verified: bool = True
) -> LogRun:
    """Divide the records of a log.

    Args:
        path: a file or a folder of segments.
        machine: of this machine alone; None takes all.
        verified: whether the chain is checked. Without that, what a log says is taken as it is.

    Raises:
        DamagedLog: the chain breaks; it names the line and the damage.
        AuditError: it cannot be read.
        NotInLog: it has no such machine.
    """
    rows = SoundLog(path).records() if verified else read_records(path, typed=True)
    run = divide(it for it in rows if _is_of(it, machine))
    if machine is not None and not (run.steps or run.followed):
        raise NotInLog(f"{path} has no record of a machine {machine!r}")

    return run


def _is_of(row: Row, machine: str | None) -> bool:
    name = row.get("machine")

    return bool(name) and machine in (None, name)


def divide(rows: Iterable[Row]) -> LogRun:
    """Divide records, in order."""
    run = LogRun()
    ending: set[tuple[str, int]] = set()
    known: set[str] = set()
    for row in rows:
        asked = _is_asked(row, ending)
        if row["event"] == "held.machine":
            asked = True if row["machine"] not in known else None  # the log begins in mid-life

        known.add(row["machine"])
        if row["event"] == "held.part":
            _add_part(run, row)
        elif asked:
            if row["event"] == "device.restore":
                _move_ended(run, row)

            run.steps.append(LogStep(row))
        elif asked is False:
            run.followed.append(row)

    return run


def _move_ended(run: LogRun, row: Row) -> None:
    """Let what a return to a snapshot has ended, which the log has before it, follow from it."""
    why, count = f"{row['machine']} {GONE_BACK[row['cause'] == 'reset']}", len(run.steps)
    while count and run.steps[count - 1].row.get("reason") == why:
        count -= 1

    run.followed += (step.row for step in run.steps[count:])
    del run.steps[count:]


def _add_part(run: LogRun, row: Row) -> None:
    """Add what a machine holds to the step before, if that says what the machine is."""
    if run.steps and run.steps[-1].row["event"] in _WHOLE:
        last = run.steps[-1]
        if len(last.parts) < last.row["count"] and last.machine == row["machine"]:
            run.steps[-1] = LogStep(last.row, (*last.parts, row))


def _is_asked(row: Row, ending: set[tuple[str, int]]) -> bool | None:
    """Whether somebody asked it; None where it says nothing of machines.

    Args:
        row: the record.
        ending: the files of which a wait has ended, and whose record of what it came to follows.
    """
    event, key = row["event"], (row["machine"], row.get("handle", -1))
    if event == "wait.end":
        ending.add(key)
        return row["cause"] in _GONE

    if event in OUTCOMES and key in ending:
        ending.discard(key)
        return False

    if event == "request.set" and row.get("commit") is not None:
        return bool(row["errno"] == "ECANCELED")

    if event == "claim.release" and row["cause"] in ("request", "fence"):
        return True

    if event == "kernel.call":
        return _is_asked_call(row)

    if event == "device.attach" and row.get("cause") is not None:
        return None  # a file of the log begins; nothing happened

    return True if event in _ASKED else False if event in _FOLLOWS else None


def _is_asked_call(row: Row) -> bool | None:
    if row["op"] == "boot":
        return None

    return row["op"] not in _KERNEL_FOLLOWS or NO_CALL in (row["reason"] or "")


def say_request(row: Row) -> str:
    """A record's request in words: who asked what."""
    event = row["event"]
    words = [row.get("process") or "", row.get("op") or event.rpartition(".")[2]]
    if event in ("device.attach", "device.detach", "device.restore"):
        words = [row.get("cause") or {"device.attach": "start", "device.detach": "end"}[event]]
    elif event == "wait.begin":
        words[1] += ", waiting,"
    elif event == "wait.end":
        words[1:] = ["gives up", words[1]]

    if row.get("sickness"):
        words += row["sickness"]

    if row.get("base") is not None:
        words.append(f"{row['base']:#x}+{row.get('length') or 0:#x}")

    words += row.get("attributes") or ()

    return f"{row['machine']}: {' '.join(filter(None, words))}"


def machines_in(steps: Iterable[LogStep]) -> Iterator[str]:
    """The names of the machines that steps are about, each once."""
    yield from dict.fromkeys(step.machine for step in steps)
