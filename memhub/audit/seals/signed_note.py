"""Signed notes as C2SP's signed-note v1 has them, with Ed25519: a text and who signed it.

A note is a text that ends in a newline, an empty line, and a line for each signature::

    — <name> <base64 of the key's id, 4 bytes, and the signature, 64 bytes>

Signatures of keys that the reader does not know are kept and say nothing. One of a known key that
does not verify refuses the whole note.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from memhub.audit.seals.note_keys import MissingCryptography as MissingCryptography
from memhub.audit.seals.note_keys import SigningKey as SigningKey
from memhub.audit.seals.note_keys import VerifierKey as VerifierKey
from memhub.audit.seals.note_keys import is_key_name
from memhub.audit.seals.note_keys import load_signing_key as load_signing_key
from memhub.audit.seals.note_keys import write_signing_key as write_signing_key
from memhub.audit.seals.seal_text import SealError, decode_base64, decode_text, encode_base64, quote

#: Bytes of a note, as in Go's sumdb/note.
MAX_NOTE: Final = 1_000_000

#: Signature lines of a note, as in Go's sumdb/note.
MAX_SIGNATURES: Final = 100

_DASH: Final = "\N{EM DASH} "


class MalformedNote(SealError):
    """Raised when a text is not a signed note, or cannot become one."""


class NoKnownSignature(SealError):
    """Raised when none of the given keys has signed a note."""


class BadSignature(SealError):
    """Raised when a note carries a known key's signature that is not for its text."""


class SignatureLine(NamedTuple):
    """One signature of a note, not verified.

    Attributes:
        line: the whole line, without its end.
        name: the key's name.
        key_id: the key's id, 32 bits.
        signature: what follows the id.
    """

    line: str
    name: str
    key_id: int
    signature: bytes


class NoteParts(NamedTuple):
    """A well-formed note, not verified.

    Attributes:
        text: with its last newline.
        signatures: at least one, in order.
    """

    text: str
    signatures: tuple[SignatureLine, ...]


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note whose text at least one known key has signed.

    Attributes:
        text: with its last newline.
        verified: the keys whose signatures were verified, each once, in the note's order.
        unverified: the different signature lines of other keys, without their ends.
    """

    text: str
    verified: tuple[VerifierKey, ...]
    unverified: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys that were verified."""
        return tuple(key.name for key in self.verified)


def sign_note(text: str, *keys: SigningKey) -> str:
    """Sign a text.

    Args:
        text: ends in a newline; no control characters but newline.
        keys: one or more, each once.

    Returns:
        the note.

    Raises:
        MalformedNote: the text cannot be a note's, or the number of keys is wrong.
    """
    _require_text(text)
    if not keys:
        raise MalformedNote("a note has at least one signature, and no key is given")

    return _joined(text, [_signature_line(text, key) for key in keys])


def add_signature(note: str, *keys: SigningKey) -> str:
    """Sign a note once more; the different signatures that it has are kept.

    They are not verified.

    Args:
        note: a signed note.
        keys: the keys to add. An older signature of one of them is replaced.

    Returns:
        the note with the new signatures at its end.

    Raises:
        MalformedNote: it is not a note, or would have too many signatures.
    """
    parts = split_note(note)
    added = {(key.name, key.verifier().key_id) for key in keys}
    kept = [it.line for it in parts.signatures if (it.name, it.key_id) not in added]
    new = [_signature_line(parts.text, key) for key in keys]

    return _joined(parts.text, [*dict.fromkeys(kept), *new])


def open_note(note: str | bytes, *keys: VerifierKey) -> OpenedNote:
    """Verify a note.

    Args:
        note: the note, or its bytes.
        keys: those that the reader trusts.

    Returns:
        the text, and who signed it.

    Raises:
        MalformedNote: it is not a signed note, or too large.
        BadSignature: one of the keys has not signed this text, though a line says so.
        NoKnownSignature: none of the keys has signed it.
        SealError: two different keys share a name and an id.
        MissingCryptography: the extra `seal` is not installed.
    """
    known = _by_name_and_id(keys)
    parts = split_note(note)
    message = parts.text.encode()
    verified: dict[VerifierKey, None] = {}
    unverified: dict[str, None] = {}
    for it in parts.signatures:
        key = known.get((it.name, it.key_id))
        if key is None:
            unverified[it.line] = None
        elif key.verify(message, it.signature):
            verified[key] = None
        else:
            raise BadSignature(
                f"the signature of {quote(it.name)} ({it.key_id:08x}) is not for this text"
            )

    if not verified:
        raise NoKnownSignature(_who_signed(parts, keys))

    return OpenedNote(parts.text, tuple(verified), tuple(unverified))


def split_note(note: str | bytes) -> NoteParts:
    """The parts of a note, without verifying anything.

    Raises:
        MalformedNote: it is not a signed note, or too large.
    """
    try:
        whole = decode_text(note, "signed note", MAX_NOTE)
    except SealError as error:
        raise MalformedNote(*error.args) from None

    text, blank, rest = whole.rpartition("\n\n")
    if not blank:
        raise MalformedNote("a signed note has an empty line between its text and its signatures")

    if not rest.endswith("\n"):
        raise MalformedNote("a signed note ends with a signature line and its newline")

    lines = rest.removesuffix("\n").split("\n")
    _require_few(len(lines))

    return NoteParts(f"{text}\n", tuple(map(_parse_signature, lines)))


def _parse_signature(line: str) -> SignatureLine:
    fields = line.split(" ")
    if not line.startswith(_DASH) or len(fields) != 3 or not is_key_name(fields[1]):
        raise MalformedNote(f"{quote(line)} is not a signature line: an em dash, NAME and BASE64")

    data = decode_base64(fields[2])
    if data is None or len(data) < 5:
        raise MalformedNote(f"the signature of {quote(fields[1])} is not base64 of 5 bytes or more")

    return SignatureLine(line, fields[1], int.from_bytes(data[:4], "big"), data[4:])


def _signature_line(text: str, key: SigningKey) -> str:
    key_id = key.verifier().key_id.to_bytes(4, "big")

    return f"{_DASH}{key.name} {encode_base64(key_id + key.sign(text.encode()))}"


def _joined(text: str, lines: list[str]) -> str:
    if len(set(lines)) != len(lines):
        raise MalformedNote("a key signs a note once, and one is given twice")

    _require_few(len(lines))
    note = "\n".join([text, *lines, ""])
    if len(note.encode()) > MAX_NOTE:
        raise MalformedNote(f"a signed note has at most {MAX_NOTE} bytes")

    return note


def _require_text(text: str) -> None:
    try:
        decode_text(text, "note's text", MAX_NOTE)
    except SealError as error:
        raise MalformedNote(*error.args) from None

    if not text.endswith("\n"):
        raise MalformedNote("a note's text ends with a newline, and this one does not")


def _require_few(signatures: int) -> None:
    if signatures > MAX_SIGNATURES:
        raise MalformedNote(f"a note has at most {MAX_SIGNATURES} signatures, not {signatures}")


def _by_name_and_id(keys: tuple[VerifierKey, ...]) -> dict[tuple[str, int], VerifierKey]:
    known: dict[tuple[str, int], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise SealError(f"two different keys are {quote(key.name)} with id {key.key_id:08x}")

    return known


def _who_signed(parts: NoteParts, keys: tuple[VerifierKey, ...]) -> str:
    if not keys:
        return "no key is given to verify the note with"

    signers = list(dict.fromkeys(f"{it.name} ({it.key_id:08x})" for it in parts.signatures))
    wanted = [f"{key.name} ({key.key_id:08x})" for key in keys]

    return f"signed by {_few(signers)}, and not by {_few(wanted)}"


def _few(names: list[str]) -> str:
    shown = ", ".join(map(quote, names[:3]))

    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
