"""Verify an audit log's chain, sum it up, or show its records.

FILE is a file, a pipe, or - for standard input, plain or compressed with gzip (with zstd where
Python can read it).

exit codes: 0, 1 if the chain is broken, 2 if the log cannot be read, a line is not a record
(summary and show), or an argument is wrong
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from memhub.cli.failures import CommandFailed

if TYPE_CHECKING:
    import argparse

    from memhub.audit import Summary, Verdict


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub audit`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("verify", help="check the hash chain and say where it breaks")
    check.add_argument("--head", metavar="HEX", help="hash of a record that must be in the chain")
    total = verbs.add_parser("summary", help="count records by event, errno, machine, process")
    show = verbs.add_parser("show", help="one line for each record")
    show.add_argument("--refused", action="store_true", help="only what was refused")
    for verb in (check, total, show):
        verb.add_argument("file", metavar="FILE", help="the log")

    for verb in (check, total):
        verb.add_argument("--json", action="store_true", help="one object")

    chosen = parser.parse_args(arguments)
    if chosen.verb == "verify":
        return _verify(chosen)

    return _summary(chosen) if chosen.verb == "summary" else _show(chosen)


def _verify(chosen: argparse.Namespace) -> int:
    from memhub.audit import verify
    from memhub.audit.verify import parse_hash
    from memhub.cli.terminal import print_json, progress

    try:
        head = None if chosen.head is None else parse_hash(chosen.head)
    except ValueError as error:
        raise CommandFailed(f"--head: {error}") from error

    with progress("verify") as tell:
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

    total = summary(chosen.file)
    if chosen.json:
        counts = {name: getattr(total, name) for name in total.__slots__}
        print_json({name: dict(it) if isinstance(it, dict) else it for name, it in counts.items()})
    else:
        _print_summary("standard input" if chosen.file == "-" else chosen.file, total)

    return 0


def _print_summary(path: str, total: Summary) -> None:
    from memhub.cli.terminal import print_line

    seconds = ((total.last_ns or 0) - (total.first_ns or 0)) / 1e9
    print_line(f"{path}: {total.records} records over {seconds:.3f} s, {total.refused} refused")
    for title, counts in (
        ("events", total.events),
        ("errors", total.errors),
        ("machines", total.machines),
        ("processes", total.processes),
        ("owners", total.owners),
    ):
        for index, (name, count) in enumerate(counts.most_common()):
            print_line(f"  {title if not index else '':<10} {count:>8}  {name}")


def _show(chosen: argparse.Namespace) -> int:
    from memhub.audit import read_records
    from memhub.cli.terminal import Screen

    screen = Screen()
    for record in read_records(chosen.file, typed=True):
        if record.get("errno") is not None:
            screen.line(
                *_spans(record), (f"  {record['errno']}: {record.get('reason') or ''}", "red")
            )
        elif not chosen.refused:
            screen.line(*_spans(record))

    return 0


def _spans(record: dict[str, Any]) -> list[str | tuple[str, str]]:
    from datetime import UTC, datetime

    when = datetime.fromtimestamp(record["wall_ns"] / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    event = record["event"]
    what = record.get("op") or record.get("cause") or ""
    where = [record[key] for key in ("machine", "process") if record.get(key)]
    if record.get("base") is not None and record.get("length") is not None:
        where.append(f"{record['base']:#x}/{record['length']:#x}")

    where += record.get("attributes") or ()

    return [
        (f"{record['seq']:>7} {when}Z ", "dim"),
        (f"{event:<15} ", "bold"),
        f"{what:<8} {' '.join(where)}",
    ]
