"""Addresses and amounts of bytes as people write them."""

from __future__ import annotations

from memhub.cli.failures import CommandFailed

_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40}
_LIMIT = 1 << 64


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
