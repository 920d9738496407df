"""The last records of a log, and those that follow: `memhub audit tail`."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.amounts import whole_number
from memhub.cli.audit.record_view import keep_last, print_lines, print_records
from memhub.cli.audit.selecting import add_selection_arguments, selection_of
from memhub.cli.failures import CommandFailed
from memhub.cli.terminal import complain
from memhub.cli.waiting import ended_by_sigterm, wait_for_more

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from memhub.audit import Selection
    from memhub.cli.audit.record_view import Found
    from memhub.shipping.places import Place

_MOST: Final = (1 << 63) - 1


def add_tail_verb(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb that `run_tail_verb` runs."""
    tail = verbs.add_parser("tail", help="the last records, and with -f those that follow")
    tail.add_argument("file", metavar="LOG", help="the log")
    tail.add_argument(
        "-f", "--follow", action="store_true", help="go on with what is written, over rotations"
    )
    tail.add_argument(
        "-n",
        "--lines",
        type=whole_number(0, _MOST),
        default=10,
        metavar="N",
        help="how many of the records that are there (10)",
    )
    tail.add_argument("--json", action="store_true", help="the lines as they are in the log")
    add_selection_arguments(tail)


def run_tail_verb(chosen: argparse.Namespace) -> int:
    """Run `tail`."""
    from memhub.shipping.failure import ShippingFailed

    selection = selection_of(chosen)
    show = print_lines if chosen.json else print_records
    if is_read_once(chosen.file):
        if chosen.follow:
            raise CommandFailed(f"{chosen.file} cannot be followed: it is not a file or a folder")

        show(_last_of_pipe(chosen, selection))
        return 0

    try:
        with ended_by_sigterm():
            show(_last_and_following(chosen, selection))
    except ShippingFailed as error:
        raise CommandFailed(f"-n {chosen.lines}: {error}", error.code) from error

    return 0


def is_read_once(path: str) -> bool:
    """Whether a log is a pipe, a device or standard input."""
    from memhub.audit.reading.source import STANDARD_INPUT

    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return path == STANDARD_INPUT

    return path == STANDARD_INPUT or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _last_of_pipe(chosen: argparse.Namespace, selection: Selection) -> Iterator[Found]:
    from memhub.audit import read_lines

    found = (it for it in read_lines(chosen.file, typed=True) if selection.matches(it[1]))

    return keep_last(found, chosen.lines, f"-n {chosen.lines}")


def _last_and_following(chosen: argparse.Namespace, selection: Selection) -> Iterator[Found]:
    from memhub.audit.reading.segments import log_files
    from memhub.shipping.places import find_end, read_last

    log_files(chosen.file)
    end = find_end(chosen.file)
    yield from read_last(chosen.file, end, chosen.lines, selection.matches)
    if chosen.follow:
        yield from _following(chosen.file, end, selection)


def _following(path: str, end: Place | None, selection: Selection) -> Iterator[Found]:
    from memhub.shipping.follow import Follower

    follower = Follower(path, end, complain)
    while True:
        for found in follower.take():
            if selection.matches(found.record):
                yield found.line, found.record

        wait_for_more()
