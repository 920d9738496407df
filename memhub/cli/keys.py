"""Keys of the audit log's seals, as arguments and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from memhub.cli.failures import CommandFailed

if TYPE_CHECKING:
    import argparse

    from memhub.audit.seals.note_keys import SigningKey, VerifierKey


def add_key_argument(
    parser: argparse.ArgumentParser, *, required: bool = False, only_with: str = ""
) -> None:
    """Add `--key`, which may be repeated; its help says which option it belongs to, if to one."""
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        required=required,
        metavar="KEY",
        help=f"{only_with}a verifier key, NAME+ID+KEY, or a file that holds it",
    )


def read_key(path: Path) -> SigningKey:
    """Read the key that seals a log.

    Raises:
        AuditError: the file cannot be read, others may read it, or it holds no key.
        CommandFailed: what checks signatures is not installed.
    """
    from memhub.audit.seals.note_keys import MissingCryptography, load_signing_key

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
    from memhub.audit.seals.note_keys import MAX_KEY_TEXT, VerifierKey, holds_secret
    from memhub.audit.seals.seal_text import SealError

    if not text:
        raise CommandFailed("--key: it is empty; give a verifier key, NAME+ID+KEY, or its file")

    option = "--key" if holds_secret(text) else f"--key {text}"
    given = text
    try:
        if text.count("+") < 2 or Path(text).exists():
            # a character has up to four bytes
            data = read_at_most(text, 4 * MAX_KEY_TEXT)
            given = data.decode().removesuffix("\n")

        return VerifierKey.parse(given)
    except OSError as error:
        raise CommandFailed(f"{option}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise CommandFailed(f"{option}: not UTF-8, so it holds no verifier key") from None
    except SealError as error:
        raise CommandFailed(f"{option}: {error}") from error


def read_at_most(path: str, most: int) -> bytes:
    """Read a file that holds something small.

    Args:
        path: the file.
        most: how many bytes it may have.

    Returns:
        its bytes, or the first `most + 1` of them, by which the caller sees that there are more.

    Raises:
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        return file.read(most + 1)
