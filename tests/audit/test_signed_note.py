"""Signed notes: Go's published note, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import controls
from memhub.audit.seals.seal_text import SealError
from memhub.audit.seals.signed_note import (
    MAX_NOTE,
    MAX_SIGNATURES,
    BadSignature,
    MalformedNote,
    NoKnownSignature,
    SigningKey,
    VerifierKey,
    add_signature,
    open_note,
    sign_note,
)

#: The example of Go's golang.org/x/mod/sumdb/note.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
    "KvqfqdngotpRZb6KE6RyyBwJnAM="
)
NOTE = f"{TEXT}\n{LINE}\n"
KNOWN = VerifierKey.parse(NEUMANN)
ONE, TWO = SigningKey("bench.example/one", bytes(32)), SigningKey("two", bytes([1] * 32))

GOOD_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.just("\n"))


def test_gos_published_note_opens_with_its_published_key() -> None:
    opened = open_note(NOTE, KNOWN)

    assert (opened.text, opened.names, opened.unverified) == (TEXT, ("PeterNeumann",), ())
    assert opened.verified == (KNOWN,)
    assert open_note(NOTE.encode(), KNOWN) == opened


def test_gos_published_secret_signs_the_published_note() -> None:
    key = SigningKey.parse(NEUMANN_SECRET)

    assert sign_note(TEXT, key) == NOTE
    assert key.text() == NEUMANN_SECRET
    assert key.verifier().text() == NEUMANN
    assert key.verifier().key_id == 0xC74F20A3


@given(GOOD_TEXTS)
def test_every_text_that_may_be_signed_opens_as_it_was(text: str) -> None:
    opened = open_note(sign_note(f"{text}\n", ONE, TWO), TWO.verifier())

    assert opened.text == f"{text}\n"
    assert opened.names == ("two",)
    assert [line.split()[1] for line in opened.unverified] == [ONE.name]


def test_no_byte_of_a_note_can_be_changed() -> None:
    data = NOTE.encode()
    for at in range(len(data)):
        for bit in range(8):
            altered = bytearray(data)
            altered[at] ^= 1 << bit
            with pytest.raises((MalformedNote, BadSignature, NoKnownSignature)):
                open_note(bytes(altered), KNOWN)


def test_no_note_that_was_cut_opens() -> None:
    data = NOTE.encode()
    for end in range(len(data)):
        with pytest.raises(MalformedNote):
            open_note(data[:end], KNOWN)


def test_a_known_keys_bad_signature_refuses_what_others_signed_well() -> None:
    note = sign_note("one\n", ONE, TWO)
    other = sign_note("other\n", ONE, TWO)
    mixed = "\n".join([*note.split("\n")[:3], other.split("\n")[3], ""])

    assert open_note(mixed, ONE.verifier()).names == (ONE.name,)
    with pytest.raises(BadSignature, match=r"'two' \(.*\) is not for this text"):
        open_note(mixed, ONE.verifier(), TWO.verifier())


def test_keys_that_share_a_name_are_told_apart_by_their_ids() -> None:
    old, new = SigningKey("log", bytes(32)), SigningKey("log", bytes([7] * 32))

    assert open_note(sign_note("a\n", old, new), new.verifier()).verified == (new.verifier(),)
    with pytest.raises(NoKnownSignature, match=r"signed by 'log .*, and not by 'log "):
        open_note(sign_note("a\n", old), new.verifier())


def test_a_note_that_no_given_key_signed_does_not_open() -> None:
    with pytest.raises(NoKnownSignature, match="no key is given"):
        open_note(NOTE)

    with pytest.raises(NoKnownSignature, match=r"'PeterNeumann \(c74f20a3\)', and not by 'two "):
        open_note(NOTE, TWO.verifier())


def test_a_line_that_stands_twice_counts_once() -> None:
    twice = f"{NOTE}{LINE}\n"

    assert open_note(twice, KNOWN).names == ("PeterNeumann",)
    assert len(open_note(add_signature(twice, TWO), TWO.verifier()).unverified) == 1


def test_a_signature_is_added_once_and_replaces_its_older_one() -> None:
    note = add_signature(NOTE, TWO)

    assert note.startswith(NOTE)
    assert open_note(note, KNOWN, TWO.verifier()).names == ("PeterNeumann", "two")
    assert add_signature(note, TWO) == note


LINE_END = LINE.split(" ")[2]
LOOSE = LINE.replace("AM=", "AN=")


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("", "an empty line"),
        ("\n", "an empty line"),
        (TEXT, "an empty line"),
        (f"{TEXT}\n", "an empty line|ends with a signature"),
        (f"{TEXT}\n{LINE}", "ends with a signature line"),
        (f"{TEXT}{LINE}\n", "an empty line"),
        (f"{TEXT}\n{LINE}\n\n", "ends with a signature line"),
        (NOTE.replace("\n", "\r\n"), r"no control character .* U\+000D"),
        (NOTE.replace("you", "y\tou"), r"U\+0009"),
        (NOTE.replace("you", "y\0ou"), r"U\+0000"),
        (NOTE.replace("you", "y\udc80ou"), "UTF-8"),
        (NOTE.replace("—", "-"), "is not a signature line"),
        (NOTE.replace("— ", "—  "), "is not a signature line"),
        (NOTE.replace("— ", "—"), "is not a signature line"),
        (NOTE.replace("PeterNeumann ", ""), "is not a signature line"),
        (NOTE.replace("PeterNeumann", "Peter+Neumann"), "is not a signature line"),
        (NOTE.replace("PeterNeumann", "Peter\u2003Neumann"), "is not a signature line"),
        (NOTE.replace(LINE, f"{LINE} x"), "is not a signature line"),
        (NOTE.replace(LINE, f"{LINE} "), "is not a signature line"),
        (NOTE.replace(LINE, LOOSE), "is not base64"),
        (NOTE.replace("AM=", "AM"), "is not base64"),
        (NOTE.replace("AM=", "AM=="), "is not base64"),
        (NOTE.replace("/", "_"), "is not base64"),
        (NOTE.replace(LINE_END, "x08gow=="), "5 bytes or more"),
        ("a" * (MAX_NOTE + 1), "at most 1000000 bytes"),
        ("é" * (MAX_NOTE - 1), "at most 1000000 bytes"),
        (f"{TEXT}\n" + f"{LINE}\n" * (MAX_SIGNATURES + 1), "at most 100 signatures, not 101"),
    ],
)
def test_what_is_not_a_note_is_refused_with_its_fault(note: str, said: str) -> None:
    with pytest.raises(MalformedNote, match=said):
        open_note(note, KNOWN)

    with pytest.raises(MalformedNote, match=said):
        add_signature(note, TWO)


def test_a_note_may_have_as_many_signatures_as_the_limit() -> None:
    note = f"{TEXT}\n" + f"{LINE}\n" * MAX_SIGNATURES

    assert open_note(note, KNOWN).names == ("PeterNeumann",)
    keys = [SigningKey(f"k{number}", bytes([number] * 32)) for number in range(MAX_SIGNATURES)]
    full = sign_note("a\n", *keys)
    assert len(open_note(full, *(key.verifier() for key in keys)).names) == MAX_SIGNATURES
    with pytest.raises(MalformedNote, match="not 101"):
        add_signature(full, ONE)


@pytest.mark.parametrize("text", ["", "a", "a\r\n", "a\udc80\n", "a\x1b\n", "a" * MAX_NOTE + "\n"])
def test_a_text_that_no_note_can_hold_is_not_signed(text: str) -> None:
    with pytest.raises(MalformedNote):
        sign_note(text, ONE)


def test_a_note_is_signed_by_each_of_its_keys_once() -> None:
    with pytest.raises(MalformedNote, match="no key is given"):
        sign_note("a\n")

    with pytest.raises(MalformedNote, match="given twice"):
        sign_note("a\n", ONE, ONE)


def test_messages_show_foreign_text_escaped() -> None:
    evil = "bidi\u202ename"
    note = NOTE.replace("PeterNeumann", evil)
    for bad in (note, f"{TEXT}\n{evil}\x7f\x9b\n"):
        with pytest.raises(SealError) as caught:
            open_note(bad, KNOWN)

        assert controls(str(caught.value)) == []
