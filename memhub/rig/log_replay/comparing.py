"""What a log says, against what came when its requests were put again."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from memhub.escape import escape_controls
from memhub.rig.log_replay.steps import OUTCOMES, say_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from memhub.rig.log_replay.player import Told
    from memhub.rig.log_replay.steps import LogRun, LogStep

    Row = Mapping[str, Any]

#: Fields that are compared. Numbers of waits and claims, generations and reasons are not: one
#: difference would change them all from there on.
_ANSWERS: Final = ("errno", "moved")
_TABLES: Final = (
    "slots",
    "after_base",
    "after_length",
    "after_flags",
    "after_owner",
    "msrs",
    "after_msr",
    "cause",
    "answer",
    "printed",
    "changed",
)
#: What names a record that follows by itself.
_KEY: Final = ("event", "machine", "process_id", "base", "length", "op", "cause")
_SHOWN_MAX: Final = 8
#: Characters of a text that a difference shows.
_TEXT_MAX: Final = 200


class LogDifference(NamedTuple):
    """One difference between a log and its replay.

    Attributes:
        seq: the record of the log; for what the log does not have, the one at whose time it came.
        request: what was asked or has followed, in words.
        what: `errno`, `slots`, `register 0x200`, `moved`, `missing`, `more`, …
        expected: what the log says.
        found: what came now.
    """

    seq: int
    request: str
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        told = f"{self.what}: the log says {self.expected}, now {self.found}"

        return escape_controls(f"{self.seq} {self.request}: {told}")


def compare(run: LogRun, told: Sequence[Told], skipped: set[int]) -> Iterator[LogDifference]:
    """Compare what a log says with the records of its replay; slots where the architecture is one.

    Args:
        run: the log.
        told: the records of the replay.
        skipped: the numbers of the steps that were not put.
    """
    by_seq = defaultdict[int, list["Row"]](list)
    for it in told:
        if it.row["event"] != "held.part":
            by_seq[it.seq].append(it.row)

    for step in run.steps:
        if step.seq not in skipped and not step.framing:
            yield from _compare_step(step, by_seq[step.seq])

    yield from _compare_followed(run, by_seq, skipped)


def _compare_step(step: LogStep, rows: list[Row]) -> Iterator[LogDifference]:
    """Compare a step with the record that it led to, which is taken out of `rows`."""
    own = _find_own(step.row, rows)
    if own is None:
        yield LogDifference(step.seq, str(step), "answer", _say(step.row), "nothing")
        return

    rows.remove(own)
    if own["event"] != step.row["event"]:
        yield LogDifference(step.seq, str(step), "answer", _say(step.row), _say(own))
        return

    yield from _compare_rows(step.row, own, str(step))


def _compare_rows(before: Row, now: Row, request: str) -> Iterator[LogDifference]:
    """Compare the same record of both sides."""
    for name in (*_ANSWERS, *_TABLES) if before["arch"] == now["arch"] else _ANSWERS:
        if _value(before, name) != _value(now, name):
            yield LogDifference(before["seq"], request, name, _show(before, name), _show(now, name))


def _find_own(row: Row, rows: list[Row]) -> Row | None:
    """The record of the replay that answers the same request."""
    process = row.get("process_id")
    mine = [it for it in rows if it.get("process_id") == process]
    same = next((it for it in mine if it["event"] == row["event"]), None)
    if same is not None or row["event"] not in {*OUTCOMES, "wait.begin"}:
        return same

    return next((it for it in mine if it["event"] in {*OUTCOMES, "wait.begin"}), None)


def _compare_followed(
    run: LogRun, by_seq: Mapping[int, list[Row]], skipped: set[int]
) -> Iterator[LogDifference]:
    """Compare what followed by itself: each record once on both sides, whenever it came."""
    due = defaultdict[tuple[Any, ...], list["Row"]](list)
    for row in run.followed:
        due[_key(row)].append(row)

    steps = {step.seq: step for step in run.steps}
    for seq, rows in by_seq.items():
        step = steps.get(seq)
        if step is not None and (step.framing or seq in skipped):
            continue

        for row in rows:
            waiting = due[_key(row)]
            if not waiting:
                yield LogDifference(seq, say_request(row), "more", "nothing", _say(row))
                continue

            yield from _compare_rows(waiting.pop(0), row, say_request(row))

    for rows in due.values():
        for row in rows:
            yield LogDifference(row["seq"], say_request(row), "missing", _say(row), "nothing")


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in _KEY)


def _value(row: Row, name: str) -> Any:  # noqa: ANN401 - as a log has it
    value = row.get(name)
    if name == "changed" and value is not None:
        return _without_numbers(orjson.loads(value))

    return (list(value) or None) if isinstance(value, list | tuple) else value


def _without_numbers(changed: dict[str, Any]) -> dict[str, Any]:
    """What a call changed in a kernel; its files are numbered otherwise in a replay."""
    if "files" not in changed:
        return changed

    files = sorted(map(orjson.dumps, changed["files"].values()))

    return {**changed, "files": files}


def _say(row: Row) -> str:
    """What a record came to, in a few words."""
    if row.get("errno") is not None:
        return f"{row['errno']} ({row['reason']})"

    if row["event"] == "wait.begin":
        return "it waits"

    if row["event"] == "commit.begin":
        return "it is on its way to all CPUs"

    if row["event"] in OUTCOMES:
        return "ok"

    return f"{row['event']} ({row['cause']})" if row.get("cause") else str(row["event"])


def _show(row: Row, name: str) -> str:
    if name == "errno":
        return _say(row) if row.get("errno") is not None else "ok"

    value = row.get(name)
    if not isinstance(value, list | tuple):
        text = "nothing" if value is None else str(value)
        return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}…"

    shown = [hex(it) if isinstance(it, int) and name != "slots" else str(it) for it in value]
    more = len(shown) - _SHOWN_MAX

    return f"[{', '.join(shown[:_SHOWN_MAX])}{f', {more} more' if more > 0 else ''}]"
