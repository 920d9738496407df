"""Questions to logs and packed sets: the verbs of `memhub audit` that need the engine."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.amounts import whole_number
from memhub.cli.failures import CommandFailed
from memhub.cli.terminal import complain, late_progress, print_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from memhub.analysis import Analysis
    from memhub.cli.audit.question_table import Column

#: The verbs and their lines in the help.
QUESTIONS: Final = {
    "occupancy": "slots in use over time, and how long ranges were held",
    "contention": "who waited for or was refused because of whom, how long",
    "leaks": "claims that were not given back, ranges left behind",
    "hijacks": "claims broken, and ranges that somebody else changed",
    "flapping": "ranges that are changed again and again",
    "slots": "slots that are wasted: duplicate, shadowed, mergeable",
    "lint": "all that somebody should look into, by rules; for CI",
    "sql": "a SELECT of your own over views of the records",
    "pack": "make or extend a set of Parquet files, verified",
}

_SIDES: Final = ("machine", "owner", "process", "time")
_MEMORY: Final = re.compile(r"[1-9]\d{0,8} ?(KB|MB|GB|TB|KiB|MiB|GiB|TiB)", re.IGNORECASE)
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|min|h)")
_UNITS: Final = {"ms": 1_000_000, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}
_MOST: Final = (1 << 63) - 1


def add_question_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verbs that `run_question_verb` runs."""
    parsers = {name: verbs.add_parser(name, help=text) for name, text in QUESTIONS.items()}
    parsers["sql"].add_argument("query", metavar="QUERY", help="one SELECT; quote it")
    for name, parser in parsers.items():
        parser.add_argument(
            "files", nargs="+", metavar="LOG", help="logs, folders of logs, or packed sets"
        )
        parser.add_argument(
            "--unverified", action="store_true", help="do not check the chains of logs"
        )
        parser.add_argument(
            "--memory", type=_memory, default="1GB", metavar="SIZE", help="of DuckDB: 512MB, 4GB"
        )
        if name not in ("lint", "pack"):
            _add_formats(parser)

    _add_own(parsers)


def _add_formats(parser: argparse.ArgumentParser) -> None:
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--json", action="store_true", help="a list of objects")
    some.add_argument("--csv", action="store_true", help="comma-separated values")
    some.add_argument("--arrow", metavar="FILE", help="write an Arrow IPC file")
    some.add_argument("--parquet", metavar="FILE", help="write a Parquet file")
    parser.add_argument(
        "--limit", type=whole_number(1, _MOST), metavar="N", help="the first N rows"
    )


def _add_own(parsers: dict[str, argparse.ArgumentParser]) -> None:
    """Options of single questions."""
    parsers["occupancy"].add_argument(
        "--by", choices=_SIDES, default="machine", help="what a row is about (machine)"
    )
    flapping = parsers["flapping"]
    flapping.add_argument(
        "--least", type=whole_number(2, 1_000_000), default=4, metavar="N",
        help="changes that make a burst (4)",
    )  # fmt: skip
    flapping.add_argument(
        "--within", type=_duration, default=60 * 10**9, metavar="TIME",
        help="the time in which they fall: 500ms, 10s, 5min (60s)",
    )  # fmt: skip
    parsers["slots"].add_argument(
        "--at", metavar="WHEN", help="after this record, or at this time (the end)"
    )
    lint = parsers["lint"]
    lint.add_argument("--json", action="store_true", help="one object")
    lint.add_argument("--rules", action="store_true", help="list the rules and stop")
    lint.add_argument(
        "--fail-on", choices=("info", "warning", "error", "never"), default="warning",
        help="exit with 1 for findings of this level or worse (warning)",
    )  # fmt: skip
    lint.add_argument(
        "--rule", action="append", default=[], metavar="NAME", help="only this rule; may repeat"
    )
    lint.add_argument(
        "--all", action="store_true", help="every finding, not the first 100 of each rule"
    )
    pack = parsers["pack"]
    pack.add_argument("--out", required=True, metavar="DIR", help="the folder of the set")
    pack.add_argument("--json", action="store_true", help="one object")


def run_question_verb(chosen: argparse.Namespace) -> int:
    """Run one of QUESTIONS.

    Raises:
        CommandFailed: a chain is damaged (1), or the extra is missing, an argument is wrong or a
            query is refused (2).
    """
    from memhub.analysis import AnalysisNotInstalled, QueryRefused
    from memhub.audit import DamagedLog

    special: dict[str, Callable[[argparse.Namespace], int]] = {
        "lint": _lint,
        "sql": _sql,
        "pack": _pack,
    }
    try:
        return special.get(chosen.verb, _ask)(chosen)
    except (AnalysisNotInstalled, QueryRefused) as error:
        raise CommandFailed(str(error)) from error
    except DamagedLog as error:
        raise CommandFailed(str(error), 1) from error


@contextmanager
def _opened(chosen: argparse.Namespace) -> Iterator[Analysis]:
    from memhub.analysis import Analysis

    with (
        late_progress("read") as tell,
        Analysis(
            chosen.files, verified=not chosen.unverified, progress=tell, memory=chosen.memory
        ) as log,
    ):
        for note in log.notes:
            complain(note)

        yield log


def _ask(chosen: argparse.Namespace) -> int:
    from memhub.cli.audit.question_output import write_answer
    from memhub.cli.audit.question_views import COLUMNS

    with _opened(chosen) as log:
        expr = _question(log, chosen)
        if chosen.limit is not None:
            expr = expr.limit(chosen.limit)

        name = f"occupancy {chosen.by}" if chosen.verb == "occupancy" else chosen.verb
        columns: tuple[Column, ...] = COLUMNS[name]
        write_answer(chosen, expr.to_pyarrow(), columns)

    return 0


def _question(log: Analysis, chosen: argparse.Namespace) -> Any:  # noqa: ANN401 - an Ibis table
    if chosen.verb == "occupancy":
        return log.occupancy(chosen.by).expr

    if chosen.verb == "flapping":
        return log.flapping(least=chosen.least, within_ns=chosen.within).expr

    if chosen.verb == "slots":
        from memhub.cli.audit.selecting import moment

        return log.slots(at=None if chosen.at is None else moment("--at", chosen.at)).expr

    return getattr(log, chosen.verb)().expr


def _sql(chosen: argparse.Namespace) -> int:
    from memhub.cli.audit.question_output import write_answer
    from memhub.cli.audit.question_views import columns_of

    if Path(chosen.query).exists():
        raise CommandFailed(f"{chosen.query!r} is a file and no query: QUERY comes before the logs")

    with _opened(chosen) as log:
        found = log.sql(chosen.query)

    if chosen.limit is not None:
        found = found.slice(0, chosen.limit)

    write_answer(chosen, found, columns_of(found))

    return 0


def _lint(chosen: argparse.Namespace) -> int:
    from memhub.analysis.lint import RuleBook, load_rules, run_rules
    from memhub.cli.audit.question_views import lint_facts, print_report, print_rules

    book = load_rules()
    for failure in book.failures:
        complain(str(failure))

    unknown = [name for name in chosen.rule if name not in book.rules]
    if unknown:
        known = ", ".join(book.rules)
        raise CommandFailed(f"there is no rule {unknown[0]!r}; there are {known}")

    if chosen.rules:
        print_rules(book.rules.values())
        return 0

    picked = {name: it for name, it in book.rules.items() if not chosen.rule or name in chosen.rule}
    with _opened(chosen) as log:
        report = run_rules(log, RuleBook(picked), most=_MOST if chosen.all else 100)

    for failure in report.failures:
        complain(str(failure))

    if chosen.json:
        from memhub.cli.terminal import print_json

        print_json(lint_facts(report, (*book.failures, *report.failures)))
    else:
        print_report(report)

    if report.failures:
        return 2  # what such a rule would have found, nobody knows

    return int(chosen.fail_on != "never" and report.reaches(chosen.fail_on, picked))


def _pack(chosen: argparse.Namespace) -> int:
    from dataclasses import asdict

    from memhub.analysis import pack
    from memhub.cli.terminal import print_json

    with late_progress("pack") as tell:
        done = pack(
            chosen.files, chosen.out, verified=not chosen.unverified, progress=tell,
            memory=chosen.memory,
        )  # fmt: skip

    if chosen.json:
        print_json(asdict(done))
        return 0

    for note in done.notes:
        complain(note)

    print_line(
        f"{chosen.out}: {done.added} records added in {done.files} files, {done.already} were there"
    )

    return 0


def _memory(text: str) -> str:
    """A size as DuckDB takes it."""
    if not _MEMORY.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not a size such as 512MB or 4GB")

    return text


def _duration(text: str) -> int:
    """A length of time in nanoseconds."""
    parts = _DURATION.fullmatch(text)
    if parts is None or float(parts[1]) <= 0:
        raise ArgumentTypeError(f"{text!r} is not a length of time such as 500ms, 10s or 5min")

    return round(float(parts[1]) * _UNITS[parts[2]])
