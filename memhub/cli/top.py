"""Show machines, slots, who holds what, who waits for whom and how busy the service is.

Each machine has its address space in one line, by effective type: 64 KiB a cell below 1 MiB, equal
cells below 4 GiB, and above as much in each cell as in all before it. A small letter is a smaller
part of its cell; a line of ^ below tells what is BUSY. Below it stands what is wrong: a machine
that is marked failed, suspended or sick, CPUs that are out of step, injected faults, and how many
hazards a machine has met whose memory is not coherent.

On a terminal the view is updated in place until interrupted; elsewhere each view is printed below
the one before. Where the terminal is too narrow for a table, names in it are folded, and where
that is not enough, each row is a list of its values; no number is cut.
--json prints a report as one line of JSON each time.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from memhub.cli.amounts import DAY
from memhub.cli.failures import CommandFailed
from memhub.cli.target import add_target_arguments, open_target
from memhub.cli.terminal import complain, print_json, print_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from memhub.cli.target import Client
    from memhub.cli.top_tables import Line, Sheet

    Show = Callable[[str, list[Sheet], list[Line]], None]

T = TypeVar("T")

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
        if chosen.json:
            _print_json(lambda: _only_machine(client.report(), chosen.machine), chosen)
        else:
            _watch_report(_Looks(client), chosen)

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


class _Looks:
    """Asks for reports with maps, and for faults, as long as the service has them.

    Args:
        client: a service's, or of machines of a file.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._has = {"maps": True, "faults": True}

    def report(self) -> dict[str, Any]:
        """A report, whose machines have maps where they can."""
        from memhub.service.blocking import BlockingClient

        client = self._client
        if isinstance(client, BlockingClient):
            found = self._try("maps", lambda: client.report("machines,rates,map"))
            return client.report() if found is None else found

        from memhub.maps import describe_map

        report = client.report()
        for row in report["machines"]:
            row.update(describe_map(client.machines[row["machine"]]).facts())

        return report

    def strips(self, report: dict[str, Any]) -> list[Line]:
        """The strips of the machines of a report."""
        from memhub.cli.top_strips import strip_lines
        from memhub.cli.width import width
        from memhub.maps import AddressMap

        machines = report["machines"]
        maps = [AddressMap.of_facts(row) for row in machines if "pieces" in row]
        faults = self._try("faults", self._list_faults) or []

        return list(strip_lines(machines, maps, faults, width()))

    def _list_faults(self) -> list[dict[str, Any]]:
        from memhub.service.blocking import BlockingClient

        if isinstance(self._client, BlockingClient):
            return self._client.list_faults()

        return [it.as_dict() for it in self._client.faults]

    def _try(self, what: str, ask: Callable[[], T]) -> T | None:
        if not self._has[what]:
            return None

        try:
            return ask()
        except OSError as error:
            from memhub.errors import InvalidArgument, NotPermitted, NotSupported

            if not isinstance(error, InvalidArgument | NotPermitted | NotSupported):
                raise

            self._has[what] = False  # an earlier version, or no right
            return None


def _watch_report(looks: _Looks, chosen: argparse.Namespace) -> None:
    from memhub.cli.top_view import headline, sheets

    before: dict[str, Any] | None = None
    with _open_screen(plain=chosen.once) as show:
        while True:
            now = _only_machine(looks.report(), chosen.machine)
            show(headline(now, before), list(sheets(now)), looks.strips(now))
            if chosen.once:
                return

            before = now
            time.sleep(chosen.interval)


@contextmanager
def _open_screen(*, plain: bool) -> Iterator[Show]:
    """Shows one view after the other, with rich's live display where it is installed."""
    from memhub.cli.top_view import lines_of, text
    from memhub.cli.width import width

    live = sys.stdout.isatty() and not plain
    if live:
        try:
            from rich.live import Live
        except ImportError:
            complain("plain text; the extra memhub[cli] adds colour")
        else:
            with Live(auto_refresh=False, screen=True) as display:
                yield lambda title, tables, strips: display.update(
                    _draw_view(lines_of(title, tables, width(), strips)), refresh=True
                )

            return

    before, after = (_CLEAR, "") if live else ("", "" if plain else "\n")
    yield lambda title, tables, strips: print_text(
        text(title, tables, width(), strips), before=before, after=after
    )


def _draw_view(lines: Iterable[Line]) -> Any:  # noqa: ANN401 - rich is optional
    from rich.console import Group
    from rich.text import Text

    return Group(*(Text.assemble(*line, no_wrap=True, overflow="crop") for line in lines))
