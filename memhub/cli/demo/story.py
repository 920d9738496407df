"""What happened, read off the audit log: one line for each thing worth telling."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.demo.words import extent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from memhub.cli.demo.cast import Note

    Record = Mapping[str, Any]

#: Closes that are worth a line: that of a crash.
_CLOSE_WORDS: Final = {"disconnect": "crashes: what it held ends"}
_CLOSES: Final = frozenset(_CLOSE_WORDS)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened.

    Attributes:
        mono_ns: when, from the beginning.
        machine: where.
        process: who.
        what: did what.
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


def story(records: Iterable[Record], notes: Iterable[Note]) -> list[Line]:
    """The lines, in the order of effect; what was merely read or opened is left to the totals.

    Of what a close brings about, the close itself comes first.
    """
    seen = [Line(it.mono_ns, it.machine, it.process, it.text, "note") for it in notes]
    lines = [*seen, *_lines(records)]

    return sorted(lines, key=lambda line: (line.mono_ns, line.result not in _CLOSES))


def highlights(lines: Iterable[Line]) -> list[Line]:
    """The first line of each kind of result, and of each that took time."""
    seen: dict[tuple[str, bool], Line] = {}
    for line in lines:
        seen.setdefault((line.result.split()[0], "(" in line.result), line)

    return list(seen.values())


def _lines(records: Iterable[Record]) -> Iterator[Line]:
    for _, group in groupby(records, key=_kin):
        kin = list(group)
        record = kin[0]
        told = _tell(kin)
        if told is not None:
            what, result = told
            refused = record.get("errno") is not None
            result = record["errno"] if refused else result
            yield Line(
                mono_ns=record["mono_ns"],
                machine=record.get("machine") or str(record.get("device", "")).partition(":")[0],
                process=record.get("process") or "",
                what=what,
                result=result + _after(record),
                why=(record.get("reason") or "") if refused else "",
                refused=refused,
            )


def _kin(record: Record) -> Any:  # noqa: ANN401 - any key will do
    """The undone slots of one close are told together; everything else by itself."""
    if record["event"] == "undo":
        return record["event"], record["process_id"], record["mono_ns"]

    return record["seq"]


def _after(record: Record) -> str:
    """How long it took, where it did: a commit, or a wait."""
    took = record.get("duration_ns") or 0

    return f" ({took / 1e6:.1f} ms)" if took else ""


def _tell(kin: list[Record]) -> tuple[str, str] | None:
    record, where = kin[0], ""
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
        slots = sorted(slot for it in kin for slot in it["slots"])
        return f"slots {slots[0]} to {slots[-1]} go back as they were", "undone"

    return _tell_end(record, where)


def _tell_end(record: Record, where: str) -> tuple[str, str] | None:
    event = record["event"]
    if event == "claim.take":
        return f"claims {where}", "ok"

    if event == "claim.expire":
        return f"its lease of {where} has run out", "free"

    if event == "claim.release":
        return f"lets go of {where}", "free"

    if event == "request.close" and record["cause"] in _CLOSE_WORDS:
        return _CLOSE_WORDS[record["cause"]], record["cause"]

    return None
