"""The `memhub` command.

Only what the command line itself needs is imported here. Each command is a module, loaded when it
is run, and imports what it needs then.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, TextIO, cast

from memhub.cli.commands import ABOUT, COMMANDS, FINDING
from memhub.cli.terminal import OutputFailed, complain, drop, output, print_line
from memhub.cli.usage import CommandParser

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAILED = 1
_USAGE = 2
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its name and arguments; those of the process if None.

    Returns:
        the exit code: 0, 1 if something wrong was found or refused, 2 for wrong usage, a faulty
        configuration or a file that could not be read or written. Where standard output could not
        be written it is 2 for commands whose 1 is an answer, and 1 for others.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    try:
        code = _run_explained(arguments)
        with output():
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        drop(sys.stdout)
        return _unwritten(arguments)
    except OutputFailed as error:
        drop(sys.stdout)
        print_line(f"memhub: {error}", sys.stderr)
        return _unwritten(arguments)

    return code


def _unwritten(arguments: list[str]) -> int:
    """The exit code of a command whose output nobody has: not 1 where that is an answer."""
    names = {*arguments[:1], " ".join(arguments[:2])}

    return _USAGE if names & FINDING else _FAILED


def _prepare_streams() -> None:
    """Make the standard streams take any text, also where there are few characters.

    Python has None for one that is closed. In its place comes one that fails as the closed one
    would, with EBADF, as it is open in the other direction; what goes to standard error is lost.
    """
    sys.stdin = sys.stdin or _open_null(os.O_WRONLY, "r")
    sys.stdout = sys.stdout or _open_null(os.O_RDONLY, "w")
    sys.stderr = sys.stderr or _open_null(os.O_WRONLY, "w")

    for stream in (sys.stdout, sys.stderr):
        change = getattr(stream, "reconfigure", None)
        if change is not None:
            change(errors="backslashreplace")


def _open_null(flags: int, mode: str) -> TextIO:
    return cast("TextIO", open(os.open(os.devnull, flags), mode, encoding="utf-8"))  # noqa: PTH123 - for good


def _run_explained(arguments: list[str]) -> int:
    try:
        return _run_command(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except (BrokenPipeError, OutputFailed):
        raise
    except Exception as error:
        from memhub.cli.failures import explain_failure

        told = explain_failure(error)
        if told is None:
            raise

        code, lines = told
        for line in lines:
            complain(line)

        return code


def _run_command(arguments: list[str]) -> int:
    if not arguments or arguments[0].startswith("-") or arguments[0] not in COMMANDS:
        return _print_overview(arguments)

    name = arguments[0]
    module = import_module(f"memhub.cli.{COMMANDS[name].module}")
    parser = CommandParser(f"memhub {name}", description=module.__doc__)

    return int(module.command(parser, arguments[1:]))


def _print_overview(arguments: list[str]) -> int:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {it.summary}" for name, it in COMMANDS.items())
    parser = CommandParser(
        "memhub",
        description=ABOUT,
        epilog=f"commands:\n\n{rows}\n\n'memhub COMMAND --help' says more.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of those below")
    known, _ = parser.parse_known_args(arguments)
    if known.version:
        from memhub.cli.version import version

        print_line(f"memhub {version()}")
        return 0

    if known.command is not None:
        parser.error(f"there is no command {known.command!r}; there are {', '.join(COMMANDS)}")

    parser.print_help(sys.stderr)

    return _USAGE
