"""How a command's options are read and its help is laid out."""

from __future__ import annotations

import argparse
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from memhub.cli.terminal import print_line, write

if TYPE_CHECKING:
    from typing import NoReturn

#: Most columns of help, also on a wider terminal.
_WIDEST = 80


class _Layout(argparse.HelpFormatter):
    """Help in 80 columns: paragraphs are filled, a block of indented lines stays as it is."""

    def __init__(self, prog: str) -> None:
        import shutil

        columns = min(shutil.get_terminal_size().columns, _WIDEST)
        super().__init__(prog, width=max(columns - 2, 30))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = [
            block if block.startswith(" ") else textwrap.fill(" ".join(block.split()), width)
            for block in text.strip("\n").split("\n\n")
        ]

        return textwrap.indent("\n\n".join(blocks), indent)


class CommandParser(argparse.ArgumentParser):
    """Reads the options of one command.

    Args:
        prog: the command as it is typed.
        description: what it does, in paragraphs.
        epilog: what follows the options.
    """

    def __init__(
        self,
        prog: str | None = None,
        *,
        description: str | None = None,
        epilog: str | None = None,
        help: str | None = None,  # noqa: A002 - argparse hands it to a sub-command's parser
    ) -> None:
        super().__init__(
            prog=prog,
            description=description or help,
            epilog=epilog,
            formatter_class=_Layout,
            allow_abbrev=False,
        )

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ANN401
        """Where argparse writes help and usage. argparse's own method ignores write errors."""
        if message:
            write(message, sys.stdout if file is None else file)

    def error(self, message: str) -> NoReturn:
        """Exit with the usage and what is wrong; the message quotes what was typed."""
        self.print_usage(sys.stderr)
        print_line(f"{self.prog}: error: {message}", sys.stderr)
        sys.exit(2)
