"""The `memhub` command.

Only what the command line itself needs is imported here: each command is a module of its own,
loaded when it is asked for, and imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from memhub.cli.commands import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Sequence

_USAGE = 2
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its name and arguments; those of the process if None.

    Returns:
        the exit code: 0, 1 if something wrong was found or refused, 2 for wrong usage, a
        faulty configuration or an unreadable file.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _reader_left()
    except Exception as error:
        from memhub.cli.failures import explain_failure

        told = explain_failure(error)
        if told is None:
            raise

        code, lines = told
        sys.stdout.flush()
        for line in lines:
            print(f"memhub: {line}", file=sys.stderr)

        return code


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0].startswith("-") or arguments[0] not in COMMANDS:
        return _overview(arguments)

    name = arguments[0]
    module = import_module(f"memhub.cli.{COMMANDS[name].module}")
    parser = argparse.ArgumentParser(
        prog=f"memhub {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    code = module.command(parser, arguments[1:])
    sys.stdout.flush()

    return int(code)


def _overview(arguments: list[str]) -> int:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {it.summary}" for name, it in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="memhub",
        description="FreeBSD's /dev/mem and /dev/kmem as an async multiplexer.",
        epilog=f"commands:\n{rows}\n\n'memhub COMMAND --help' says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="one of those below")
    known, _ = parser.parse_known_args(arguments)
    if known.version:
        from memhub.cli.version import version

        print(f"memhub {version()}")
        return 0

    if known.command is not None:
        parser.error(f"there is no command {known.command!r}; there are {', '.join(COMMANDS)}")

    parser.print_help(sys.stderr)

    return _USAGE


def _reader_left() -> int:
    """Nobody reads the output any more; keep the interpreter from flushing it once again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return 1
