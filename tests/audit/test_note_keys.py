"""Keys of notes: Go's texts for them, secrets that stay secret, and their files."""

from __future__ import annotations

import base64
import errno
import os
import pickle
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from hostile import HOSTILE, controls
from memhub.audit import AuditError
from memhub.audit.seals.seal_text import SealError
from memhub.audit.seals.signed_note import (
    MissingCryptography,
    SigningKey,
    VerifierKey,
    load_signing_key,
    open_note,
    sign_note,
    write_signing_key,
)

if TYPE_CHECKING:
    from pathlib import Path

#: The example of Go's golang.org/x/mod/sumdb/note.
NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NEUMANN_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
KNOWN = VerifierKey.parse(NEUMANN)
ONE = SigningKey("bench.example/one", bytes(32))


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\nb", "a\u2003b", "a\xa0b", "a\x1bb", HOSTILE]
)
def test_a_key_has_no_name_that_a_note_cannot_carry(name: str) -> None:
    for make in (SigningKey.generate, lambda it: VerifierKey(it, KNOWN.public)):
        with pytest.raises(SealError) as caught:
            make(name)

        assert controls(str(caught.value)) == []


def test_a_new_key_has_only_characters_that_show_in_its_name() -> None:
    with pytest.raises(SealError, match="visible"):
        SigningKey.generate("bench\u202e7")


KEY_ID, KEY = NEUMANN.split("+", 2)[1:]
DATA = base64.b64decode(KEY)


def key_text(data: bytes) -> str:
    return f"PeterNeumann+{KEY_ID}+{base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "NAME.ID.BASE64"),
        ("PeterNeumann", "NAME.ID.BASE64"),
        (f"+{KEY_ID}+{KEY}", "its name"),
        (f"Peter Neumann+{KEY_ID}+{KEY}", "its name"),
        (f"Peter+{KEY_ID}+{KEY}", "its id is .*, and the text says c74f20a3"),
        (f"PeterNeumann+{KEY_ID[1:]}+{KEY}", "eight"),
        (f"PeterNeumann+{KEY_ID.upper()}+{KEY}", "eight"),
        (f"PeterNeumann+c74f20a4+{KEY}", "was altered"),
        (f"{NEUMANN}\n", "not base64"),
        (f"{NEUMANN}=", "not base64"),
        (NEUMANN[:-1], "not base64"),
        (key_text(DATA[:-1]), "only Ed25519"),
        (key_text(DATA + b"\0"), "only Ed25519"),
        (key_text(b"\x04" + DATA[1:]), "only Ed25519"),
        (key_text(b""), "only Ed25519"),
        ("a" * 5000, "at most 4096"),
    ],
)
def test_a_text_that_is_not_a_verifier_key_is_refused(text: str, said: str) -> None:
    with pytest.raises(SealError, match=said):
        VerifierKey.parse(text)


SECRET = NEUMANN_SECRET.rpartition("+c74f20a3+")[2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        NEUMANN,
        NEUMANN_SECRET.replace("c74f20a3", "c74f20a4"),
        NEUMANN_SECRET.replace("Peter", "Pet er"),
        NEUMANN_SECRET.replace("+KEY", ""),
        NEUMANN_SECRET + "=",
        NEUMANN_SECRET[:-4],
    ],
)
def test_a_text_that_is_not_a_signing_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(SealError) as caught:
        SigningKey.parse(text)

    assert SECRET[8:40] not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_signing_key_is_not_taken_or_shown_as_a_verifier_key() -> None:
    for text in (
        NEUMANN_SECRET,
        f" {NEUMANN_SECRET}\n",
        NEUMANN_SECRET[:-4],
        f"x\n{NEUMANN_SECRET}",
    ):
        with pytest.raises(SealError, match="this is a signing key; its verifier key") as caught:
            VerifierKey.parse(text)

        assert "Neumann" not in str(caught.value)


def test_a_secret_shows_in_no_repr_and_leaves_by_no_pickle() -> None:
    key = SigningKey.parse(NEUMANN_SECRET)

    assert repr(key) == "SigningKey('PeterNeumann', id c74f20a3)"
    with pytest.raises(TypeError, match="not copied or pickled"):
        pickle.dumps(key)


def test_new_keys_differ_and_read_back() -> None:
    one, two = SigningKey.generate("a"), SigningKey.generate("a")

    assert one.text() != two.text()
    assert SigningKey.parse(one.text()).verifier() == one.verifier()
    assert VerifierKey.parse(one.verifier().text()) == one.verifier()


def test_without_cryptography_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    note = sign_note("a\n", ONE)
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)

    monkeypatch.setitem(sys.modules, "cryptography", None)
    for use in (lambda: SigningKey.generate("a"), lambda: open_note(note, ONE.verifier())):
        with pytest.raises(MissingCryptography, match=r"install the extra memhub\[seal\]"):
            use()


def test_a_key_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    before = os.umask(0)
    try:
        write_signing_key(path, ONE)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == f"{ONE.text()}\n"
    assert load_signing_key(path).verifier() == ONE.verifier()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644])
def test_a_key_file_that_others_have_rights_to_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    write_signing_key(path, ONE)
    path.chmod(mode)
    with pytest.raises(AuditError, match=f"its mode {mode:04o} lets others have it") as caught:
        load_signing_key(path)

    assert caught.value.errno == errno.EPERM


def test_a_key_file_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    for there in (path, link):
        with pytest.raises(AuditError) as caught:
            write_signing_key(there, ONE)

        assert caught.value.errno == errno.EEXIST

    assert path.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_key_file_that_cannot_reach_the_disk_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(AuditError, match="signing key not written: No space") as caught:
        write_signing_key(tmp_path / "key", ONE)

    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\xff\n", b"key\n", f"{ONE.text()}\n\n".encode(), b"a" * 100_000]
)
def test_a_file_without_a_signing_key_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(AuditError, match="signing key not read") as caught:
        load_signing_key(path)

    assert caught.value.errno == errno.EINVAL
    assert ONE.text()[-40:] not in str(caught.value)


def test_what_is_not_a_regular_file_holds_no_key(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    for path in (fifo, tmp_path):
        with pytest.raises(AuditError, match="not a regular file") as caught:
            load_signing_key(path)

        assert caught.value.errno == errno.EINVAL

    with pytest.raises(AuditError, match="No such file"):
        load_signing_key(tmp_path / "none")


def test_a_key_file_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_signing_key(tmp_path / "key", ONE)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(AuditError, match=f"it belongs to user {owner}") as caught:
        load_signing_key(tmp_path / "key")

    assert caught.value.errno == errno.EPERM


def test_the_name_of_a_new_key_has_a_limit() -> None:
    assert len(SigningKey.generate("a" * 255).name) == 255
    with pytest.raises(SealError, match="at most 255 characters, and not 256"):
        SigningKey.generate("a" * 256)
