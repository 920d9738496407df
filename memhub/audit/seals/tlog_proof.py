"""Proofs as C2SP's tlog-proof v1 has them: one record is in a log, shown without the log.

::

    c2sp.org/tlog-proof@v1
    extra <base64>              what nobody has signed, may be left out
    index <place of the leaf, from 0>
    <base64 of a hash>          the path from the leaf's sibling to below the root, may be empty

    <the signed checkpoint>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from memhub.audit.seals.checkpoint import Checkpoint, open_checkpoint
from memhub.audit.seals.merkle_check import HASH_SIZE, leaf_hash, verify_inclusion
from memhub.audit.seals.seal_text import (
    MAX_COUNT,
    SealError,
    decode_base64,
    decode_count,
    decode_hash,
    decode_text,
    encode_base64,
    quote,
)
from memhub.audit.seals.signed_note import MAX_NOTE, split_note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.audit.seals.signed_note import VerifierKey

#: The first line.
HEADER: Final = "c2sp.org/tlog-proof@v1"

#: Hashes of a path: as many as the largest tree is deep.
MAX_PATH: Final = 63

#: Bytes of the extra data.
MAX_EXTRA: Final = 1_000_000

#: Bytes of a whole proof: what its parts may have, and room for the path.
MAX_PROOF: Final = MAX_NOTE + MAX_EXTRA * 4 // 3 + 10_000


class MalformedProof(SealError):
    """Raised when a text is not a proof, or values cannot become one."""


class ProofFailed(SealError):
    """Raised when a well-formed proof does not show what it should."""


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That the leaf at one place is in the tree of a signed checkpoint.

    Args:
        index: the leaf's place, from 0.
        path: the hashes from the leaf's sibling to below the root.
        checkpoint_note: the signed checkpoint, word for word.
        extra: further bytes that nobody has signed. They say nothing until checked otherwise.

    Raises:
        MalformedProof: one of them cannot be written.
        SealError: `checkpoint_note` is not the signed note of a checkpoint.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint_note: str
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index <= MAX_COUNT:
            raise MalformedProof(f"a proof's index is from 0 to 2^63 - 1, and not {self.index}")

        object.__setattr__(self, "path", tuple(self.path))
        _require_few(len(self.path))
        for node in self.path:
            if len(node) != HASH_SIZE:
                raise MalformedProof(f"a hash of a proof has 32 bytes, and not {len(node)}")

        if self.extra is not None and len(self.extra) > MAX_EXTRA:
            raise MalformedProof(
                f"a proof's extra data has at most {MAX_EXTRA} bytes, and not {len(self.extra)}"
            )

        Checkpoint.parse(split_note(self.checkpoint_note).text)

    def text(self) -> str:
        """The proof as a text, to be kept in a file `*.tlog-proof`."""
        extra = [] if self.extra is None else [f"extra {encode_base64(self.extra)}"]
        head = [HEADER, *extra, f"index {self.index}", *map(encode_base64, self.path)]

        return "\n".join([*head, "", self.checkpoint_note])

    @classmethod
    def parse(cls, text: str | bytes) -> InclusionProof:
        """The proof that a text stands for, not checked yet.

        Args:
            text: the proof, or its bytes.

        Raises:
            MalformedProof: it does not have the one form that `text` writes.
            SealError: what follows the empty line is not the signed note of a checkpoint.
        """
        try:
            whole = decode_text(text, "proof", MAX_PROOF)
        except SealError as error:
            raise MalformedProof(*error.args) from None

        head, blank, note = whole.partition("\n\n")
        lines = head.split("\n")
        if lines[0] != HEADER:
            raise MalformedProof(f"a proof's first line is {HEADER}, and not {quote(lines[0])}")

        if not blank:
            raise MalformedProof("a proof has an empty line before its signed checkpoint")

        del lines[0]
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = _parse_extra(lines.pop(0))

        if not lines:
            raise MalformedProof("a proof has a line `index N`, and this one ends before it")

        index = _parse_index(lines.pop(0))
        _require_few(len(lines))

        return cls(index, tuple(map(_parse_hash, lines)), note, extra)

    def check(
        self, leaf_data: bytes, keys: Iterable[VerifierKey], origin: str | None = None
    ) -> Checkpoint:
        """Check that the log that the keys sign for holds a leaf.

        Args:
            leaf_data: the leaf itself, not its hash.
            keys: those that the reader trusts; one of them has to have signed the checkpoint.
            origin: the log that the checkpoint has to be of; any by default.

        Returns:
            the checkpoint whose tree holds the leaf.

        Raises:
            ProofFailed: the checkpoint is another log's, its tree is too small, the path has the
                wrong length, or it does not lead to the root.
            SealError: the checkpoint does not verify; see `open_checkpoint`.
        """
        checkpoint = open_checkpoint(self.checkpoint_note, keys)
        if origin is not None and checkpoint.origin != origin:
            raise ProofFailed(
                f"the checkpoint is of the log {quote(checkpoint.origin)}, "
                f"and not of {quote(origin)}"
            )

        size = checkpoint.size
        if self.index >= size:
            raise ProofFailed(f"the log has {size} records, and none at index {self.index}")

        wanted = path_length(self.index, size)
        if len(self.path) != wanted:
            raise ProofFailed(
                f"the path from index {self.index} of {size} records has {wanted} hashes, "
                f"and not {len(self.path)}"
            )

        leaf = leaf_hash(leaf_data)
        if not verify_inclusion(leaf, self.index, size, self.path, checkpoint.root):
            raise ProofFailed(
                f"the path does not lead from this record to the log's root: the record is "
                f"another one than at index {self.index}, or the path was altered"
            )

        return checkpoint


def path_length(index: int, size: int) -> int:
    """How many hashes lead from a leaf to the root of a tree.

    Args:
        index: the leaf's place, from 0; below `size`.
        size: leaves of the tree.
    """
    # Up to where the leaf's way parts from the last leaf's, each level has a sibling. From there
    # on it is on the tree's right edge, where only a subtree to its left is one.
    shared = (index ^ (size - 1)).bit_length()

    return shared + (index >> shared).bit_count()


def _parse_extra(line: str) -> bytes:
    extra = decode_base64(line.removeprefix("extra "))
    if extra is None:
        raise MalformedProof(f"a proof's extra data is base64, and not {quote(line)}")

    return extra


def _parse_index(line: str) -> int:
    index = decode_count(line.removeprefix("index ")) if line.startswith("index ") else None
    if index is None:
        raise MalformedProof(
            f"a proof has a line `index N`, with N a decimal below 2^63 without leading zeros, "
            f"and not {quote(line)}"
        )

    return index


def _parse_hash(line: str) -> bytes:
    node = decode_hash(line)
    if node is None:
        raise MalformedProof(
            f"a line of a proof's path is the base64 of 32 bytes, and not {quote(line)}"
        )

    return node


def _require_few(hashes: int) -> None:
    if hashes > MAX_PATH:
        raise MalformedProof(f"a proof's path has at most {MAX_PATH} hashes, and not {hashes}")
