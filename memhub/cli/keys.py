"""Keys of the audit log's seals, as arguments and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from memhub.cli.failures import CommandFailed

if TYPE_CHECKING:
    from memhub.audit.note_keys import SigningKey, VerifierKey


def read_key(path: Path) -> SigningKey:
    """Read the key that seals a log.

    Raises:
        AuditError: the file cannot be read, others may read it, or it holds no key.
        CommandFailed: what checks signatures is not installed.
    """
    from memhub.audit.note_keys import MissingCryptography, load_signing_key

    try:
        return load_signing_key(path)
    except MissingCryptography as error:
        raise CommandFailed(str(error)) from error


def parse_verifier_keys(texts: list[str]) -> list[VerifierKey]:
    """Take verifier keys from the command line: `NAME+ID+KEY`, or a file with one.

    Raises:
        CommandFailed: one is neither.
    """
    return [_parse_verifier_key(text) for text in texts]


def _parse_verifier_key(text: str) -> VerifierKey:
    from memhub.audit.note_keys import VerifierKey
    from memhub.audit.seal_text import SealError

    given = text
    try:
        if text.count("+") < 2 or Path(text).exists():
            given = Path(text).read_text().removesuffix("\n")

        return VerifierKey.parse(given)
    except OSError as error:
        raise CommandFailed(f"--key {text}: {error.strerror}") from error
    except (SealError, UnicodeDecodeError) as error:
        raise CommandFailed(f"--key {text}: {error}") from error
