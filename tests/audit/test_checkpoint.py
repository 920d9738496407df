"""Checkpoints: the text that is signed has one form, and what says otherwise is refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import controls
from memhub.audit.seals.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    open_checkpoint,
    sign_checkpoint,
)
from memhub.audit.seals.seal_text import MAX_COUNT, SealError
from memhub.audit.seals.signed_note import MAX_NOTE, SigningKey, sign_note

#: The text of the example in C2SP's tlog-checkpoint.
EXAMPLE = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
ROOT = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
ENCODED = EXAMPLE.split("\n")[2]
KEY, OTHER = SigningKey("bench.example/one", bytes(32)), SigningKey("two", bytes([1] * 32))

LINES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1)
CHECKPOINTS = st.builds(
    Checkpoint,
    LINES,
    st.integers(0, MAX_COUNT),
    st.binary(min_size=32, max_size=32),
    st.lists(LINES, max_size=3).map(tuple),
)


def test_c2sps_example_reads_and_writes_back() -> None:
    checkpoint = Checkpoint.parse(EXAMPLE)

    assert checkpoint == Checkpoint("example.com/behind-the-sofa", 20852163, ROOT)
    assert checkpoint.text() == EXAMPLE


@given(CHECKPOINTS)
def test_every_checkpoint_is_what_its_signed_note_opens_to(checkpoint: Checkpoint) -> None:
    note = sign_checkpoint(checkpoint, KEY)

    assert open_checkpoint(note, [OTHER.verifier(), KEY.verifier()]) == checkpoint
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


@given(st.text(alphabet="01a+-=/ \n\r\u0661é", max_size=80))
def test_a_text_is_refused_or_is_the_only_one_of_its_checkpoint(end: str) -> None:
    for text in (f"origin\n{end}", f"origin\n{end}\n{ENCODED}\n", f"{EXAMPLE}{end}"):
        try:
            found = Checkpoint.parse(text)
        except BadCheckpoint:
            continue

        assert found.text() == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "ends with a newline"),
        (EXAMPLE.removesuffix("\n"), "ends with a newline"),
        ("\n", "three lines or more, and not 1"),
        ("o\n1\n", "three lines or more, and not 2"),
        (EXAMPLE.replace("\n", "\r\n"), r"U\+000D"),
        (EXAMPLE[EXAMPLE.index("\n") :], "origin is one line, not empty"),
        (f"{EXAMPLE}\n", "extension is one line, not empty"),
        (f"{EXAMPLE}a\n\nb\n", "extension is one line, not empty"),
        (EXAMPLE.replace("208", "0208"), "without leading zeros, and not '020852163'"),
        (EXAMPLE.replace("208", "+208"), "decimal"),
        (EXAMPLE.replace("208", "-208"), "decimal"),
        (EXAMPLE.replace("208", " 208"), "decimal"),
        (EXAMPLE.replace("208", "2_08"), "decimal"),
        (EXAMPLE.replace("208", "2\u0660\u0668"), "decimal"),
        (EXAMPLE.replace("20852163", ""), "decimal"),
        (EXAMPLE.replace("20852163", str(MAX_COUNT + 1)), "decimal below 2.63"),
        (EXAMPLE.replace("20852163", "9" * 100_000), "decimal below 2.63"),
        (EXAMPLE.replace("2I=", "2J="), "base64 of 32 bytes"),
        (EXAMPLE.replace("2I=", "2I"), "base64 of 32 bytes"),
        (EXAMPLE.replace("2I=", "2I=="), "base64 of 32 bytes"),
        (EXAMPLE.replace("2I=", "2I= "), "base64 of 32 bytes"),
        (EXAMPLE.replace("CsUY", ""), "base64 of 32 bytes"),
        (EXAMPLE.replace("CsUY", "CsUYCsUY"), "base64 of 32 bytes"),
        (EXAMPLE.replace("/Xajj", "_Xajj"), "base64 of 32 bytes"),
        (EXAMPLE.replace(ENCODED, ""), "base64 of 32 bytes"),
        (EXAMPLE + "a" * MAX_NOTE + "\n", "at most 1000000 bytes"),
        (EXAMPLE.replace("sofa", "so\udc80fa"), "UTF-8"),
    ],
)
def test_a_text_of_another_form_is_refused_with_its_fault(text: str, said: str) -> None:
    with pytest.raises(BadCheckpoint, match=said):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    ("origin", "size", "root", "extensions"),
    [
        ("", 1, ROOT, ()),
        ("a\nb", 1, ROOT, ()),
        ("a\x1b", 1, ROOT, ()),
        ("a\udc80", 1, ROOT, ()),
        ("a", -1, ROOT, ()),
        ("a", MAX_COUNT + 1, ROOT, ()),
        ("a", 1, ROOT[1:], ()),
        ("a", 1, ROOT, ("",)),
        ("a", 1, ROOT, ("b", "c\nd")),
    ],
)
def test_values_that_cannot_be_written_make_no_checkpoint(
    origin: str, size: int, root: bytes, extensions: tuple[str, ...]
) -> None:
    with pytest.raises(BadCheckpoint):
        Checkpoint(origin, size, root, extensions)


def test_what_is_signed_but_is_not_a_checkpoint_does_not_open_as_one() -> None:
    with pytest.raises(BadCheckpoint, match="three lines"):
        open_checkpoint(sign_note("hello\n", KEY), [KEY.verifier()])


def test_a_checkpoint_that_nobody_known_signed_does_not_open() -> None:
    note = sign_checkpoint(Checkpoint.parse(EXAMPLE), KEY)
    with pytest.raises(SealError, match="not by 'two"):
        open_checkpoint(note, [OTHER.verifier()])

    with pytest.raises(SealError, match="not for this text"):
        open_checkpoint(note.replace("208", "308"), [KEY.verifier()])


def test_messages_show_foreign_lines_escaped_and_cut() -> None:
    with pytest.raises(BadCheckpoint) as caught:
        Checkpoint.parse(EXAMPLE.replace("208", "\u202e\x7f\x9b" + "x" * 10_000))

    assert controls(str(caught.value)) == []
    assert len(str(caught.value)) < 300
