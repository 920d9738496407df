"""The parser of the whole command line, made without running any command.

A command adds all of its options before it calls `parser.parse_args`. So it can be called with a
parser that stops there.
"""

from __future__ import annotations

from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.commands import ABOUT, COMMANDS
from memhub.cli.usage import CommandParser

if TYPE_CHECKING:
    from argparse import Action
    from collections.abc import Iterator
    from typing import NoReturn

#: How the help calls an argument that is a file, and one that is a folder.
_FILES: Final = frozenset(
    {
        "A B|LOG2",
        "CONFIG",
        "FILE",
        "FILE|URL",
        "KEY",
        "LOG",
        "MAP",
        "PATH",
        "PROOF",
        "SOCKET",
        "SOURCE",
    }
)
_FOLDERS: Final = frozenset({"DIR", "FOLDER"})


class _AllOptionsAdded(Exception):
    """Raised in place of parsing."""


class _UnusedParser(CommandParser):
    """Takes the options of a command, and stops the command where it would parse."""

    def parse_args(self, *_arguments: Any, **_options: Any) -> NoReturn:  # noqa: ANN401
        raise _AllOptionsAdded


def make_parser() -> CommandParser:
    """The parser of `memhub` with that of each command, and of each verb of a command, below it.

    Returns:
        a parser to be looked at; `memhub.cli.main` parses with those of the commands alone.
    """
    root = CommandParser("memhub", description=ABOUT)
    root.add_argument("--version", action="store_true", help="print the version and stop")
    below = root.add_subparsers(dest="command", metavar="COMMAND", parser_class=_UnusedParser)
    for name, row in COMMANDS.items():
        module = import_module(f"memhub.cli.{row.module}")
        parser = below.add_parser(name, help=row.summary, description=module.__doc__)
        try:
            module.command(parser, [])
        except _AllOptionsAdded:
            continue

        raise AssertionError(f"memhub {name} does not parse its arguments")

    return root


def parsers_below(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    """The parsers of a parser's commands or verbs, by name; empty where it has none."""
    for action in _actions(parser):
        if isinstance(action.choices, dict):
            return {
                name: it for name, it in action.choices.items() if isinstance(it, ArgumentParser)
            }

    return {}


def file_arguments(parser: ArgumentParser) -> Iterator[tuple[Action, bool]]:
    """The arguments that name a file or a folder, of a parser and all below it.

    Yields:
        the argument, and whether it names a folder.
    """
    for action in _actions(parser):
        if action.metavar in _FILES:
            yield action, False
        elif action.metavar in _FOLDERS or action.type is Path:
            yield action, True

    for below in parsers_below(parser).values():
        yield from file_arguments(below)


def _actions(parser: ArgumentParser) -> list[Action]:
    """What the parser takes; argparse has no public name for it, and extensions use this one."""
    return parser._actions  # noqa: SLF001
