"""The Merkle tree of RFC 6962, section 2.1: roots that grow, proofs, and their checks.

A leaf's hash is SHA-256(0x00 || data), an inner node's SHA-256(0x01 || left || right). A tree of n
leaves splits at the largest power of two below n. Everything here that builds a tree takes the
hashes of its leaves, either as a sequence or as one block of 32 bytes each. `merkle_check` checks
proofs, and has nothing in common with what makes them here but the two hashes.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

from memhub.audit.seals.merkle_check import EMPTY_ROOT as EMPTY_ROOT
from memhub.audit.seals.merkle_check import HASH_SIZE as HASH_SIZE
from memhub.audit.seals.merkle_check import LEAF, NODE
from memhub.audit.seals.merkle_check import leaf_hash as leaf_hash
from memhub.audit.seals.merkle_check import node_hash as node_hash
from memhub.audit.seals.merkle_check import verify_consistency as verify_consistency
from memhub.audit.seals.merkle_check import verify_inclusion as verify_inclusion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: The hashes of a tree's leaves, in order: one each, or all as one block.
LeafHashes: TypeAlias = "Sequence[bytes] | bytes | bytearray | memoryview"

#: Leaves that are hashed together, a power of two: bounds the memory beside the leaves.
_BLOCK: Final = 4096


class MerkleRange:
    """A tree that grows at its right end, kept as the roots of its perfect subtrees.

    Args:
        size: leaves of the tree so far.
        nodes: the roots of its perfect subtrees, largest first: one for each bit set in `size`.

    Attributes:
        size: leaves of the tree.
        nodes: the roots, as above; not to be changed by others.

    Raises:
        ValueError: the nodes are not those of a tree of that size.
    """

    __slots__ = ("nodes", "size")

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        roots = [bytes(node) for node in nodes]
        if size < 0:
            raise ValueError(f"a tree's size is not negative: {size}")

        if len(roots) != size.bit_count():
            raise ValueError(
                f"a tree of {size} leaves has {size.bit_count()} perfect subtrees, "
                f"and {len(roots)} are given"
            )

        for node in roots:
            _require_hash(node)

        self.size = size
        self.nodes: list[bytes] = roots

    def append(self, data: bytes) -> None:
        """Add the leaf that holds `data`."""
        # one body and not two calls: each record of a sealed log passes here
        node = sha256(LEAF + data).digest()
        size = self.size
        nodes = self.nodes
        below = 1
        while size & below:
            node = sha256(NODE + nodes.pop() + node).digest()
            below <<= 1

        nodes.append(node)
        self.size = size + 1

    def append_leaf(self, leaf_hash: bytes) -> None:
        """Add a leaf by its hash.

        Raises:
            ValueError: it does not have 32 bytes; the tree has not changed.
        """
        _require_hash(leaf_hash)
        self._append_subtree(bytes(leaf_hash), 1)

    def _append_subtree(self, node: bytes, leaves: int) -> None:
        """Add a perfect subtree; no smaller one may stand before it."""
        size = self.size
        nodes = self.nodes
        below = leaves
        while size & below:
            node = sha256(NODE + nodes.pop() + node).digest()
            below <<= 1

        nodes.append(node)
        self.size = size + leaves

    def root(self) -> bytes:
        """The root of the whole tree."""
        if not self.nodes:
            return EMPTY_ROOT

        *others, root = self.nodes
        for node in reversed(others):
            root = node_hash(node, root)

        return root

    def copy(self) -> MerkleRange:
        """The same tree, to grow by itself."""
        return MerkleRange(self.size, self.nodes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MerkleRange):
            return NotImplemented

        return self.size == other.size and self.nodes == other.nodes

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return f"MerkleRange(size={self.size}, root={self.root().hex()})"


def root_of(leaf_hashes: LeafHashes) -> bytes:
    """The root of the tree with these leaves.

    Raises:
        ValueError: a leaf's hash does not have 32 bytes.
    """
    return _root(leaf_hashes, 0, _count(leaf_hashes))


def inclusion_path(leaf_hashes: LeafHashes, index: int) -> list[bytes]:
    """The hashes that lead from one leaf to the root (RFC 6962, 2.1.1), the leaf's sibling first.

    Every other node is hashed once; beside the leaves it needs less than a megabyte.

    Args:
        leaf_hashes: the leaves of the whole tree.
        index: the leaf's place, from 0.

    Raises:
        ValueError: the tree has no such leaf, or a leaf's hash does not have 32 bytes.
    """
    low, high = 0, _count(leaf_hashes)
    if not 0 <= index < high:
        raise ValueError(f"a tree of {high} leaves has none at index {index}")

    path: list[bytes] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_root(leaf_hashes, middle, high))
            high = middle
        else:
            path.append(_root(leaf_hashes, low, middle))
            low = middle

    return path[::-1]


def consistency_path(leaf_hashes: LeafHashes, old_size: int) -> list[bytes]:
    """The hashes that show a tree to begin with a smaller one (RFC 6962, 2.1.2).

    Args:
        leaf_hashes: the leaves of the larger tree.
        old_size: leaves of the smaller one. The path is empty for 0 and for the whole tree.

    Raises:
        ValueError: the tree is smaller than that, or a leaf's hash does not have 32 bytes.
    """
    low, high = 0, _count(leaf_hashes)
    if not 0 <= old_size <= high:
        raise ValueError(f"a tree of {high} leaves does not begin with one of {old_size}")

    if old_size == 0:
        return []

    path: list[bytes] = []
    while high != old_size:
        middle = low + _split(high - low)
        if old_size <= middle:
            path.append(_root(leaf_hashes, middle, high))
            high = middle
        else:
            path.append(_root(leaf_hashes, low, middle))
            low = middle

    # Who checks has the old root; it is only left out where the old tree is one perfect subtree.
    if low:
        path.append(_root(leaf_hashes, low, high))

    return path[::-1]


def _split(size: int) -> int:
    """The largest power of two below a size of at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _root(leaves: LeafHashes, low: int, high: int) -> bytes:
    """The root of the tree over the leaves from `low` to before `high`."""
    tree = MerkleRange()
    while low < high:
        taken = min(_BLOCK, 1 << ((high - low).bit_length() - 1))
        level = _block(leaves, low, low + taken)
        while len(level) > HASH_SIZE:
            level = b"".join(
                [
                    sha256(NODE + level[at : at + 2 * HASH_SIZE]).digest()
                    for at in range(0, len(level), 2 * HASH_SIZE)
                ]
            )

        tree._append_subtree(level, taken)  # noqa: SLF001 - the same module
        low += taken

    return tree.root()


def _count(leaves: LeafHashes) -> int:
    if not isinstance(leaves, bytes | bytearray | memoryview):
        return len(leaves)

    size = len(memoryview(leaves).cast("B"))
    if size % HASH_SIZE:
        raise ValueError(f"a block of hashes has 32 bytes for each, and {size} is not a multiple")

    return size // HASH_SIZE


def _block(leaves: LeafHashes, low: int, high: int) -> bytes:
    """Some leaves' hashes as one block."""
    if isinstance(leaves, bytes | bytearray | memoryview):
        return bytes(memoryview(leaves).cast("B")[low * HASH_SIZE : high * HASH_SIZE])

    block = leaves[low:high]
    for node in block:
        _require_hash(node)

    return b"".join(block)


def _require_hash(node: bytes) -> None:
    if len(node) != HASH_SIZE:
        raise ValueError(f"a SHA-256 hash has {HASH_SIZE} bytes, and not {len(node)}")
