"""What the texts of seals have in common: their error, and values with exactly one spelling.

Signed texts are compared and verified byte by byte. A second spelling of a value would let two
texts differ that say the same, so each of these readers takes only what its writer writes.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from memhub.escape import EscapedMessage

#: Sizes and places in a tree are below this, as in the other implementations (int64).
MAX_COUNT: Final = (1 << 63) - 1

_DECIMAL: Final = re.compile("0|[1-9][0-9]{0,18}")
_SHOWN: Final = 60


class SealError(EscapedMessage, ValueError):
    """Raised when a key, note, checkpoint or proof cannot be used; the message says why."""


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes | None:
    """The bytes of a base64 text; None for one that `encode_base64` would not have written."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None

    return data if encode_base64(data) == text else None


def decode_hash(text: str) -> bytes | None:
    """The 32 bytes of a hash in base64; None for any other text."""
    data = decode_base64(text) if len(text) == 44 else None

    return data if data is not None and len(data) == 32 else None


def decode_count(text: str) -> int | None:
    """A number up to 2^63 - 1 in ASCII decimals without leading zeros; None for any other text."""
    if not _DECIMAL.fullmatch(text):
        return None

    value = int(text)

    return value if value <= MAX_COUNT else None


def decode_text(given: str | bytes, what: str, limit: int) -> str:
    """The characters of a text that is valid UTF-8 without control characters but newline.

    Args:
        given: the text, or its bytes.
        what: what it should be, for the error.
        limit: bytes that it may have.

    Raises:
        SealError: it is none, or too large.
    """
    if len(given) > limit:
        raise SealError(f"a {what} has at most {limit} bytes, and this one has more")

    try:
        data = given if isinstance(given, bytes) else given.encode()
        text = data.decode()
    except UnicodeError:
        raise SealError(f"a {what} is UTF-8, and this one is not") from None

    if len(data) > limit:
        raise SealError(f"a {what} has at most {limit} bytes, and this one has {len(data)}")

    if found := find_control(text):
        raise SealError(f"a {what} has no control character but newline, and this one has {found}")

    return text


def find_control(text: str) -> str | None:
    """The first ASCII control character that is not a newline, as `U+000D`."""
    found = next((char for char in text if char < " " and char != "\n"), None)

    return None if found is None else f"U+{ord(found):04X}"


def quote(text: str) -> str:
    """A foreign text for a message: its beginning, in quotes."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
