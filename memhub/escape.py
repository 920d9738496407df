"""Foreign text made fit to be shown: what a terminal would obey or hide becomes a visible escape.

Owner labels, process names, reasons, certificate subjects and quoted lines are bytes that somebody
else chose. Printed as they are, they could move the cursor, recolour or overwrite a line, answer
for the user, or turn a line round. The log and JSON values keep what was given; what is printed,
and the text of an exception, goes through here.
"""

from __future__ import annotations

TYPE_CHECKING = False  # in place of typing's own, whose import costs more than this module
if TYPE_CHECKING:
    from typing import Final

#: Characters that count as printable but show nothing, so that two names could look the same.
_INVISIBLE: Final = frozenset(
    [
        0x034F,
        0x115F,
        0x1160,
        0x17B4,
        0x17B5,
        0x2800,
        0x3164,
        0xFFA0,
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    ]
)


class EscapedMessage:
    """An exception whose message goes through `escape_controls`; its arguments stay as given.

    Stands before the exception class among the bases. A traceback shows the message too, so a
    message that quotes foreign text is escaped by its class and not by who prints it.
    """

    def __str__(self) -> str:
        return escape_controls(super().__str__())


def escape_controls(text: str) -> str:
    r"""Replace every character that a terminal would obey, or show as nothing.

    Args:
        text: any text, one line of it: line breaks are replaced too.

    Returns:
        the text with C0 and C1 controls, DEL, bidirectional and zero-width characters, line and
        paragraph separators, lone surrogates, unassigned characters and blanks other than the
        space as `\x1b`, `\u202e` or `\U000e0001`. A backslash stays as it is, and so does every
        visible character.
    """
    if text.isascii() and text.isprintable():
        return text

    return "".join([char if is_visible(char) else _escape_code(ord(char)) for char in text])


def escape_json(text: str) -> str:
    r"""Write the same JSON document without a character that a terminal would obey.

    Args:
        text: a JSON document whose strings may hold any character; a TOML document passes
            unchanged, as `to_toml` escapes such characters TOML's way.

    Returns:
        the document; inside its strings such characters are `\u001b` escapes, which stand for
        the same value. The line breaks between its tokens stay.
    """
    return "".join(
        [char if char == "\n" or is_visible(char) else _escape_utf16(char) for char in text]
    )


def is_visible(char: str) -> bool:
    """Whether a terminal shows a character and does nothing else with it."""
    return char.isprintable() and ord(char) not in _INVISIBLE


def _escape_code(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"

    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _escape_utf16(char: str) -> str:
    code = ord(char)
    if code <= 0xFFFF:
        return f"\\u{code:04x}"

    code -= 0x10000

    return f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}"


def say_error(error: BaseException) -> str:
    """What an exception of foreign code says: its class and its text, also where that fails.

    Args:
        error: the exception; its `__str__` may be anybody's.
    """
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001 - a stranger's
        text = f"(its text cannot be made: {type(failure).__name__})"

    return f"{type(error).__name__}: {text}"
