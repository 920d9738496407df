"""Proofs that one record is in a log: one text for each, and each way to fail by its name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.audit.seals.checkpoint import BadCheckpoint, Checkpoint, sign_checkpoint
from memhub.audit.seals.merkle import inclusion_path, leaf_hash, root_of
from memhub.audit.seals.seal_text import MAX_COUNT, SealError, encode_base64
from memhub.audit.seals.signed_note import (
    BadSignature,
    MalformedNote,
    NoKnownSignature,
    SigningKey,
    add_signature,
)
from memhub.audit.seals.tlog_proof import (
    MAX_EXTRA,
    MAX_PROOF,
    InclusionProof,
    MalformedProof,
    ProofFailed,
    path_length,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = [b"%d" % number for number in range(70)]
LEAVES = [leaf_hash(data) for data in DATA]
KEY, WITNESS = SigningKey("bench.example/one", bytes(32)), SigningKey("witness", bytes([1] * 32))
KEYS = (KEY.verifier(),)


def proof_of(index: int, size: int, extra: bytes | None = None) -> InclusionProof:
    checkpoint = Checkpoint(KEY.name, size, root_of(LEAVES[:size]))
    path = tuple(inclusion_path(LEAVES[:size], index))

    return InclusionProof(index, path, sign_checkpoint(checkpoint, KEY), extra)


PROOF = proof_of(5, 7, b"hi")
TEXT = PROOF.text()


def test_a_proof_is_written_as_c2sp_says() -> None:
    head, note = TEXT.split("\n\n", 1)

    assert note == PROOF.checkpoint_note
    assert head.split("\n") == [
        "c2sp.org/tlog-proof@v1",
        "extra aGk=",
        "index 5",
        encode_base64(LEAVES[4]),
        encode_base64(LEAVES[6]),
        encode_base64(root_of(LEAVES[:4])),
    ]
    assert proof_of(0, 1).text().startswith(f"c2sp.org/tlog-proof@v1\nindex 0\n\n{KEY.name}\n1\n")


def test_every_leaf_of_every_small_log_is_proved() -> None:
    for size in range(1, 20):
        for index in range(size):
            text = proof_of(index, size).text()

            assert InclusionProof.parse(text).check(DATA[index], KEYS, KEY.name).size == size


@given(st.data(), st.none() | st.binary())
def test_a_proof_reads_back_as_it_was(data: st.DataObject, extra: bytes | None) -> None:
    size = data.draw(st.integers(1, 70))
    proof = proof_of(data.draw(st.integers(0, size - 1)), size, extra)

    assert InclusionProof.parse(proof.text()) == proof
    assert InclusionProof.parse(proof.text().encode()) == proof


def test_a_path_is_as_long_as_the_leaf_lies_deep() -> None:
    for size in range(1, 71):
        for index in range(size):
            assert path_length(index, size) == len(inclusion_path(LEAVES[:size], index))


def test_signatures_of_witnesses_are_carried_along() -> None:
    signed = dataclasses.replace(
        PROOF, checkpoint_note=add_signature(PROOF.checkpoint_note, WITNESS)
    )
    read = InclusionProof.parse(signed.text())

    assert read.check(DATA[5], KEYS) == read.check(DATA[5], [WITNESS.verifier()])


def test_no_byte_of_a_proof_can_be_changed_unless_nobody_signed_it() -> None:
    """Only the extra data is free: it is not signed, and its base64 has other letters."""
    whole = TEXT.encode()
    free = range(TEXT.index("aGk="), TEXT.index("aGk=") + 4)
    passed = set()
    for at in range(len(whole)):
        for bit in range(8):
            altered = bytearray(whole)
            altered[at] ^= 1 << bit
            try:
                InclusionProof.parse(bytes(altered)).check(DATA[5], KEYS, KEY.name)
            except SealError:
                continue

            passed.add(at)

    assert passed
    assert passed <= set(free)


def test_no_proof_that_was_cut_is_read() -> None:
    for end in range(len(TEXT)):
        with pytest.raises(SealError):
            InclusionProof.parse(TEXT[:end])


PATH_LINE = encode_base64(LEAVES[4])
CHECKPOINT_AT = TEXT.index("\n\n") + 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "first line is"),
        ("\n\n", "first line is"),
        (f" {TEXT}", "first line is"),
        (TEXT.replace("@v1", "@v2"), "and not 'c2sp.org/tlog-proof@v2'"),
        (TEXT.replace("\n", "\r\n"), r"U\+000D"),
        (TEXT.replace("index", "ind\0ex"), r"U\+0000"),
        (TEXT.replace("index", "in\udc80"), "UTF-8"),
        ("c2sp.org/tlog-proof@v1\n", "an empty line before"),
        ("c2sp.org/tlog-proof@v1\n\nx", "ends before it"),
        ("c2sp.org/tlog-proof@v1\nextra aGk=\n\nx", "ends before it"),
        (TEXT.replace("aGk=", "aGl="), "extra data is base64"),
        (TEXT.replace("aGk=", "aGk"), "extra data is base64"),
        (TEXT.replace("extra aGk=", "extra  aGk="), "extra data is base64"),
        (TEXT.replace("extra aGk=", "extra"), "a line `index N`"),
        (TEXT.replace("extra aGk=", "extra aGk=\nextra aGk="), "a line `index N`"),
        (TEXT.replace("extra aGk=\nindex 5", "index 5\nextra aGk="), "a line of a proof's path"),
        (TEXT.replace("index 5", "index 05"), "without leading zeros, and not 'index 05'"),
        (TEXT.replace("index 5", "index -5"), "a line `index N`"),
        (TEXT.replace("index 5", "index  5"), "a line `index N`"),
        (TEXT.replace("index 5", "index \u0665"), "a line `index N`"),
        (TEXT.replace("index 5", "index"), "a line `index N`"),
        (TEXT.replace("index 5", "Index 5"), "a line `index N`"),
        (TEXT.replace("index 5", f"index {MAX_COUNT + 1}"), "decimal below 2.63"),
        (TEXT.replace("index 5", "index 5\nindex 5"), "a line of a proof's path"),
        (TEXT.replace(PATH_LINE, PATH_LINE[:-1]), "base64 of 32 bytes"),
        (TEXT.replace(PATH_LINE, PATH_LINE[4:]), "base64 of 32 bytes"),
        (TEXT.replace(PATH_LINE, "\u202e" + PATH_LINE), r"not '\\u202e"),
        (TEXT.replace(PATH_LINE, f"{PATH_LINE}\n" * 64 + PATH_LINE), "at most 63 hashes"),
        ("c2sp.org/tlog-proof@v1\n" + "a" * MAX_PROOF, "at most"),
    ],
)
def test_a_text_of_another_form_is_refused_with_its_fault(text: str, said: str) -> None:
    with pytest.raises(MalformedProof, match=said):
        InclusionProof.parse(text)


def test_what_follows_the_empty_line_is_a_signed_checkpoint() -> None:
    head, note = TEXT[:CHECKPOINT_AT], TEXT[CHECKPOINT_AT:]
    with pytest.raises(MalformedNote):
        InclusionProof.parse(head + note.rstrip("\n"))

    with pytest.raises(MalformedNote):
        InclusionProof.parse(f"{head}hello\n")

    with pytest.raises(BadCheckpoint):
        InclusionProof.parse(f"{head}\n{note}")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"index": -1}, MalformedProof, "not -1"),
        ({"index": MAX_COUNT + 1}, MalformedProof, "from 0 to"),
        ({"path": (b"short",)}, MalformedProof, "32 bytes, and not 5"),
        ({"path": (LEAVES[0],) * 64}, MalformedProof, "at most 63 hashes, and not 64"),
        ({"extra": bytes(MAX_EXTRA + 1)}, MalformedProof, "at most 1000000 bytes"),
        ({"checkpoint_note": "hello"}, MalformedNote, "an empty line"),
    ],
)
def test_values_that_cannot_be_written_make_no_proof(
    change: dict[str, object], error: type[SealError], said: str
) -> None:
    with pytest.raises(error, match=said):
        dataclasses.replace(PROOF, **change)  # type: ignore[arg-type]


def test_the_largest_extra_data_is_written_and_read() -> None:
    proof = dataclasses.replace(PROOF, extra=bytes(MAX_EXTRA))

    assert InclusionProof.parse(proof.text()) == proof


@pytest.mark.parametrize(
    ("check", "error", "said"),
    [
        (lambda: PROOF.check(b"5 ", KEYS), ProofFailed, "does not lead from this record"),
        (lambda: PROOF.check(DATA[5], []), NoKnownSignature, "no key is given"),
        (lambda: PROOF.check(DATA[5], [WITNESS.verifier()]), NoKnownSignature, "not by 'witness"),
        (
            lambda: PROOF.check(DATA[5], KEYS, "bench.example/two"),
            ProofFailed,
            "of the log 'bench.example/one', and not of 'bench.example/two'",
        ),
        (
            lambda: dataclasses.replace(PROOF, index=7).check(DATA[5], KEYS),
            ProofFailed,
            "the log has 7 records, and none at index 7",
        ),
        (
            lambda: dataclasses.replace(PROOF, index=4).check(DATA[5], KEYS),
            ProofFailed,
            "another one than at index 4",
        ),
        (
            lambda: dataclasses.replace(PROOF, path=PROOF.path[1:]).check(DATA[5], KEYS),
            ProofFailed,
            "from index 5 of 7 records has 3 hashes, and not 2",
        ),
        (
            lambda: dataclasses.replace(PROOF, path=PROOF.path[::-1]).check(DATA[5], KEYS),
            ProofFailed,
            "or the path was altered",
        ),
        (
            lambda: InclusionProof.parse(TEXT.replace("\n7\n", "\n8\n")).check(DATA[5], KEYS),
            BadSignature,
            "not for this text",
        ),
    ],
)
def test_a_proof_that_shows_nothing_says_why(
    check: Callable[[], Checkpoint], error: type[SealError], said: str
) -> None:
    with pytest.raises(error, match=said):
        check()
