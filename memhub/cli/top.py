"""Show machines, slots, who holds what, who waits for whom and how busy the service is.

On a terminal the view is updated in place until interrupted; elsewhere each view is printed below
the one before.
--json prints a report as one line of JSON each time.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from memhub.cli.amounts import DAY
from memhub.cli.failures import CommandFailed
from memhub.cli.target import add_target_arguments, open_target
from memhub.cli.terminal import complain, print_json, print_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from memhub.cli.top_view import Sheet

    Show = Callable[[str, list[Sheet]], None]

_CLEAR = "\x1b[H\x1b[J"


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub top`."""
    add_target_arguments(parser)
    parser.add_argument(
        "--interval", type=parse_interval, default=1.0, metavar="S", help="seconds (1)"
    )
    parser.add_argument("--once", action="store_true", help="one view, as plain text")
    parser.add_argument("--json", action="store_true", help="reports as lines of JSON")
    chosen = parser.parse_args(arguments)
    target = open_target(chosen, "memhub top")
    with target.client as client:

        def ask() -> dict[str, Any]:
            return _only_machine(client.report(), chosen.machine)

        if chosen.json:
            _print_json(ask, chosen)
        else:
            _watch_report(ask, chosen)

    return 0


def parse_interval(text: str) -> float:
    """Seconds between two views, as an argument."""
    from argparse import ArgumentTypeError

    try:
        seconds = float(text)
    except ValueError:
        seconds = 0

    if not 0 < seconds <= DAY:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds above 0, at most {DAY}")

    return seconds


def _only_machine(report: dict[str, Any], machine: str | None) -> dict[str, Any]:
    if machine is None:
        return report

    rows = [row for row in report["machines"] if row["machine"] == machine]
    if not rows:
        known = ", ".join(row["machine"] for row in report["machines"])
        raise CommandFailed(f"there is no machine {machine!r} that you may see (there are {known})")

    return {**report, "machines": rows}


def _print_json(ask: Callable[[], dict[str, Any]], chosen: argparse.Namespace) -> None:
    while True:
        print_json(ask(), indent=False)
        if chosen.once:
            return

        time.sleep(chosen.interval)


def _watch_report(ask: Callable[[], dict[str, Any]], chosen: argparse.Namespace) -> None:
    from memhub.cli.top_view import headline, sheets

    before: dict[str, Any] | None = None
    with _open_screen(plain=chosen.once) as show:
        while True:
            now = ask()
            show(headline(now, before), list(sheets(now)))
            if chosen.once:
                return

            before = now
            time.sleep(chosen.interval)


@contextmanager
def _open_screen(*, plain: bool) -> Iterator[Show]:
    """Shows one view after the other, with rich's live display where it is installed."""
    from memhub.cli.folding import width
    from memhub.cli.top_view import text

    live = sys.stdout.isatty() and not plain
    if live:
        try:
            from rich.live import Live
        except ImportError:
            complain("plain text; the extra memhub[cli] adds colour")
        else:
            with Live(auto_refresh=False, screen=True) as display:
                yield lambda title, tables: display.update(
                    _draw_tables(title, tables), refresh=True
                )

            return

    before, after = (_CLEAR, "") if live else ("", "" if plain else "\n")
    yield lambda title, tables: print_text(text(title, tables, width()), before=before, after=after)


def _draw_tables(title: str, tables: list[Sheet]) -> Any:  # noqa: ANN401 - rich is optional
    from rich.console import Group
    from rich.table import Column, Table
    from rich.text import Text

    parts: list[Any] = [Text(title, style="bold")]
    for sheet in tables:
        columns = (Column(name, no_wrap=True) for name in sheet.head)
        drawn = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for row in sheet.rows:
            drawn.add_row(*map(Text, row))

        parts += ["", *([Text(sheet.title, style="bold")] if sheet.title else ()), drawn]

    return Group(*parts)
