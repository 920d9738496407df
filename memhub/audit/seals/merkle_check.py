"""Checking the proofs of a Merkle tree, by the algorithms of RFC 9162, section 2.1.

A root does not bind the number of its leaves: a proof can hold for another size as well, where
both trees look the same from the leaf. The signed checkpoint binds size and root together.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Bytes of a hash.
HASH_SIZE: Final = 32

#: The root of the tree without leaves.
EMPTY_ROOT: Final = sha256(b"").digest()

#: What a leaf's and an inner node's hashed bytes begin with.
LEAF: Final = b"\x00"
NODE: Final = b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """The hash of the leaf that holds `data`."""
    return sha256(LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of the node above two hashes."""
    return sha256(NODE + left + right).digest()


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Whether a path leads from a leaf to a root (RFC 9162, 2.1.3.2).

    Args:
        leaf: the leaf's hash.
        index: its place, from 0.
        size: leaves of the tree.
        path: as `inclusion_path` gives it.
        root: the tree's root.
    """
    if not 0 <= index < size or not _are_hashes([leaf, root, *path]):
        return False

    place, last = index, size - 1
    node = leaf
    for sibling in path:
        if last == 0:
            return False

        if place & 1 or place == last:
            node = node_hash(sibling, node)
            while place and not place & 1:
                place >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)

        place >>= 1
        last >>= 1

    return last == 0 and node == root


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether a path shows that a tree begins with a smaller one (RFC 9162, 2.1.4.2).

    An empty tree begins every tree, and each tree begins itself; both with an empty path.

    Args:
        old_size: leaves of the smaller tree.
        old_root: its root.
        new_size: leaves of the larger tree.
        new_root: its root.
        path: as `consistency_path` gives it.
    """
    if not 0 <= old_size <= new_size or not _are_hashes([old_root, new_root, *path]):
        return False

    if old_size == new_size:
        return not path and old_root == new_root and (old_size > 0 or old_root == EMPTY_ROOT)

    if old_size == 0:
        return not path and old_root == EMPTY_ROOT

    return _leads_to_both(old_size, old_root, new_size, new_root, path)


def _leads_to_both(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> bool:
    if not path:
        return False

    nodes = [old_root, *path] if old_size.bit_count() == 1 else path
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place >>= 1
        last >>= 1

    old = new = nodes[0]
    for sibling in nodes[1:]:
        if last == 0:
            return False

        if place & 1 or place == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while place and not place & 1:
                place >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)

        place >>= 1
        last >>= 1

    return last == 0 and old == old_root and new == new_root


def _are_hashes(nodes: Iterable[bytes]) -> bool:
    return all(len(node) == HASH_SIZE for node in nodes)
