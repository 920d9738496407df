"""Sealing: the tree over all records of a log that is written, and the signature on its root."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from memhub.audit.failure import AuditError
from memhub.audit.seals.checkpoint import Checkpoint, sign_checkpoint
from memhub.audit.seals.merkle import MerkleRange
from memhub.audit.verifying.chain_walk import ChainWalk

if TYPE_CHECKING:
    from memhub.audit.seals.note_keys import SigningKey
    from memhub.audit.writing.tail import Tail

_BLOCK: Final = 1 << 18


class Sealer:
    """Signs what a log holds.

    Args:
        key: signs; its name is the origin of the checkpoints.
        tree: the tree over the records so far.
        sealed: number of the record that holds the last seal; 0 if there is none.

    Attributes:
        tree: the tree over the records that are written.
        sealed: as above.
    """

    def __init__(self, key: SigningKey, tree: MerkleRange | None = None, sealed: int = 0) -> None:
        self.tree = MerkleRange() if tree is None else tree
        self.sealed = sealed
        self._key = key

    @property
    def key_text(self) -> str:
        """The verifier key, as the log's first record names it."""
        return self._key.verifier().text()

    def add(self, data: bytes) -> None:
        """Take lines that have been written."""
        append = self.tree.append
        for line in data.split(b"\n")[:-1]:
            append(line)

    def sign(self) -> str:
        """A signed checkpoint over all records that are written."""
        tree = self.tree

        return sign_checkpoint(Checkpoint(self._key.name, tree.size, tree.root()), self._key)

    def tree_hashes(self) -> list[str]:
        """The tree as the first record of a segment has it."""
        return [node.hex() for node in self.tree.nodes]


def continue_sealer(fd: int, path: str, tail: Tail, key: SigningKey | None) -> Sealer | None:
    """What seals a log that is continued; its last file is verified on the way.

    Args:
        fd: that file, readable.
        path: its name, for messages.
        tail: its end.
        key: the key to sign with.

    Returns:
        None for a log without seals.

    Raises:
        AuditError: EACCES: the log is sealed with another key, or no key was given. EINVAL: it
            was begun without seals, or what it holds is not what was sealed.
    """
    if not tail.seq:
        return None if key is None else Sealer(key)

    check_key(path, tail, key)
    if key is None:
        return None

    end = os.fstat(fd).st_size - (0 if tail.torn is None else len(tail.torn.data))
    walk = ChainWalk(keys=(key.verifier(),), whole=False)
    for offset in range(0, end, _BLOCK):
        walk.feed(os.pread(fd, min(_BLOCK, end - offset), offset))

    if walk.broken is not None or walk.seals is None:
        raise AuditError(path, f"the log is not continued: {walk.broken}", errno.EINVAL)

    return Sealer(key, walk.seals.tree, walk.seals.seal_seq)


def check_key(path: str, tail: Tail, key: SigningKey | None) -> None:
    """Refuse a key that is not the one that a log is sealed with.

    Raises:
        AuditError: EACCES: another key, or none, where the log is sealed. EINVAL: a key where it
            is not.
    """
    own = None if key is None else key.verifier().text()
    if own == tail.key:
        return

    if tail.key is None:
        why = "the log was begun without seals: begin another one to have it sealed"
        raise AuditError(path, why, errno.EINVAL)

    given = "" if own is None else f", and not with {own}"
    why = f"the log is sealed with the key {tail.key}{given}: it is continued with that key"
    raise AuditError(path, why, errno.EACCES)
