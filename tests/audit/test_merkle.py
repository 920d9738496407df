"""Merkle trees: RFC 6962's roots and proofs, checked by the definition and bit by bit."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.audit.seals.merkle import (
    EMPTY_ROOT,
    MerkleRange,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

#: The reference tree of Certificate Transparency's test data: a leaf, and the root with it.
REFERENCE = [
    ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    (
        "606162636465666768696a6b6c6d6e6f",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ),
]
LEAVES = [leaf_hash(b"%d" % number) for number in range(70)]
SIZES = range(1, len(LEAVES) + 1)
TREES = st.sampled_from(SIZES)


def defined_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()

    if len(leaves) == 1:
        return leaves[0]

    split = 1
    while split * 2 < len(leaves):
        split *= 2

    return node_hash(defined_root(leaves[:split]), defined_root(leaves[split:]))


ROOTS = [defined_root(LEAVES[:size]) for size in range(len(LEAVES) + 1)]


def sides(index: int, size: int) -> list[str]:
    """On which side of each node on the way up a leaf lies: the shape of its path."""
    if size == 1:
        return []

    split = 1 << ((size - 1).bit_length() - 1)
    if index < split:
        return [*sides(index, split), "left"]

    return [*sides(index - split, size - split), "right"]


def defined_pair(old: int, new: int, path: list[bytes], whole: bytes | None) -> tuple[bytes, bytes]:
    """Both roots that a consistency path stands for, by SUBPROOF's definition from the top.

    `whole` is the old root as long as the old tree may be one subtree, whose hash is left out.
    IndexError for a path that ends too early, as a path that does not end is no proof.
    """
    if old == new:
        node = path.pop(0) if whole is None else whole

        return node, node

    split = 1 << ((new - 1).bit_length() - 1)
    if old <= split:
        left_old, left_new = defined_pair(old, split, path, whole)

        return left_old, node_hash(left_new, path.pop(0))

    right_old, right_new = defined_pair(old - split, new - split, path, None)
    left = path.pop(0)

    return node_hash(left, right_old), node_hash(left, right_new)


def defined_consistency(
    old: int, old_root: bytes, new: int, new_root: bytes, path: list[bytes]
) -> bool:
    rest = list(path)
    try:
        found = defined_pair(old, new, rest, old_root)
    except IndexError:
        return False

    return not rest and found == (old_root, new_root)


def flips(data: bytes) -> list[bytes]:
    """The data with each of its bits changed."""
    number = int.from_bytes(data)

    return [(number ^ 1 << bit).to_bytes(len(data)) for bit in range(8 * len(data))]


def test_the_reference_tree_has_its_published_roots() -> None:
    tree = MerkleRange()
    for size, (data, root) in enumerate(REFERENCE, 1):
        tree.append(bytes.fromhex(data))

        assert tree.root().hex() == root
        assert root_of([leaf_hash(bytes.fromhex(it)) for it, _ in REFERENCE[:size]]).hex() == root


def test_the_empty_tree_has_the_hash_of_nothing_as_its_root() -> None:
    assert MerkleRange().root() == root_of([]) == root_of(b"") == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    ],
)
def test_the_reference_tree_has_its_published_paths(index: int, size: int, path: list[str]) -> None:
    leaves = [leaf_hash(bytes.fromhex(data)) for data, _ in REFERENCE[:size]]

    assert [node.hex() for node in inclusion_path(leaves, index)] == path


def test_a_growing_tree_has_the_root_of_the_definition_at_every_size() -> None:
    by_data, by_hash = MerkleRange(), MerkleRange()
    for size in SIZES:
        by_data.append(b"%d" % (size - 1))
        by_hash.append_leaf(LEAVES[size - 1])

        assert by_data == by_hash
        assert by_data.size == size
        assert by_data.root() == root_of(LEAVES[:size]) == ROOTS[size]


@given(TREES)
def test_a_tree_goes_on_from_what_was_kept_of_it(size: int) -> None:
    whole = MerkleRange()
    for leaf in LEAVES[:size]:
        whole.append_leaf(leaf)

    kept = MerkleRange(whole.size, list(whole.nodes))
    other = whole.copy()
    for leaf in LEAVES[size:]:
        kept.append_leaf(leaf)

    assert kept.root() == ROOTS[-1]
    assert other.root() == whole.root() == ROOTS[size]


@pytest.mark.parametrize(
    ("size", "nodes"),
    [(-1, []), (0, [LEAVES[0]]), (1, []), (3, LEAVES[:1]), (4, LEAVES[:2]), (1, [LEAVES[0][:31]])],
)
def test_nodes_that_are_not_of_the_size_make_no_tree(size: int, nodes: list[bytes]) -> None:
    with pytest.raises(ValueError, match=r"a tree|32 bytes"):
        MerkleRange(size, nodes)


def test_a_leaf_that_is_not_a_hash_leaves_the_tree_as_it_was() -> None:
    tree = MerkleRange(3, [ROOTS[2], LEAVES[2]])
    with pytest.raises(ValueError, match="32 bytes, and not 31"):
        tree.append_leaf(bytes(31))

    assert tree == MerkleRange(3, [ROOTS[2], LEAVES[2]])


@pytest.mark.parametrize("leaves", [bytes(33), [bytes(32), bytes(33)], bytearray(1)])
def test_leaves_that_are_not_hashes_are_refused(leaves: bytes | list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        root_of(leaves)


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 8191, 12289])
def test_a_tree_of_several_blocks_is_the_same_as_one_that_grows(size: int) -> None:
    block = random.Random(size).randbytes(32 * size)
    leaves = [block[at : at + 32] for at in range(0, len(block), 32)]
    tree = MerkleRange()
    for leaf in leaves:
        tree.append_leaf(leaf)

    for given_as in (leaves, block, bytearray(block), memoryview(block)):
        assert root_of(given_as) == tree.root()

    for index in {0, size // 2, size - 1}:
        path = inclusion_path(block, index)

        assert path == inclusion_path(leaves, index)
        assert verify_inclusion(leaves[index], index, size, path, tree.root())


def test_every_leaf_of_every_tree_has_a_path_to_its_root() -> None:
    for size in SIZES:
        for index in range(size):
            path = inclusion_path(LEAVES[:size], index)

            assert len(path) == len(sides(index, size))
            assert verify_inclusion(LEAVES[index], index, size, path, ROOTS[size])


@given(TREES, st.data())
def test_a_path_with_any_bit_changed_leads_nowhere(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaf, root = LEAVES[index], ROOTS[size]
    path = inclusion_path(LEAVES[:size], index)

    assert not any(verify_inclusion(bad, index, size, path, root) for bad in flips(leaf))
    assert not any(verify_inclusion(leaf, index, size, path, bad) for bad in flips(root))
    for at, node in enumerate(path):
        for bad in flips(node):
            altered = [*path[:at], bad, *path[at + 1 :]]

            assert not verify_inclusion(leaf, index, size, altered, root)


@given(TREES, st.data())
def test_a_path_holds_for_no_other_place_and_only_for_sizes_of_its_shape(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaf, root = LEAVES[index], ROOTS[size]
    path = inclusion_path(LEAVES[:size], index)

    for other in range(-1, 2 * size + 2):
        assert verify_inclusion(leaf, other, size, path, root) == (other == index)

    for other in range(-1, 2 * size + 2):
        alike = index < other and sides(index, other) == sides(index, size)

        assert verify_inclusion(leaf, index, other, path, root) == alike


@given(TREES, st.data())
def test_a_path_that_is_shorter_or_longer_leads_nowhere(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(LEAVES[:size], index)
    others = [path[:-1], path[1:]] if path else []
    for other in [*others, [*path, ROOTS[1]], [ROOTS[1], *path], [*path, ROOTS[size]]]:
        assert not verify_inclusion(LEAVES[index], index, size, other, ROOTS[size])


def test_hashes_cut_at_another_place_are_not_taken() -> None:
    """64 bytes that hash to the root are not enough: each half has 32."""
    left, right = LEAVES[:2]
    both = left + right

    assert not verify_inclusion(both[:31], 0, 2, [both[31:]], ROOTS[2])
    assert not verify_consistency(1, both[:31], 2, ROOTS[2], [both[31:]])


@pytest.mark.parametrize("index", [-1, 3])
def test_a_leaf_outside_the_tree_has_no_path(index: int) -> None:
    with pytest.raises(ValueError, match=f"none at index {index}"):
        inclusion_path(LEAVES[:3], index)


def test_every_tree_is_consistent_with_all_that_it_grew_from() -> None:
    for new in range(len(LEAVES) + 1):
        for old in range(new + 1):
            path = consistency_path(LEAVES[:new], old)

            assert verify_consistency(old, ROOTS[old], new, ROOTS[new], path)
            assert not path or defined_consistency(old, ROOTS[old], new, ROOTS[new], path)


@given(TREES, st.data())
def test_consistency_with_any_bit_changed_does_not_hold(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    path = consistency_path(LEAVES[:new], old)

    for bad in flips(ROOTS[old]):
        assert not verify_consistency(old, bad, new, ROOTS[new], path)

    for bad in flips(ROOTS[new]):
        assert not verify_consistency(old, ROOTS[old], new, bad, path)

    for at, node in enumerate(path):
        for bad in flips(node):
            altered = [*path[:at], bad, *path[at + 1 :]]

            assert not verify_consistency(old, ROOTS[old], new, ROOTS[new], altered)


@given(TREES, st.data())
def test_consistency_of_other_sizes_holds_only_where_the_definition_says_so(
    new: int, data: st.DataObject
) -> None:
    old = data.draw(st.integers(1, new))
    path = consistency_path(LEAVES[:new], old)
    for other_new in range(1, new + 9):
        for other_old in range(1, other_new + 1):
            found = verify_consistency(other_old, ROOTS[old], other_new, ROOTS[new], path)

            assert found == defined_consistency(other_old, ROOTS[old], other_new, ROOTS[new], path)


@pytest.mark.parametrize(
    ("old", "old_root", "new", "new_root", "path"),
    [
        (-1, ROOTS[1], 2, ROOTS[2], [LEAVES[1]]),
        (3, ROOTS[3], 2, ROOTS[2], []),
        (2, ROOTS[2], 3, ROOTS[3], []),
        (2, ROOTS[2], 2, ROOTS[2], [LEAVES[0]]),
        (2, ROOTS[2], 2, ROOTS[3], []),
        (0, ROOTS[1], 2, ROOTS[2], []),
        (0, EMPTY_ROOT, 2, ROOTS[2], [LEAVES[0]]),
        (0, ROOTS[1], 0, ROOTS[1], []),
        (4, ROOTS[4], 7, ROOTS[7], [*consistency_path(LEAVES[:7], 4), LEAVES[0]]),
        (3, ROOTS[3], 7, ROOTS[7], consistency_path(LEAVES[:7], 3)[:-1]),
    ],
)
def test_consistency_that_cannot_be_does_not_hold(
    old: int, old_root: bytes, new: int, new_root: bytes, path: list[bytes]
) -> None:
    assert not verify_consistency(old, old_root, new, new_root, path)


@pytest.mark.parametrize("old", [-1, 4])
def test_a_tree_does_not_begin_with_a_larger_one(old: int) -> None:
    with pytest.raises(ValueError, match=f"does not begin with one of {old}"):
        consistency_path(LEAVES[:3], old)
