"""Copy a machine's memory to standard output or a file, as it is.

exit codes: 0, 1 if it was refused or fewer bytes were read than asked for, 2 for wrong usage
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from typing import IO, TYPE_CHECKING

from memhub.cli.amounts import address, amount
from memhub.cli.failures import CommandFailed
from memhub.cli.pieces import pieces
from memhub.cli.target import add_target_arguments, open_target
from memhub.cli.terminal import output

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

#: The names of standard output.
_STANDARD = (None, "-")


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub read`."""
    add_target_arguments(parser)
    parser.add_argument("-n", dest="length", default="4096", metavar="LENGTH", help="bytes (4096)")
    parser.add_argument("--device", choices=("mem", "kmem"), default="mem")
    parser.add_argument("-o", dest="output", metavar="FILE", help="the file; - is standard output")
    parser.add_argument("address", metavar="ADDRESS", help="the first byte, as 0xf0000")
    chosen = parser.parse_args(arguments)
    base, length = address(chosen.address), amount(chosen.length)
    if chosen.output is None and sys.stdout.isatty():
        raise CommandFailed(
            "raw bytes are not written to a terminal: name a file with -o, or use hexdump"
        )

    target = open_target(chosen, "memhub read")
    with target.client as client, client.open(target.path(chosen.device), "r") as handle:
        moved = _copy_bytes(pieces(handle, base, length), chosen.output)

    if moved < length:
        raise CommandFailed(f"{moved} of {length} bytes: {base + moved:#x} cannot be read", 1)

    return 0


def _copy_bytes(stream: Iterator[bytes], name: str | None) -> int:
    # The first piece is read before the file is opened, so a refusal leaves an older file alone.
    first = next(stream, b"")
    moved = 0
    with _open_output(name) as out:
        for piece in itertools.chain((first,), stream):
            with output() if name in _STANDARD else _naming(name):
                out.write(piece)

            moved += len(piece)

    return moved


@contextlib.contextmanager
def _open_output(name: str | None) -> Iterator[IO[bytes]]:
    if name in _STANDARD:
        yield sys.stdout.buffer
        with output():
            sys.stdout.buffer.flush()
    else:
        with open(name, "wb") as file:  # noqa: PTH123 - pathlib costs more than this command may
            try:
                yield file
            finally:
                with _naming(name):
                    file.close()


@contextlib.contextmanager
def _naming(name: str | None) -> Iterator[None]:
    """Around writes to a file, whose errors do not say which it is."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from error
