"""Pictures of logs: the verbs `report` and `plot` of `memhub audit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.cli.amounts import whole_number
from memhub.cli.failures import CommandFailed
from memhub.cli.file_output import STANDARD_OUTPUT, check_output, write_output
from memhub.cli.terminal import complain, late_progress, print_line

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from memhub.analysis import Analysis
    from memhub.analysis.pictures.history import History

#: The verbs and their lines in the help.
PICTURES: Final = {
    "report": "one page with every picture and the records behind it, offline",
    "plot": "one view as an SVG, PNG or PDF file",
}

#: What can be plotted; `memhub.analysis.pictures.figures` draws these, and is slow to import.
VIEWS: Final = ("timeline", "map", "occupancy", "contention", "latency")

_MOST_MARKS: Final = 20_000


def add_picture_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verbs that `run_picture_verb` runs."""
    parsers = {name: verbs.add_parser(name, help=text) for name, text in PICTURES.items()}
    parsers["plot"].add_argument("view", choices=VIEWS, metavar="VIEW", help=", ".join(VIEWS))
    for parser in parsers.values():
        parser.add_argument(
            "files", nargs="+", metavar="LOG", help="logs, folders of logs, or packed sets"
        )
        parser.add_argument(
            "--machine", action="append", default=[], metavar="NAME",
            help="only this machine; may repeat (the 12 with most changes)",
        )  # fmt: skip
        parser.add_argument(
            "--marks", type=whole_number(10, _MOST_MARKS), default=1000, metavar="N",
            help="marks of a kind that a picture draws one by one; it sums up the rest (1000)",
        )  # fmt: skip
        parser.add_argument(
            "--unverified", action="store_true", help="do not check the chains of logs"
        )

    parsers["report"].add_argument(
        "--out", required=True, metavar="FILE", help="report.html; - is standard output"
    )
    plot = parsers["plot"]
    plot.add_argument("--out", required=True, metavar="FILE", help="ends in .svg, .png or .pdf")
    plot.add_argument("--at", metavar="WHEN", help="the map after this record, or at this time")
    plot.add_argument(
        "--width", type=whole_number(300, 4000), default=1000, metavar="PIXELS",
        help="of the part with marks (1000)",
    )  # fmt: skip


def run_picture_verb(chosen: argparse.Namespace) -> int:
    """Run `report` or `plot`.

    Raises:
        CommandFailed: a chain is damaged (1), or an extra is missing, an argument is wrong or
            there is nothing to draw (2).
    """
    from memhub.analysis import AnalysisNotInstalled
    from memhub.analysis.extra import require_package
    from memhub.audit import DamagedLog

    check_output(chosen.out, "a page" if chosen.verb == "report" else "a picture")
    check_folder(chosen.out)
    run = {"report": _report, "plot": _plot}[chosen.verb]
    try:
        for name in ("altair", "vl_convert"):
            require_package(name, "report")

        return run(chosen)
    except AnalysisNotInstalled as error:
        raise CommandFailed(str(error)) from error
    except DamagedLog as error:
        raise CommandFailed(str(error), 1) from error


def _report(chosen: argparse.Namespace) -> int:
    from memhub.analysis.pictures.library import read_library
    from memhub.analysis.pictures.limits import Limits
    from memhub.analysis.pictures.page import write_page
    from memhub.analysis.pictures.report import collect

    with late_progress("read") as tell, _opened(chosen, tell) as log:
        _check_machines(log, chosen.machine)
        title = ", ".join(map(str, chosen.files))
        contents = collect(log, title, Limits(marks=chosen.marks), chosen.machine)

    page = write_page(contents, read_library())
    write_output(chosen.out, page.encode())
    for note in contents.notes:
        complain(note)

    if chosen.out == STANDARD_OUTPUT:
        return 0

    print_line(
        f"{chosen.out}: {len(contents.figures)} pictures, {len(contents.records)} records, "
        f"{len(page) >> 10} KiB"
    )

    return 0


def _plot(chosen: argparse.Namespace) -> int:
    from memhub.analysis.pictures.figures import draw
    from memhub.analysis.pictures.history import History
    from memhub.analysis.pictures.limits import Limits
    from memhub.analysis.pictures.plot import FORMATS, NothingToDraw, plot
    from memhub.cli.audit.selecting import moment

    form = chosen.out.rpartition(".")[2].lower()
    if form not in FORMATS:
        known = ", ".join(f".{it}" for it in FORMATS)
        raise CommandFailed(f"--out {chosen.out!r} ends in none of {known}")

    at = None if chosen.at is None else moment("--at", chosen.at)
    with late_progress("read") as tell, _opened(chosen, tell) as log:
        _check_machines(log, chosen.machine)
        point = None if at is None else _point(log, at)
        history = History(log, Limits(marks=chosen.marks), chosen.machine)
        if point is not None and point[0] < history.axis.first_ns:
            raise CommandFailed(f"--at {chosen.at!r} is before the log begins")

        figures = draw(history, chosen.view)
        signals: dict[str, Any] = {}
        caption = ""
        if chosen.view == "map":
            signals, caption = _moment(history, point, chosen.at)

    try:
        picture = plot(figures, form, width=chosen.width, signals=signals, caption=caption)
    except NothingToDraw as error:
        raise CommandFailed(f"there is nothing to draw: {error}") from error

    write_output(chosen.out, picture)

    return 0


def _opened(chosen: argparse.Namespace, tell: Any) -> Analysis:  # noqa: ANN401 - late_progress's
    from memhub.analysis import Analysis

    return Analysis(chosen.files, verified=not chosen.unverified, progress=tell)


def _check_machines(log: Analysis, names: list[str]) -> None:
    t = log.views.records
    known = t.filter(t.machine.notnull()).machine.to_pyarrow().unique().to_pylist()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise CommandFailed(
            f"the log has no machine {unknown[0]!r} (machines: {', '.join(sorted(known))})"
        )


def check_folder(path: str) -> None:
    """Refuse a file whose folder is not there before a long log is read.

    Raises:
        FileNotFoundError: its folder is not there.
    """
    import errno
    import os
    from pathlib import Path

    if not Path(path).parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _point(log: Analysis, at: int | datetime) -> tuple[int, str, int]:
    """A record's time, log and place, or a time behind everything of that time.

    Raises:
        CommandFailed: no record has the number.
    """
    if not isinstance(at, int):
        return int(at.timestamp() * 1_000_000) * 1000, "\U0010ffff", 0

    t = log.views.records
    rows = t.filter(t.n == at).select("wall_ns", "log").to_pyarrow().to_pylist()
    if not rows:
        raise CommandFailed(f"--at: there is no record {at}")

    return rows[0]["wall_ns"], rows[0]["log"], at


def _moment(
    history: History, point: tuple[int, str, int] | None, at: str
) -> tuple[dict[str, Any], str]:
    """The signals that show a moment, and what is said of it; the end of the log if None.

    Raises:
        CommandFailed: it is before the first change.
    """
    from memhub.analysis.pictures.moments import find_moments

    moments = find_moments(history)
    tick = len(moments.kept) - 1 if point is None else moments.tick(point)
    if point is not None and tick < 0:
        raise CommandFailed(f"--at {at!r} is before the first range of the log")

    facts = moments.facts(history)

    return {"tick": tick}, f"as of {facts[tick]['say']}" if facts else ""
