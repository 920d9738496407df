"""The physical address space of machines by effective type, as text or as a picture.

SOURCE is a file of machines, or the name of a real machine that comes with memhub. Without it
the machines are those of a running service (--connect), or of a moment in an audit log (--log).
All machines are shown unless --machine names one. Each piece is a line: the longer its bar, the
larger it is, one cell more for each time that it is four times as large; letters tell the type.

--out writes a figure instead: SVG, or with the extra memhub[report] PNG or PDF.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from memhub.cli.amounts import whole_number
from memhub.cli.failures import CommandFailed
from memhub.cli.target import add_target_arguments, open_target
from memhub.cli.terminal import Screen, print_json, print_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from memhub.audit.history.travel import At, Travel
    from memhub.maps import AddressMap

_MOST_PIECES: Final = 400

#: The endings of figures.
_FORMATS: Final = ("svg", "png", "pdf")


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub map`."""
    _add_arguments(parser)
    chosen = parser.parse_args(arguments)
    _check_source(chosen)
    if chosen.out is not None and chosen.out.rpartition(".")[2].lower() not in _FORMATS:
        known = ", ".join(f".{it}" for it in _FORMATS)
        raise CommandFailed(f"--out {chosen.out!r} ends in none of {known}")

    from memhub.maps.text import PIECES

    maps = _only_machine(_maps_of(chosen), chosen.machine)
    most = PIECES if chosen.pieces is None else chosen.pieces
    if chosen.json:
        print_json([it.facts() for it in maps])
    elif chosen.out is not None:
        _write_figure(maps, chosen.out, most)
    else:
        _print_maps(maps, most)

    return 0


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", nargs="?", metavar="SOURCE", help="a file of machines, or a real machine's name"
    )
    add_target_arguments(parser)
    log = parser.add_argument_group("a moment in an audit log")
    log.add_argument("--log", metavar="LOG", help="the log, its end unless --at says when")
    log.add_argument(
        "--at", metavar="WHEN", help="after this record, or at this time: 2026-01-31T12:00:00 (UTC)"
    )
    log.add_argument("--unverified", action="store_true", help="do not check the chain of the log")
    parser.add_argument(
        "--pieces", type=whole_number(1, _MOST_PIECES), metavar="N",
        help="pieces of a machine shown one by one; the rest is summed up (48)",
    )  # fmt: skip
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--out", metavar="FILE", help="a figure; ends in .svg, .png or .pdf")
    form.add_argument("--json", action="store_true", help="a list of objects")


def _check_source(chosen: argparse.Namespace) -> None:
    given = [chosen.source, chosen.config, chosen.connect, chosen.log]
    if sum(it is not None for it in given) > 1:
        raise CommandFailed("give one of SOURCE, --config, --connect and --log")

    if chosen.log is None and (chosen.at is not None or chosen.unverified):
        option = "--unverified" if chosen.at is None else "--at"
        raise CommandFailed(f"{option} is about a log: name it with --log")


def _maps_of(chosen: argparse.Namespace) -> list[AddressMap]:
    if chosen.log is not None:
        return _log_maps(chosen)

    path = chosen.source or chosen.config
    if path is None:
        return _service_maps(chosen)

    return _file_maps(path) if chosen.config or Path(path).exists() else _real_maps(path)


def _only_machine(maps: list[AddressMap], machine: str | None) -> list[AddressMap]:
    found = [it for it in maps if machine in (None, it.machine)]
    if not found:
        known = ", ".join(it.machine for it in maps) or "none"
        wanted = "no machine" if machine is None else f"no machine {machine!r}"
        raise CommandFailed(f"there is {wanted} (machines: {known})")

    return found


# Where maps come from


def _file_maps(path: str) -> list[AddressMap]:
    """Fresh machines of a configuration."""
    from memhub.arches import load_arches
    from memhub.config import load_config
    from memhub.maps import describe_map
    from memhub.service.local import LocalClient

    arches = load_arches()
    loaded = load_config(path, arches=arches)
    with LocalClient(loaded.machines.values(), arches=arches, faults=loaded.faults) as client:
        return [describe_map(it) for it in client.machines.values()]


def _real_maps(name: str) -> list[AddressMap]:
    """A real machine that comes with memhub."""
    from memhub.machines import load
    from memhub.machines.library import UnknownMachine
    from memhub.maps import map_at_start

    try:
        spec = load(name)
    except UnknownMachine as error:
        raise CommandFailed(f"{name!r} is no file; {error}") from error

    return [map_at_start(spec)]


def _service_maps(chosen: argparse.Namespace) -> list[AddressMap]:
    """The machines of a running service."""
    from memhub.errors import InvalidArgument
    from memhub.maps import AddressMap
    from memhub.service.blocking import BlockingClient

    with open_target(chosen, "memhub map").client as client:
        assert isinstance(client, BlockingClient)
        try:
            rows = client.report("map", chosen.machine or "")["machines"]
        except InvalidArgument as error:
            raise CommandFailed(f"the service has no maps: {error.reason}", 1) from error

    return [AddressMap.of_facts(it) for it in rows]


def _log_maps(chosen: argparse.Namespace) -> list[AddressMap]:
    """The machines of a log at a moment."""
    from memhub.audit import DamagedLog
    from memhub.audit.history.travel import Travel
    from memhub.cli.audit.selecting import moment
    from memhub.cli.terminal import late_progress

    at = None if chosen.at is None else moment("--at", chosen.at)
    try:
        with late_progress("read") as tell:
            travel = Travel(chosen.log, verified=not chosen.unverified, progress=tell)
            return _travelled_maps(travel, at, chosen.machine)
    except DamagedLog as error:
        raise CommandFailed(str(error), 1) from error


def _travelled_maps(travel: Travel, at: At, machine: str | None) -> list[AddressMap]:
    from memhub.maps import describe_map

    with travel.rebuilder() as rebuilder:
        for record in travel.records_until(at, shortly=True):
            travel.apply(rebuilder, record)

        state = travel.state(rebuilder)
        machines = [it for it in rebuilder.machines.values() if machine in (None, it.name)]
        if not machines:
            raise CommandFailed(state.without(machine))

        return [describe_map(it, state.notes_on(it.name)) for it in machines]


# How they are shown


def _print_maps(maps: Iterable[AddressMap], most: int) -> None:
    from memhub.cli.width import width
    from memhub.maps.text import legend_line, map_lines

    screen, shown = Screen(), [*maps]
    for it in shown:
        for spans, hang in map_lines(it, most, width()):
            screen.line(*spans, hang=hang)

        screen.line()

    screen.line(*legend_line(shown))


def _write_figure(maps: list[AddressMap], out: str, most: int) -> None:
    from memhub.cli.audit.pictures import check_folder
    from memhub.cli.file_output import write_output
    from memhub.maps.figure import draw_figure

    check_folder(out)
    svg = draw_figure(maps, most)
    form = out.rpartition(".")[2].lower()
    write_output(out, svg.encode() if form == "svg" else _convert(svg, form))
    names = ", ".join(it.machine for it in maps)
    print_line(f"{out}: {names}")


def _convert(svg: str, form: str) -> bytes:
    try:
        import vl_convert
    except ImportError as error:
        raise CommandFailed(
            f"a {form.upper()} needs vl-convert: pip install 'memhub[report]'; an .svg does not"
        ) from error

    if form == "pdf":
        return bytes(vl_convert.svg_to_pdf(svg))

    return bytes(vl_convert.svg_to_png(svg, scale=_SHARP))


#: Pixels of a PNG for each of the figure's.
_SHARP: Final = 2
