"""Verify an audit log and its seals, show its records, ask it what was, or draw it.

A log is a file, a folder of segments, a pipe, or - for standard input; files may be compressed with
gzip or zstd.

exit codes: 0, 1 if the chain or a seal is broken (state, diff, blame: before the moment), a proof
does not hold (check), no machine has a type for the address (blame) or something was found (lint),
2 if the log cannot be read, a line is not a record, an argument is wrong, or the extra
memhub[analysis] or memhub[report] is missing where it is needed
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from memhub.cli.amounts import whole_number
from memhub.cli.audit.following import add_tail_verb, run_tail_verb
from memhub.cli.audit.pictures import PICTURES, add_picture_verbs, run_picture_verb
from memhub.cli.audit.questions import QUESTIONS, add_question_verbs, run_question_verb
from memhub.cli.audit.record_view import keep_last, print_lines, print_records
from memhub.cli.audit.restoring import add_restoring_verb, run_restoring_verb
from memhub.cli.audit.sealing import add_sealing_verbs, run_sealing_verb
from memhub.cli.audit.selecting import NamesMet, add_selection_arguments, selection_of
from memhub.cli.audit.shipping import add_shipping_verbs, run_shipping_verb
from memhub.cli.audit.travel import add_travel_verbs, run_travel_verb
from memhub.cli.failures import CommandFailed
from memhub.cli.keys import add_key_argument, parse_verifier_keys

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from memhub.audit import Summary, Verdict
    from memhub.cli.audit.record_view import Found

#: Names of each kind that a summary shows, and records that an option can ask for.
_NAMES: Final = 20
_MOST: Final = (1 << 63) - 1


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub audit`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("verify", help="check the hash chain and say where it breaks")
    check.add_argument("--head", metavar="HEX", help="hash of a record that must be in the chain")
    check.add_argument(
        "--jobs", type=whole_number(1, 256), metavar="N", help="processes; else as many as cores"
    )
    add_key_argument(check)
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
    add_sealing_verbs(verbs)
    add_restoring_verb(verbs)
    add_question_verbs(verbs)
    add_tail_verb(verbs)
    add_shipping_verbs(verbs)
    add_picture_verbs(verbs)
    chosen = parser.parse_args(arguments)
    run: dict[str, Callable[[argparse.Namespace], int]] = {
        "verify": _verify,
        "summary": _summary,
        "show": _show,
        "restore": run_restoring_verb,
        "tail": run_tail_verb,
        **dict.fromkeys(("keygen", "prove", "check"), run_sealing_verb),
        **dict.fromkeys(QUESTIONS, run_question_verb),
        **dict.fromkeys(PICTURES, run_picture_verb),
        **dict.fromkeys(("export", "lnav-format"), run_shipping_verb),
    }

    return run.get(chosen.verb, run_travel_verb)(chosen)


def _verify(chosen: argparse.Namespace) -> int:
    from memhub.audit import verify
    from memhub.audit.reading.segments import choose_jobs
    from memhub.audit.verifying.verify import parse_hash
    from memhub.cli.terminal import late_progress, print_json

    try:
        head = None if chosen.head is None else parse_hash(chosen.head)
    except ValueError as error:
        raise CommandFailed(f"--head: {error}") from error

    with late_progress("verify") as tell:
        keys = parse_verifier_keys(chosen.key)
        jobs = choose_jobs(chosen.file, chosen.jobs)
        verdict = verify(chosen.file, head=head, keys=keys, jobs=jobs, progress=tell)

    if chosen.json:
        print_json({"ok": verdict.ok, **asdict(verdict)})
    else:
        _print_verdict(verdict)

    return 0 if verdict.ok else 1


def _print_verdict(verdict: Verdict) -> None:
    from memhub.audit.reading.damage import count_text
    from memhub.cli.terminal import print_line

    records = count_text(verdict.records, "record")
    if verdict.broken is None:
        print_line(f"{verdict.path}: {records} verified, head {verdict.head}")
        if verdict.sealed_by is not None:
            seals = f"{count_text(verdict.seals, 'seal')} hold{'s' * (verdict.seals == 1)}"
            sealed = f"{seals}, the last over {count_text(verdict.sealed, 'record')}"
            print_line(f"{verdict.path}: {sealed}")
    else:
        print_line(f"{verdict.path}: broken after {records}: {verdict.broken}")
        print_line(f"{verdict.path}: damage: {verdict.broken.damage}")

    for note in verdict.notes:
        print_line(f"{verdict.path}: {note}")


def _summary(chosen: argparse.Namespace) -> int:
    from memhub.audit import summary
    from memhub.cli.terminal import late_progress, print_json

    with late_progress("read") as tell:
        total = summary(chosen.file, selection_of(chosen), progress=tell)

    if chosen.json:
        counts = {name: getattr(total, name) for name in total.__slots__}
        print_json({name: dict(it) if isinstance(it, dict) else it for name, it in counts.items()})
    else:
        name = "standard input" if chosen.file == "-" else chosen.file
        _print_summary(name, total, None if chosen.all else _NAMES)

    return 0


def _print_summary(path: str, total: Summary, most: int | None) -> None:
    from memhub.audit.reading.damage import count_text
    from memhub.cli.terminal import print_line

    length = duration((total.last_ns or 0) - (total.first_ns or 0))
    records = count_text(total.records, "record")
    print_line(f"{path}: {records} over {length}, {total.refused} refused")
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
    import sys
    from itertools import islice

    from memhub.audit import read_lines
    from memhub.cli.terminal import complain, late_progress

    selection, met = selection_of(chosen), NamesMet(chosen)
    show = print_lines if chosen.json else print_records
    # a bar and the records would be in each other's way on one terminal
    quiet = chosen.tail is None and sys.stdout.isatty()
    with late_progress("read") as tell:
        lines = read_lines(chosen.file, typed=True, progress=None if quiet else tell)
        found: Iterator[Found] = met.select(lines, selection)
        if chosen.tail is None:
            show(islice(found, chosen.limit))
        else:
            found = keep_last(found, chosen.tail, f"--tail {chosen.tail}")

    if chosen.tail is not None:
        show(found)

    if not met.selected:
        complain(str(met))

    return 0
