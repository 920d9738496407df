"""Put one sequence of requests to several kernels, and show where they part.

SCRIPT has a request on each line: a command of memcontrol(8) (set -b BASE -l LENGTH TYPE, clear -b
BASE -l LENGTH), or a line for Linux' /proc/mtrr (base=N size=N type=NAME, disable=N). Without one,
and without --log, fifteen well-known requests are put. Each kernel has a machine of its own, and
all that have MTRRs start from the same registers. A kernel is an architecture (i386, openbsd-*) or
one of a plugin (linux-6.18, netbsd-7); with :32 behind it, of 32 bits.

--log takes each MEMRANGE_SET of a log, and of other kernels each write to /proc/mtrr, each MTRRIOC
ioctl, each set of NetBSD, and what drivers add and delete; what else there is is told beside.

exit codes: 0 all answer alike and have the same effective map; 1 some part from the first; 2 wrong
input, or the output could not be written
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.failures import CommandFailed
from memhub.cli.file_output import write_output
from memhub.cli.terminal import print_json, print_line, progress, read_input

if TYPE_CHECKING:
    import argparse

    from memhub.compare import Omission, Outcome, Request
    from memhub.core.spec import MachineSpec

#: Who is compared where nobody says it: FreeBSD's kernels, then the others.
_KERNELS: Final = (
    "i386,amd64-mtrr,amd64,k6,powerpc,dragonfly,openbsd-amd64,openbsd-i386,openbsd-k6,"
    "linux-6.18,linux-2.6.32,netbsd-7"
)


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub compare`."""
    _add_arguments(parser)
    chosen = parser.parse_args(arguments)
    if chosen.script is not None and chosen.log is not None:
        raise CommandFailed("the requests come from SCRIPT or from --log, not from both")

    if chosen.log_machine is not None and chosen.log is None:
        raise CommandFailed("--log-machine says whose requests of --log are meant")

    form = _form_of(chosen.out)
    requests, left_out = _read_requests(chosen)
    outcome = _compare(requests, chosen)
    if chosen.out is not None:
        _draw(outcome, chosen.out, form)
        _tell_left_out(chosen.log, left_out)
    elif chosen.json:
        of_log = {} if chosen.log is None else {"left_out": [it._asdict() for it in left_out]}
        print_json({**outcome.facts(), **of_log})
    else:
        from memhub.compare.table import table_lines

        for line in table_lines(outcome):
            print_line(line, whole=True)

        _tell_left_out(chosen.log, left_out)

    return int(outcome.part)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "script", nargs="?", metavar="SCRIPT", help="the requests; - is standard input"
    )
    parser.add_argument(
        "--kernels", default=_KERNELS, metavar="LIST", help="names or patterns; all for every one"
    )
    parser.add_argument(
        "--machine", metavar="NAME", help="a real machine that comes with memhub (an ordinary one)"
    )
    parser.add_argument("--log", metavar="LOG", help="take the requests of an audit log")
    parser.add_argument("--log-machine", metavar="NAME", help="those to this machine of it")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="one object, with each effective map")
    shown.add_argument("--out", metavar="FILE", help="a picture: ends in .svg, .png or .pdf")


def _form_of(out: str | None) -> str:
    if out is None:
        return ""

    from memhub.compare.picture import FORMATS

    form = Path(out).suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise CommandFailed(f"--out {out}: a picture ends in .{', .'.join(FORMATS)}")

    return form


def _tell_left_out(log: str | None, left_out: tuple[Omission, ...]) -> None:
    if left_out:
        print_line("")
        print_line(f"Left out of {log}, as no kernel is asked it in a script:")

    for what, times, first in left_out:
        print_line(f"  {what}: {times}, first in record {first}", hang=4)


def _read_requests(
    chosen: argparse.Namespace,
) -> tuple[tuple[Request, ...], tuple[Omission, ...]]:
    from memhub.compare import ScriptError, known_script, parse_script, read_log

    if chosen.log is not None:
        try:
            return read_log(chosen.log, machine=chosen.log_machine)
        except ScriptError as error:
            raise CommandFailed(str(error)) from error

    if chosen.script is None:
        return parse_script(known_script()), ()

    name = "standard input" if chosen.script == "-" else chosen.script
    data = read_input() if chosen.script == "-" else Path(chosen.script).read_bytes()
    try:
        return parse_script(data.decode("utf-8", "surrogateescape")), ()
    except ScriptError as error:
        raise CommandFailed(f"{name}: {error}") from error


def _compare(requests: tuple[Request, ...], chosen: argparse.Namespace) -> Outcome:
    from memhub.arches import load_arches
    from memhub.compare import UnknownKernel, choose_kernels, compare
    from memhub.kernels import load_kernels

    names = [it.strip() for it in chosen.kernels.split(",") if it.strip()]
    try:
        kernels = choose_kernels(names, load_arches(), load_kernels())
    except UnknownKernel as error:
        raise CommandFailed(str(error)) from error

    spec = _machine(chosen.machine)
    try:
        with progress("compare") as tell:
            return compare(requests, kernels, spec, tell)
    except ValueError as error:
        raise CommandFailed(f"{spec.name}: {error}") from error


def _machine(name: str | None) -> MachineSpec:
    from memhub.compare import ordinary_machine

    if name is None:
        return ordinary_machine()

    from memhub.machines import load
    from memhub.machines.library import UnknownMachine

    try:
        return load(name)
    except UnknownMachine as error:
        raise CommandFailed(str(error)) from error


def _draw(outcome: Outcome, out: str, form: str) -> None:
    from memhub.analysis.extra import AnalysisNotInstalled
    from memhub.compare.picture import TooMuch, draw

    try:
        picture: Any = draw(outcome, form)
    except (AnalysisNotInstalled, TooMuch) as error:
        raise CommandFailed(str(error)) from error

    write_output(out, picture)
    print_line(f"written to {out}")
