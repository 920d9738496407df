"""Checkpoints as C2SP's tlog-checkpoint has them: whose log, how many leaves, and their root.

The text is the origin, the size and the root's base64, each on a line, then extension lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memhub.audit.seals.merkle import HASH_SIZE
from memhub.audit.seals.seal_text import (
    MAX_COUNT,
    SealError,
    decode_count,
    decode_hash,
    decode_text,
    encode_base64,
    quote,
)
from memhub.audit.seals.signed_note import MAX_NOTE, open_note, sign_note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.audit.seals.signed_note import SigningKey, VerifierKey


class BadCheckpoint(SealError):
    """Raised when a text is not a checkpoint, or values cannot become one."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's tree at one size.

    Args:
        origin: which log: not empty, best like `example.com/bench7`, as its key's name.
        size: leaves of the tree.
        root: the tree's root, 32 bytes.
        extensions: further lines, not empty.

    Raises:
        BadCheckpoint: one of them cannot be written.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_line(self.origin, "origin")
        for line in self.extensions:
            _require_line(line, "extension")

        if not 0 <= self.size <= MAX_COUNT:
            raise BadCheckpoint(f"a checkpoint's size is from 0 to 2^63 - 1, and not {self.size}")

        if len(self.root) != HASH_SIZE:
            raise BadCheckpoint(f"a checkpoint's root has 32 bytes, and not {len(self.root)}")

    def text(self) -> str:
        """The text that is signed."""
        return "\n".join(
            [self.origin, str(self.size), encode_base64(self.root), *self.extensions, ""]
        )

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint that a note's text stands for.

        Raises:
            BadCheckpoint: it does not have the one form that `text` writes.
        """
        _require_text(text, "checkpoint")
        if not text.endswith("\n"):
            raise BadCheckpoint("a checkpoint's text ends with a newline, and this one does not")

        lines = text.removesuffix("\n").split("\n")
        if len(lines) < 3:
            raise BadCheckpoint(f"a checkpoint has three lines or more, and not {len(lines)}")

        origin, size_text, root_text, *extensions = lines
        size = decode_count(size_text)
        if size is None:
            raise BadCheckpoint(
                f"a checkpoint's size is a decimal below 2^63 without leading zeros, "
                f"and not {quote(size_text)}"
            )

        root = decode_hash(root_text)
        if root is None:
            raise BadCheckpoint(
                f"a checkpoint's root is the base64 of 32 bytes, and not {quote(root_text)}"
            )

        return cls(origin, size, root, tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    """The signed note of a checkpoint."""
    return sign_note(checkpoint.text(), key)


def open_checkpoint(note: str | bytes, keys: Iterable[VerifierKey]) -> Checkpoint:
    """The checkpoint of a note that at least one of the keys has signed.

    Raises:
        BadCheckpoint: what was signed is not a checkpoint.
        SealError: the note does not verify; see `open_note`.
    """
    return Checkpoint.parse(open_note(note, *keys).text)


def _require_line(line: str, what: str) -> None:
    _require_text(line, what)
    if not line or "\n" in line:
        raise BadCheckpoint(f"a checkpoint's {what} is one line, not empty, and not {quote(line)}")


def _require_text(text: str, what: str) -> None:
    try:
        decode_text(text, what, MAX_NOTE)
    except SealError as error:
        raise BadCheckpoint(*error.args) from None
