"""Addresses and amounts of bytes as people write them."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from memhub.cli.failures import CommandFailed
from memhub.shipping.sentence import extent as extent
from memhub.shipping.sentence import size as size

if TYPE_CHECKING:
    from collections.abc import Callable

_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40}
_LIMIT = 1 << 64

#: The longest time that an option takes, in seconds.
DAY = 86400


def address(text: str) -> int:
    """Read an address: `0xf0000` or `983040`.

    Raises:
        CommandFailed: the text is not an address, or does not fit 64 bits.
    """
    try:
        value = int(text, 0)
    except ValueError:
        value = -1

    if not 0 <= value < _LIMIT:
        raise CommandFailed(
            f"{text!r} is not an address: give it as 0xf0000 or 983040, below 2**64"
        )

    return value


def seconds(text: str) -> float:
    """Read a time in seconds that an option gives: `0.5`, at most a day.

    Raises:
        ArgumentTypeError: the text is not a number from 0 to 86400.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0

    if not 0 <= value <= DAY:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {DAY}")

    return value


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Make the reader of an option's whole number, which refuses those out of bounds."""

    def read(text: str) -> int:
        try:
            value = int(text, 0)
        except ValueError:
            value = least - 1

        if not least <= value <= most:
            raise ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")

        return value

    return read


def amount(text: str) -> int:
    """Read a number of bytes: `4096`, `0x1000`, `64K`, `2M`.

    Raises:
        CommandFailed: the text is not a number of bytes.
    """
    shift = _UNITS.get(text[-1:].lower(), 0)
    try:
        value = int(text[:-1] if shift else text, 0) << shift
    except ValueError:
        value = -1

    if not 0 <= value < _LIMIT:
        raise CommandFailed(f"{text!r} is not a number of bytes: give it as 4096, 0x1000 or 64K")

    return value
