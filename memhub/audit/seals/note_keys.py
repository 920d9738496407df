"""Ed25519 keys with a name, in the texts of Go's sumdb/note, and the file of a signing key.

A verifier key is `<name>+<8 hex>+<base64 of 0x01 and 32 bytes>` and a signing key
`PRIVATE+KEY+<name>+<8 hex>+<base64 of 0x01 and the 32 bytes of the seed>`. The hex digits are the
key's id: the first four bytes of SHA-256(name || newline || 0x01 || public key).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.failure import AuditError
from memhub.audit.seals.new_file import write_new_file
from memhub.audit.seals.seal_text import (
    SealError,
    decode_base64,
    encode_base64,
    find_control,
    quote,
)
from memhub.escape import is_visible

if TYPE_CHECKING:
    from types import ModuleType

#: Characters of a key's text, name included.
MAX_KEY_TEXT: Final = 4096

#: Characters of the name of a new key.
MAX_NAME: Final = 255

_ED25519: Final = b"\x01"
_KEY_SIZE: Final = 32
_ID: Final = re.compile("[0-9a-f]{8}")
_PRIVATE: Final = "PRIVATE+KEY+"


class MissingCryptography(SealError):
    """Raised when keys are used without the `cryptography` package."""


def _ed25519() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise MissingCryptography(
            "Ed25519 keys need the cryptography package: install the extra memhub[seal]"
        ) from None

    return ed25519


def holds_secret(text: str) -> bool:
    """Whether a text is, or has in it, what a signing key begins with; it is not to be shown."""
    return _PRIVATE.rstrip("+") in text


def is_key_name(name: str) -> bool:
    """Whether a note's signature line can carry this name."""
    if not name or "+" in name or any(char.isspace() for char in name) or find_control(name):
        return False

    try:
        name.encode()
    except UnicodeError:
        return False

    return True


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """What checks the signatures of one signer.

    Args:
        name: without spaces and `+`, like `example.com/bench7`.
        public: the public key, 32 bytes.

    Raises:
        SealError: the name or the key cannot be used.
    """

    name: str
    public: bytes

    def __post_init__(self) -> None:
        _require_name(self.name)
        if len(self.public) != _KEY_SIZE:
            raise SealError(f"an Ed25519 public key has 32 bytes, and not {len(self.public)}")

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key that a text stands for.

        Raises:
            SealError: the text is malformed, its id is another key's, it is no Ed25519 key, or it
                is a signing key, of which nothing is shown.
        """
        if holds_secret(text):
            raise SealError("this is a signing key; its verifier key is wanted")

        name, key_id, key = _parse_fields(text, "verifier key", shown=quote(text))
        found = cls(name, key)
        if f"{found.key_id:08x}" != key_id:
            raise SealError(
                f"verifier key {quote(name)}: its id is {found.key_id:08x}, and the text says "
                f"{key_id}; the name or the key was altered"
            )

        return found

    @property
    def key_id(self) -> int:
        """The key's id, 32 bits: with the name it tells keys apart."""
        hashed = sha256(self.name.encode() + b"\n" + _ED25519 + self.public)

        return int.from_bytes(hashed.digest()[:4], "big")

    def text(self) -> str:
        """The key as one line without its end, which may be shown to everyone."""
        return f"{self.name}+{self.key_id:08x}+{encode_base64(_ED25519 + self.public)}"

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's for the message.

        Raises:
            MissingCryptography: the extra `seal` is not installed.
        """
        ed25519 = _ed25519()
        from cryptography.exceptions import InvalidSignature

        try:
            ed25519.Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False

        return True


class SigningKey:
    """What signs: a secret, so neither its `repr` nor an error shows it.

    Made by `generate` or `parse`.

    Attributes:
        name: the signer's name.
    """

    __slots__ = ("_private", "_seed", "_verifier", "name")

    def __init__(self, name: str, seed: bytes) -> None:
        _require_name(name)
        if len(seed) != _KEY_SIZE:
            raise SealError(f"an Ed25519 seed has 32 bytes, and not {len(seed)}")

        self.name: Final = name
        self._seed: Final = bytes(seed)
        self._private: Final[Any] = _ed25519().Ed25519PrivateKey.from_private_bytes(self._seed)
        self._verifier: Final = VerifierKey(name, self._private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        """A new key from the operating system's random source.

        Args:
            name: without spaces, `+`, and characters that do not show.

        Raises:
            SealError: the name cannot be used.
            MissingCryptography: the extra `seal` is not installed.
        """
        if len(name) > MAX_NAME:
            why = f"the name of a new key has at most {MAX_NAME} characters"
            raise SealError(f"{why}, and not {len(name)}")

        if not all(map(is_visible, name)):
            raise SealError(f"the name of a new key has only visible characters, not {quote(name)}")

        return cls(name, os.urandom(_KEY_SIZE))

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """The key that a text of Go's `PRIVATE+KEY+` form stands for.

        Raises:
            SealError: the text is malformed, its id is another key's, or it is no Ed25519 key.
            MissingCryptography: the extra `seal` is not installed.
        """
        if not text.startswith(_PRIVATE):
            raise SealError(f"a signing key begins with {_PRIVATE}, and this text does not")

        name, key_id, seed = _parse_fields(text.removeprefix(_PRIVATE), "signing key", shown="")
        key = cls(name, seed)
        if f"{key.verifier().key_id:08x}" != key_id:
            raise SealError(f"signing key {quote(name)}: its id does not fit its name and secret")

        return key

    def text(self) -> str:
        """The secret as one line without its end."""
        secret = encode_base64(_ED25519 + self._seed)

        return f"{_PRIVATE}{self.name}+{self._verifier.key_id:08x}+{secret}"

    def verifier(self) -> VerifierKey:
        """The key that checks what this one signs."""
        return self._verifier

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, 64 bytes, the same at every call."""
        signature: bytes = self._private.sign(message)

        return signature

    def __repr__(self) -> str:
        return f"SigningKey({self._verifier.name!r}, id {self._verifier.key_id:08x})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a signing key is not copied or pickled: its secret stays in one place")


def _require_name(name: str) -> None:
    if not is_key_name(name):
        raise SealError(f"a key's name is text without spaces and `+`, and not {quote(name)}")


def _parse_fields(text: str, what: str, *, shown: str) -> tuple[str, str, bytes]:
    """Name, id and key of a key's text; a secret's text is not shown."""
    of = f" {shown}" if shown else ""
    if len(text) > MAX_KEY_TEXT:
        raise SealError(f"a {what} has at most {MAX_KEY_TEXT} characters, and not {len(text)}")

    fields = text.split("+", 2)  # base64 may hold a `+` too
    if len(fields) != 3:
        raise SealError(f"malformed {what}{of}: it is NAME+ID+BASE64")

    name, key_id, encoded = fields
    if not is_key_name(name):
        raise SealError(f"malformed {what}{of}: its name is empty or has a space in it")

    if not _ID.fullmatch(key_id):
        raise SealError(f"malformed {what}{of}: its id is not eight lower-case hex digits")

    key = decode_base64(encoded)
    if key is None:
        raise SealError(f"malformed {what}{of}: its last part is not base64")

    if key[:1] != _ED25519 or len(key) != 1 + _KEY_SIZE:
        raise SealError(f"unknown {what}{of}: only Ed25519 keys (algorithm 1, 32 bytes) are used")

    return name, key_id, key[1:]


def load_signing_key(path: str | os.PathLike[str]) -> SigningKey:
    """Read a signing key from a file that only its owner can read.

    Args:
        path: a regular file with one line.

    Raises:
        AuditError: it cannot be read (errno of the host), is not a regular file (EINVAL), others
            own it or have rights to it (EPERM), or it holds no signing key (EINVAL).
        MissingCryptography: the extra `seal` is not installed.
    """
    try:
        # a FIFO would let open(2) wait for its writer
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _require_private(path, os.fstat(fd))
            data = os.read(fd, MAX_KEY_TEXT + 2)
        finally:
            os.close(fd)
    except AuditError:
        raise
    except OSError as error:
        raise AuditError.of(path, "signing key not read", error) from None

    try:
        return SigningKey.parse(data.removesuffix(b"\n").decode())
    except MissingCryptography:
        raise
    except UnicodeDecodeError:
        raise AuditError(path, "signing key not read: it is not UTF-8", errno.EINVAL) from None
    except SealError as error:
        raise AuditError(path, f"signing key not read: {error}", errno.EINVAL) from None


def _require_private(path: str | os.PathLike[str], state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise AuditError(path, "signing key not read: it is not a regular file", errno.EINVAL)

    if state.st_uid != os.geteuid():
        why = f"it belongs to user {state.st_uid}, who could read and replace it"
        raise AuditError(path, f"signing key not read: {why}", errno.EPERM)

    mode = stat.S_IMODE(state.st_mode)
    if mode & 0o077:
        raise AuditError(
            path,
            f"signing key not read: its mode {mode:04o} lets others have it; make it 0600",
            errno.EPERM,
        )


def write_signing_key(path: str | os.PathLike[str], key: SigningKey) -> None:
    """Write a signing key to a new file of mode 0600, on the disk when this returns.

    Args:
        path: where nothing is yet.
        key: the key.

    Raises:
        AuditError: something is there already (EEXIST), or it cannot be written (errno of the
            host); nothing is left behind.
    """
    write_new_file(path, f"{key.text()}\n".encode(), "signing key", secret=True)
