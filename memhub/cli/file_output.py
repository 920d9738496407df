"""Where a command writes what it has made: a whole file, or standard output for `-`."""

from __future__ import annotations

import sys

from memhub.cli.failures import CommandFailed
from memhub.cli.terminal import output

#: The name that means standard output.
STANDARD_OUTPUT = "-"


def check_output(name: str, what: str) -> None:
    """Refuse to write bytes to a terminal, before the work that makes them.

    Args:
        name: the file of `--out`.
        what: what would be written, for the message.

    Raises:
        CommandFailed: `-` is a terminal.
    """
    if name == STANDARD_OUTPUT and sys.stdout.isatty():
        raise CommandFailed(f"{what} is not written to a terminal: name a file with --out")


def write_output(name: str, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file, in place of one that is there, or to standard output.

    Args:
        name: the file, a pipe or a device; `-` is standard output.
        data: the content.
        mode: the permissions of a file that is new.

    Raises:
        OSError: it cannot be written, and has not changed.
    """
    from memhub.whole_file import write_whole

    if name != STANDARD_OUTPUT:
        write_whole(name, data, special="write", mode=mode)
        return

    with output():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
