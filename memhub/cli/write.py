"""Write bytes into a machine's memory.

exit codes: 0, 1 if it was refused or fewer bytes were written than given, 2 for wrong usage
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from memhub.cli.amounts import address
from memhub.cli.failures import CommandFailed
from memhub.cli.target import add_target_arguments, open_target
from memhub.cli.terminal import print_line

if TYPE_CHECKING:
    import argparse

_PIECE = 1 << 20


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub write`."""
    add_target_arguments(parser)
    parser.add_argument("--device", choices=("mem", "kmem"), default="mem")
    parser.add_argument("address", metavar="ADDRESS", help="the first byte, as 0xf0000")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--hex", metavar="BYTES", help="as 'de ad be ef' or deadbeef")
    source.add_argument("--file", metavar="FILE", help="the bytes of a file")
    source.add_argument("stdin", nargs="?", choices=("-",), metavar="-", help="standard input's")
    chosen = parser.parse_args(arguments)
    base, data = address(chosen.address), _bytes_to_write(chosen)
    target = open_target(chosen, "memhub write")
    moved = 0
    with target.client as client, client.open(target.path(chosen.device), "w") as handle:
        while moved < len(data):
            count = handle.pwrite(data[moved : moved + _PIECE], base + moved)
            if not count:
                raise CommandFailed(
                    f"{moved} of {len(data)} bytes: {base + moved:#x} cannot be written", 1
                )

            moved += count

    print_line(f"{moved} bytes written at {base:#x}", sys.stderr)

    return 0


def _bytes_to_write(chosen: argparse.Namespace) -> bytes:
    if chosen.hex is not None:
        return parse_hex(chosen.hex)

    if chosen.file is None:
        from memhub.cli.terminal import read_input

        return read_input()

    with open(chosen.file, "rb") as file:  # noqa: PTH123 - pathlib costs more than this may
        return file.read()


def parse_hex(text: str) -> bytes:
    """Read bytes in hex, with or without blanks between them and a 0x before them.

    Raises:
        CommandFailed: the text is not bytes in hex.
    """
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise CommandFailed(
            f"{text!r} is not bytes in hex: two digits each, as 'de ad be ef' or deadbeef"
        ) from None
