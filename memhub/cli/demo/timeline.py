"""What happened, from the audit log: one line for each event that changes or refuses something."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.amounts import extent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from memhub.cli.demo.clients import Observation

    Record = Mapping[str, Any]

#: The closes that get a line, by cause.
_CLOSE_WORDS: Final = {"disconnect": "crashes: its claims end"}
_CLOSES: Final = frozenset(_CLOSE_WORDS)


@dataclass(frozen=True, slots=True)
class Line:
    """One event.

    Attributes:
        mono_ns: when, from the beginning.
        machine: on which machine.
        process: which client.
        what: what it did.
        result: `ok`, an errno, or a word for what is neither.
        why: the reason of a refusal, or empty.
        refused: whether it is one.
    """

    mono_ns: int
    machine: str
    process: str
    what: str
    result: str
    why: str = ""
    refused: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def make_timeline(records: Iterable[Record], observations: Iterable[Observation]) -> list[Line]:
    """Make the lines, in the order of effect; plain reads and opens have none.

    A close stands before what it caused.
    """
    seen = [Line(it.mono_ns, it.machine, it.process, it.text, "seen") for it in observations]
    lines = [*seen, *_make_lines(records)]

    return sorted(lines, key=lambda line: (line.mono_ns, line.result not in _CLOSES))


def first_of_each_kind(lines: Iterable[Line]) -> list[Line]:
    """The first line of each kind of result, and of each that took time."""
    seen: dict[tuple[str, bool], Line] = {}
    for line in lines:
        seen.setdefault((line.result.split()[0], "(" in line.result), line)

    return list(seen.values())


def _make_lines(records: Iterable[Record]) -> Iterator[Line]:
    for _, group in groupby(records, key=_group_key):
        records = list(group)
        record = records[0]
        described = _describe_records(records)
        if described is not None:
            what, result = described
            refused = record.get("errno") is not None
            result = record["errno"] if refused else result
            yield Line(
                mono_ns=record["mono_ns"],
                machine=record.get("machine") or str(record.get("device", "")).partition(":")[0],
                process=record.get("process") or "",
                what=what,
                result=result + _show_duration(record),
                why=(record.get("reason") or "") if refused else "",
                refused=refused,
            )


def _group_key(record: Record) -> Any:  # noqa: ANN401 - any key will do
    """The undone slots of one close make one line; every other record is by itself."""
    if record["event"] == "undo":
        return record["event"], record["process_id"], record["mono_ns"]

    return record["seq"]


def _show_duration(record: Record) -> str:
    """How long a commit or a wait took; empty for what took no time."""
    took = record.get("duration_ns") or 0

    return f" ({took / 1e6:.1f} ms)" if took else ""


def _describe_records(records: list[Record]) -> tuple[str, str] | None:
    record, where = records[0], ""
    event = record["event"]
    if record.get("base") is not None and record.get("length") is not None:
        where = extent(record["base"], record["length"])

    if event == "request.set":
        attributes = "".join(f" {word}" for word in record.get("attributes") or ())
        verb = "set" if record["op"] == "update" else "clear"
        return f"{verb} {where}{attributes}", "ok"

    if event in ("request.open", "request.read", "request.write"):
        what = "open for writing" if event == "request.open" else f"{record['op']} {where}"
        return (what, "") if record.get("errno") else None

    if event == "wait.begin":
        return f"waits for {record.get('holder')}: {where}", "waits"

    if event == "undo":
        slots = sorted(slot for it in records for slot in it["slots"])
        return f"slots {slots[0]} to {slots[-1]} are put back", "undone"

    return _describe_end(record, where)


def _describe_end(record: Record, where: str) -> tuple[str, str] | None:
    event = record["event"]
    if event == "claim.take":
        return f"claims {where}", "ok"

    if event == "claim.expire":
        return f"its lease of {where} runs out", "free"

    if event == "claim.release":
        return f"releases {where}", "free"

    if event == "request.close" and record["cause"] in _CLOSE_WORDS:
        return _CLOSE_WORDS[record["cause"]], record["cause"]

    return None
