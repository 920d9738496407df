"""Contents that no file has: a byte, a pattern over and over, or words that hold their address."""

from __future__ import annotations

from typing import Final, Literal

from memhub.arguments import take_buffer, take_integer, wrong_range
from memhub.core.spec import Content

#: Bytes that one pattern may fill; zeros have no limit, since they cost nothing.
PATTERN_MAX: Final = 1 << 30


def fill(base: int, length: int, byte: int = 0) -> Content:
    """A stretch of one byte.

    Args:
        base: first physical byte.
        length: bytes.
        byte: 0 to 255.

    Raises:
        ValueError: no stretch, no byte, or more than PATTERN_MAX bytes that are not zero.
    """
    base, length = _take_span(base, length)
    if not 0 <= take_integer("byte", byte) <= 0xFF:
        raise ValueError(f"fill {byte:#x} is not a byte, 0 to 0xff")

    source = f"fill {byte:#04x}"
    if not byte:
        return Content(base=base, zeros=length, source=source)

    _check_size(length)

    return Content(base=base, data=bytes([byte]) * length, source=source)


def repeat(base: int, length: int, pattern: bytes) -> Content:
    """A stretch of a pattern over and over, cut at its end; errors are those of `fill`."""
    base, length = _take_span(base, length)
    pattern = bytes(take_buffer("pattern", pattern))
    if not pattern:
        raise ValueError("a pattern has at least one byte")

    _check_size(length)
    times = -(-length // len(pattern))
    shown = pattern[:8].hex() + "…" * (len(pattern) > 8)

    return Content(base=base, data=(pattern * times)[:length], source=f"pattern {shown}")


def address_words(
    base: int, length: int, width: int = 8, byteorder: Literal["little", "big"] = "little"
) -> Content:
    """A stretch in which each word holds its own address, so that a misplaced byte is found.

    Args:
        base: first physical byte, a multiple of `width`.
        length: bytes, a multiple of `width`.
        width: bytes of a word: 4 or 8; of 4 the address counts modulo 2^32.
        byteorder: `little` or `big`.

    Raises:
        ValueError: what is no multiple, another width, or more than PATTERN_MAX bytes.
    """
    base, length = _take_span(base, length)
    width = take_integer("width", width)
    if width not in (4, 8):
        raise ValueError(f"words of {width} bytes: an address has 4 or 8")

    if base % width or length % width:
        raise ValueError(f"{base:#x}/{length:#x} is not in whole words of {width} bytes")

    if byteorder not in ("little", "big"):
        raise ValueError(f"byteorder {byteorder!r} is neither 'little' nor 'big'")

    _check_size(length)
    import numpy as np

    kind = f"{'<' if byteorder == 'little' else '>'}u{width}"
    words = np.arange(length // width, dtype=np.uint64) * np.uint64(width) + np.uint64(base)

    return Content(base=base, data=words.astype(kind).tobytes(), source=f"address words of {width}")


def _take_span(base: int, length: int) -> tuple[int, int]:
    base, length = take_integer("base", base), take_integer("length", length)
    if reason := wrong_range(base, length):
        raise ValueError(reason)

    return base, length


def _check_size(length: int) -> None:
    if length > PATTERN_MAX:
        raise ValueError(f"length {length:#x} is more than a pattern fills, {PATTERN_MAX:#x} bytes")
