"""The requests of an audit log, as a script, whatever was answered; and what is left out.

They are each MEMRANGE_SET and each call to another kernel that asks for a range: a write to
`/proc/mtrr`, an MTRRIOC ioctl, NetBSD's `set`, and what drivers add and delete. What changed ranges
in another way is no request of a script: a close that gives back, a sleep, a return to a snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from memhub.audit.reading.reader import read_records
from memhub.compare.log_calls import LeftOut, plain_line, requests_of_call
from memhub.compare.script import (
    REQUESTS_MAX,
    Request,
    ScriptError,
    checked,
    clear_text,
    set_text,
)
from memhub.kernels import load_kernels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.compare.log_calls import LineOf
    from memhub.plugin.kernels import KernelProfile

#: How many kinds of what is left out a message names.
_NAMED: Final = 10
#: What changes ranges and is asked of no kernel, by the event.
_OTHERS: Final[Mapping[str, str]] = {
    "undo": "a range put back at a close",
    "device.restore": "a return to a snapshot or to the start",
    "hardware.sicken": "a sickness of the hardware",
    "hardware.cure": "a sickness of the hardware",
    "hardware.reinit": "registers that were stored again",
    "hardware.store": "registers that were stored again",
    "hardware.resume": "a resume",
}


class Omission(NamedTuple):
    """What a log has and a script cannot say.

    Attributes:
        what: one of them, in words.
        times: how many there are.
        first: the number of the first record.
    """

    what: str
    times: int
    first: int


class LogScript(NamedTuple):
    """The requests of a log.

    Attributes:
        requests: in order.
        left_out: what is not among them, or not as the log's machine had it, in the order of the
            first record.
    """

    requests: tuple[Request, ...]
    left_out: tuple[Omission, ...]


def read_log(path: str, *, machine: str | None = None) -> LogScript:
    """Read the requests of a log.

    Args:
        path: the log, as `memhub audit` takes it.
        machine: the machine whose requests they are; None where the log has one.

    Raises:
        ScriptError: the log has no or too many requests, or those of several machines.
        AuditError: it cannot be read.
    """
    found: dict[str, list[Request]] = {}
    omissions: dict[str, dict[str, Omission]] = {}
    lines: dict[str, LineOf] = {}
    kernels = load_kernels().kernels
    for row in read_records(path, typed=True):
        name = row.get("machine")
        if name is None or machine not in (None, name):
            continue

        if row.get("config") is not None:
            lines[name] = _line_reader(row["config"], kernels)

        try:
            told = _requests_of(row, lines.get(name, plain_line))
        except LeftOut as left:
            told = (left,)

        for it in told:
            if isinstance(it, LeftOut):
                _note(omissions.setdefault(name, {}), str(it), row["seq"])

        if requests := [it for it in told if isinstance(it, Request)]:
            of_machine = found.setdefault(name, [])
            of_machine += requests
            if len(of_machine) > REQUESTS_MAX:
                raise ScriptError(f"{path} has more than {REQUESTS_MAX} requests for ranges")

    if len(found) > 1:
        names = ", ".join(sorted(found))
        raise ScriptError(f"{path} has requests to {names}: say whose with --log-machine")

    if not found:
        raise ScriptError(_no_requests(path, machine, omissions))

    ((name, requests_of_one),) = found.items()

    return LogScript(checked(requests_of_one), tuple(omissions.get(name, {}).values()))


def _line_reader(config: str, kernels: Mapping[str, KernelProfile]) -> LineOf:
    """What the kernel of a described machine reads of a write to `/proc/mtrr`."""
    try:
        facts = orjson.loads(config)
    except ValueError:
        facts = None

    name = facts.get("runs") if isinstance(facts, dict) else None
    profile = kernels.get(name) if isinstance(name, str) else None

    return plain_line if profile is None or profile.line_of is None else profile.line_of


def _no_requests(
    path: str, machine: str | None, omissions: Mapping[str, Mapping[str, Omission]]
) -> str:
    whose = "" if machine is None else f" to {machine!r}"
    left = sorted({it.what for notes in omissions.values() for it in notes.values()})
    shown = [*left[:_NAMED], f"{len(left) - _NAMED} more"] if len(left) > _NAMED else left
    beside = f"; it has {', '.join(shown)}" if left else ""

    return f"{path} has no requests for ranges{whose}{beside}"


def _note(notes: dict[str, Omission], what: str, seq: int) -> None:
    times, first = notes[what][1:] if what in notes else (0, seq)
    notes[what] = Omission(what, times + 1, first)


def _requests_of(row: dict[str, Any], line_of: LineOf) -> tuple[Request | LeftOut, ...]:
    event = row["event"]
    if event == "kernel.call":
        return requests_of_call(row, line_of)

    if event in _OTHERS:
        raise LeftOut(_OTHERS[event])

    if event != "request.set":
        return ()

    if row.get("op") not in ("update", "remove"):
        raise LeftOut("a MEMRANGE_SET that is neither update nor remove")

    if row.get("holder") is not None:
        return _request_of(row), LeftOut("that a claim refused what is asked here")

    return (_request_of(row),)


def _request_of(row: dict[str, Any]) -> Request:
    base, length, flags = row.get("base"), row.get("length"), row.get("flags")
    if base is None or length is None or flags is None:
        raise ScriptError(f"record {row['seq']} is of a request and lacks its range")

    source = row["seq"]
    if row["op"] == "remove":
        return Request(clear_text(base, length), True, base, length, source=source)

    owner = row.get("owner") or ""

    return Request(set_text(base, length, flags), False, base, length, flags, owner, source=source)
