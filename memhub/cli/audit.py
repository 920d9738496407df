"""Verify an audit log's chain, sum it up, show its records, tell what was at a moment, ask it, or
draw it.

A log is a file, a pipe, or - for standard input, plain or compressed with gzip (with zstd where
Python can read it).

exit codes: 0, 1 if the chain is broken (state, diff, blame: before the moment), no machine has a
type for the address (blame) or something was found (lint), 2 if the log cannot be read, a line is
not a record, an argument is wrong, or the extra memhub[analysis] or memhub[report] is missing
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.amounts import extent, whole_number
from memhub.cli.failures import CommandFailed
from memhub.cli.pictures import PICTURES, add_picture_verbs, run_picture_verb
from memhub.cli.questions import QUESTIONS, add_question_verbs, run_question_verb
from memhub.cli.selecting import add_selection_arguments, selection_of
from memhub.cli.travel import add_travel_verbs, run_travel_verb

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from memhub.audit import Summary, Verdict

    #: A line of the log and the record that it holds.
    Found = tuple[bytes, dict[str, Any]]

#: Names of each kind that a summary shows, and records and bytes that `show` keeps at most.
_NAMES: Final = 20
_MOST: Final = (1 << 63) - 1
_MOST_BYTES: Final = 256 << 20


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub audit`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("verify", help="check the hash chain and say where it breaks")
    check.add_argument("--head", metavar="HEX", help="hash of a record that must be in the chain")
    total = verbs.add_parser("summary", help="count records by event, errno, machine, process")
    total.add_argument("--all", action="store_true", help="every name, not the 20 most frequent")
    show = verbs.add_parser("show", help="the records, in order")
    show.add_argument("--json", action="store_true", help="the lines as they are in the log")
    some = show.add_mutually_exclusive_group()
    some.add_argument("--limit", type=whole_number(1, _MOST), metavar="N", help="the first N")
    some.add_argument("--tail", type=whole_number(1, _MOST), metavar="N", help="the last N")
    for verb in (check, total, show):
        verb.add_argument("file", metavar="FILE", help="the log")

    for verb in (check, total):
        verb.add_argument("--json", action="store_true", help="one object")

    for verb in (total, show):
        add_selection_arguments(verb)

    add_travel_verbs(verbs)
    add_question_verbs(verbs)
    add_picture_verbs(verbs)
    chosen = parser.parse_args(arguments)
    run = {"verify": _verify, "summary": _summary, "show": _show}.get(chosen.verb)
    if run is not None:
        return run(chosen)

    if chosen.verb in PICTURES:
        return run_picture_verb(chosen)

    return run_question_verb(chosen) if chosen.verb in QUESTIONS else run_travel_verb(chosen)


def _verify(chosen: argparse.Namespace) -> int:
    from memhub.audit import verify
    from memhub.audit.verify import parse_hash
    from memhub.cli.terminal import late_progress, print_json

    try:
        head = None if chosen.head is None else parse_hash(chosen.head)
    except ValueError as error:
        raise CommandFailed(f"--head: {error}") from error

    with late_progress("verify") as tell:
        verdict = verify(chosen.file, head=head, progress=tell)

    if chosen.json:
        print_json({"ok": verdict.ok, **asdict(verdict)})
    else:
        _print_verdict(verdict)

    return 0 if verdict.ok else 1


def _print_verdict(verdict: Verdict) -> None:
    from memhub.cli.terminal import print_line

    if verdict.broken is None:
        print_line(f"{verdict.path}: {verdict.records} records verified, head {verdict.head}")
    else:
        print_line(f"{verdict.path}: broken after {verdict.records} records: {verdict.broken}")

    for note in verdict.notes:
        print_line(f"{verdict.path}: {note}")


def _summary(chosen: argparse.Namespace) -> int:
    from memhub.audit import summary
    from memhub.cli.terminal import print_json

    total = summary(chosen.file, selection_of(chosen))
    if chosen.json:
        counts = {name: getattr(total, name) for name in total.__slots__}
        print_json({name: dict(it) if isinstance(it, dict) else it for name, it in counts.items()})
    else:
        name = "standard input" if chosen.file == "-" else chosen.file
        _print_summary(name, total, None if chosen.all else _NAMES)

    return 0


def _print_summary(path: str, total: Summary, most: int | None) -> None:
    from memhub.cli.terminal import print_line

    length = duration((total.last_ns or 0) - (total.first_ns or 0))
    print_line(f"{path}: {total.records} records over {length}, {total.refused} refused")
    for title, counts in (
        ("events", total.events),
        ("errors", total.errors),
        ("machines", total.machines),
        ("processes", total.processes),
        ("owners", total.owners),
    ):
        shown = counts.most_common(most)
        rest = counts.total() - sum(count for _, count in shown)
        if rest:
            shown.append((f"of {len(counts) - len(shown)} more: --all", rest))

        for index, (name, count) in enumerate(shown):
            print_line(f"  {title if not index else '':<10} {count:>9}  {name or '-'}", hang=24)


def duration(ns: int) -> str:
    """A length of time in the largest unit that it reaches, and the next one."""
    seconds = ns / 1e9
    for unit, name, smaller, part in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {name} {seconds % unit // smaller:.0f} {part}"

    return f"{seconds:.3f} s"


def _show(chosen: argparse.Namespace) -> int:
    from itertools import islice

    from memhub.audit import read_lines

    selection = selection_of(chosen)
    lines = read_lines(chosen.file, typed=True)
    found: Iterator[Found] = (it for it in lines if selection.matches(it[1]))
    if chosen.tail is not None:
        found = _last(found, chosen.tail)

    show = _print_lines if chosen.json else _print_records
    show(islice(found, chosen.limit))

    return 0


def _last(found: Iterator[Found], count: int) -> Iterator[Found]:
    """The last of the records that were found.

    Raises:
        CommandFailed: they need more memory than this command may use.
    """
    from collections import deque

    from memhub.audit.line import parse_record

    kept: deque[bytes] = deque()
    size = 0
    for line, _ in found:
        kept.append(line)
        size += len(line)
        if len(kept) > count:
            size -= len(kept.popleft())

        if size > _MOST_BYTES:
            raise CommandFailed(
                f"--tail {count}: the records have more than {_MOST_BYTES >> 20} MiB: take fewer"
            )

    return ((line, parse_record(line)) for line in kept)


def _print_lines(found: Iterator[Found]) -> None:
    import sys

    from memhub.cli.terminal import output, print_document

    shown = sys.stdout.isatty()
    for line, _ in found:
        if shown:
            print_document(line.decode())
        else:
            with output():
                sys.stdout.buffer.write(line + b"\n")


def _print_records(found: Iterator[Found]) -> None:
    from datetime import UTC, datetime, timedelta

    from memhub.cli.terminal import Screen

    screen, day = Screen(), ""
    epoch = datetime.fromtimestamp(0, UTC)
    for _, record in found:
        when = epoch + timedelta(microseconds=record["wall_ns"] // 1000)
        if day != (day := f"{when:%Y-%m-%d}"):
            screen.line((f"{day} UTC", "bold"))

        place = f"{record['seq']:>6} {when:%H:%M:%S.%f} "
        screen.line((place, "dim"), *_spans(record), hang=len(place))


def _spans(record: dict[str, Any]) -> Iterator[str | tuple[str, str]]:
    what = record.get("op") or record.get("cause") or ""
    yield f"{record['event']:<13} ", "bold"

    where = [record[key] for key in ("machine", "process") if record.get(key)]
    if record.get("base") is not None and record.get("length") is not None:
        where.append(extent(record["base"], record["length"]))

    yield " ".join((f"{what:<6}", *where, *record.get("attributes", ())))

    if record.get("errno") is not None:
        yield f"  {record['errno']}: {record.get('reason') or ''}", "red"
