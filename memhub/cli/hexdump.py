"""Show a machine's memory as `hexdump -C` does; repeated lines are one `*`.

exit codes: 0, 1 if it was refused or fewer bytes were read than asked for, 2 for wrong usage
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from memhub.cli.amounts import address, amount
from memhub.cli.failures import CommandFailed
from memhub.cli.pieces import pieces
from memhub.cli.target import add_target_arguments, open_target
from memhub.cli.terminal import output

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

_LINE = 16
_PRINTABLE = range(0x20, 0x7F)


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub hexdump`."""
    add_target_arguments(parser)
    parser.add_argument("-n", dest="length", default="256", metavar="LENGTH", help="bytes (256)")
    parser.add_argument("--device", choices=("mem", "kmem"), default="mem")
    parser.add_argument("address", metavar="ADDRESS", help="the first byte, as 0xf0000")
    chosen = parser.parse_args(arguments)
    base, length = address(chosen.address), amount(chosen.length)
    target = open_target(chosen, "memhub hexdump")
    dump = Dump(base)
    with target.client as client, client.open(target.path(chosen.device), "r") as handle:
        try:
            for piece in pieces(handle, base, length):
                _print_lines(dump.lines(piece))
        finally:
            _print_lines(dump.end())

    if dump.address < base + length:
        raise CommandFailed(
            f"{dump.address - base} of {length} bytes: {dump.address:#x} cannot be read", 1
        )

    return 0


def _print_lines(lines: Iterable[str]) -> None:
    with output():
        sys.stdout.writelines(lines)


class Dump:
    """Bytes that become lines of `hexdump -C`.

    Args:
        base: address of the first byte; lines begin there.

    Attributes:
        address: of the next byte that is not in a line yet.
    """

    def __init__(self, base: int) -> None:
        self.address = base
        self._rest = b""
        self._shown = b""
        self._squeezing = False

    def lines(self, data: bytes) -> Iterator[str]:
        """The lines that more bytes complete."""
        data = self._rest + data
        whole = len(data) - len(data) % _LINE
        self._rest = data[whole:]
        for start in range(0, whole, _LINE):
            yield from self._row_parts(data[start : start + _LINE])

    def _row_parts(self, row: bytes) -> Iterator[str]:
        if row == self._shown:
            if not self._squeezing:
                yield "*\n"

            self._squeezing = True
        else:
            yield line(self.address, row)
            self._shown, self._squeezing = row, False

        self.address += len(row)

    def end(self) -> Iterator[str]:
        """The last lines: the remaining bytes, and the address after them."""
        rest, self._rest = self._rest, b""
        if rest:
            yield line(self.address, rest)
            self.address += len(rest)

        if self._shown or rest:
            yield f"{self.address:08x}\n"


def line(address: int, row: bytes) -> str:
    """One line: the address, up to 16 bytes in two groups, the same as text."""
    left, right = row[:8].hex(" "), row[8:].hex(" ")
    text = "".join(chr(byte) if byte in _PRINTABLE else "." for byte in row)

    return f"{address:08x}  {left:<23}  {right:<23}  |{text}|\n"


def text(base: int, data: Iterable[bytes]) -> str:
    """The whole dump of bytes that begin at `base`."""
    dump = Dump(base)
    lines = [row for piece in data for row in dump.lines(piece)]

    return "".join((*lines, *dump.end()))
