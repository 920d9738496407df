"""Which columns of an answer people see, and a lint report for them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.audit.question_table import Column, lasting, number, print_table, span, text, word
from memhub.cli.terminal import Screen, print_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memhub.analysis.lint import LintReport, Rule
    from memhub.arches import PluginFailure

_MACHINE: Final = text("machine", "machine")

#: The columns of each question's table.
COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    "occupancy machine": (
        _MACHINE, number("slots", "slots"), number("least", "least"), number("mean", "mean"),
        number("most", "most"), number("last", "last"), number("changes", "changes"),
        lasting("full for", "full_ns"), lasting("of", "watched_ns"),
    ),
    "occupancy owner": (
        _MACHINE, text("owner", "owner"), number("ranges", "ranges"),
        lasting("held", "held_ns"), lasting("longest", "longest_ns"), number("still", "still"),
    ),
    "occupancy process": (
        _MACHINE, text("process", "process"), number("holdings", "holdings"),
        lasting("held", "held_ns"), lasting("longest", "longest_ns"), number("still", "still"),
    ),
    "occupancy time": (
        _MACHINE, Column("time (UTC)", lambda row: str(row["time"])), number("seq", "seq"),
        number("used", "used"), number("slots", "slots"), lasting("for", "lasted_ns"),
    ),
    "contention": (
        _MACHINE, text("process", "process"), text("holder", "holder"),
        number("refused", "refused"), number("waits", "waited"), number("granted", "granted"),
        number("timed out", "timed_out"), lasting("waited", "wait_ns"),
        lasting("longest", "longest_ns"),
    ),
    "leaks": (
        _MACHINE, word("how", "how"), text("process", "process"), span("range"),
        number("slot", "slot"), lasting("held", "held_ns"),
        number("since", "since_seq"), number("until", "until_seq"),
    ),
    "hijacks": (
        _MACHINE, word("what", "what"), text("whose", "victim"), text("by", "by", "the hub"),
        span("range"), number("slot", "slot"), text("owner", "owner"), number("seq", "seq"),
    ),
    "flapping": (
        _MACHINE, span("range"), number("changes", "changes"), number("bursts", "bursts"),
        lasting("shortest", "shortest_ns"), text("last by", "process"),
        number("of", "processes"), number("last seq", "last_seq"),
    ),
    "slots": (
        _MACHINE, word("why", "why"), number("slot", "slot"), span("range"),
        text("owner", "owner"), number("other", "other_slot"),
        span("its range", "other_base", "other_length"),
    ),
}  # fmt: skip


def columns_of(table: Any) -> tuple[Column, ...]:  # noqa: ANN401 - an Arrow table
    """A column for each of an Arrow table; those of text and lists may be cut."""
    return tuple(_column(field.name, str(field.type)) for field in table.schema)


def _column(name: str, kind: str) -> Column:
    numeric = kind.startswith(("int", "uint", "double", "float", "decimal"))

    return number(name, name) if numeric else text(name, name)


# Lint


def print_rules(rules: Iterable[Rule]) -> None:
    """List the rules."""
    rows = [{"rule": it.name, "level": it.level, "summary": it.summary} for it in rules]
    print_table((text("rule", "rule"), text("level", "level"), text("finding", "summary")), rows)


def print_report(report: LintReport) -> None:
    """Write each finding on a line, and how many there are."""
    screen = Screen()
    told: dict[str, int] = {}
    for it in report.findings:
        told[it.rule] = told.get(it.rule, 0) + 1
        style = {"error": "red", "warning": "yellow", "info": "dim"}[it.level]
        where = " ".join(str(part) for part in (it.machine, it.seq) if part is not None)
        screen.line((f"{it.level:<7} ", style), f"{it.rule} {where}: {it.message}", hang=8)

    for name, count in report.counts.items():
        if count > told.get(name, 0):
            screen.line(f"        {name}: {count - told[name]} more (--all)")

    total = sum(report.counts.values())
    print_line(f"{total} findings of {len(report.counts)} rules")


def lint_facts(report: LintReport, failures: Sequence[PluginFailure]) -> dict[str, Any]:
    """The report as one object."""
    return {
        "findings": [asdict(it) for it in report.findings],
        "counts": dict(report.counts),
        "failures": [str(it) for it in failures],
    }
