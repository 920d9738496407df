"""A line for `/proc/mtrr`, read as Linux reads it.

Source: Linux 6.18 `arch/x86/kernel/cpu/mtrr/if.c` (mtrr_write), `lib/vsprintf.c`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

#: The names of types 0 to 6; 2 and 3 are reserved.
LINE_TYPES: Final = (
    "uncachable",
    "write-combining",
    "?",
    "?",
    "write-through",
    "write-protect",
    "write-back",
)
#: The bytes of a line that the kernel looks at.
LINE_MAX: Final = 79

_SPACES: Final = b"\t\n\v\f\r \xa0"
_DISABLE: Final = b"disable="
_U64: Final = (1 << 64) - 1
_PAGE: Final = 4096


class BadLine(ValueError):
    """Raised for a line that the kernel refuses; names the value and the rule."""


class AddLine(NamedTuple):
    """`base=N size=N type=NAME`.

    Attributes:
        base, size: bytes.
        type: the number of the type, as registers have it.
    """

    base: int
    size: int
    type: int


class DisableLine(NamedTuple):
    """`disable=N`.

    Attributes:
        register: a number of 32 bits with a sign; below 0 none is named.
    """

    register: int


def read_line(line: bytes) -> AddLine | DisableLine:
    """Read a line, without what ends it.

    Raises:
        BadLine: the kernel refuses it.
    """
    if line.startswith(_DISABLE):
        register = read_number(line[len(_DISABLE) :])[0] & 0xFFFFFFFF

        return DisableLine(register - ((register >> 31) << 32))

    base, size, rest = read_span(line)
    for number, what in ((base, "base"), (size, "size")):
        if number % _PAGE:
            raise BadLine(f"{what} {number:#x} is no multiple of 4 KiB")

    word = _rest_behind(b"type=", rest).lstrip(_SPACES).decode("latin-1")
    if word not in LINE_TYPES:
        known = ", ".join(it for it in LINE_TYPES if it != "?")
        raise BadLine(f"type {word!r} is none of {known}")

    return AddLine(base, size, LINE_TYPES.index(word))


def read_span(line: bytes) -> tuple[int, int, bytes]:
    """Read `base=N size=N`: both, and what follows.

    Raises:
        BadLine: it does not begin so.
    """
    base, rest = read_number(_rest_behind(b"base=", line))
    size, rest = read_number(_rest_behind(b"size=", rest.lstrip(_SPACES)))

    return base, size, rest.lstrip(_SPACES)


def _rest_behind(word: bytes, text: bytes) -> bytes:
    if not text.startswith(word):
        found = repr(text[:20].decode("latin-1")) if text else "the end"
        form = "base=N size=N type=NAME, or disable=N"
        raise BadLine(f"{word.decode()!r} is expected before {found}: a line is {form}")

    return text[len(word) :]


def read_number(text: bytes) -> tuple[int, bytes]:
    """Read a number as the kernel's simple_strtoull does: it wraps, and ends at a bad character.

    Returns:
        the number, and what follows it.
    """
    base, at, digits = 10, 0, b"0123456789"
    if text[:1] == b"0":
        base, digits = 8, b"01234567"
        if text[1:2] in (b"x", b"X") and text[2:3].lower() in b"0123456789abcdef" and text[2:3]:
            base, at, digits = 16, 2, b"0123456789abcdef"

    number = 0
    while at < len(text) and text[at : at + 1].lower() in digits:
        number = number * base + digits.index(text[at : at + 1].lower()) & _U64
        at += 1

    return number, text[at:]
