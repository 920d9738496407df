"""`memhub audit keygen`, `verify --key`, `prove` and `check`."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit.conftest import event
from memhub.audit import AuditLog
from memhub.audit.seals.note_keys import load_signing_key

if TYPE_CHECKING:
    from clirun import Run


@pytest.fixture
def public(run: Run, tmp_path: Path) -> str:
    """A verifier key; its signing key is in `bench.key`."""
    code, out, err = run("audit", "keygen", "lab.example/bench", "--out", tmp_path / "bench.key")
    assert (code, err) == (0, "")

    return out.strip()


@pytest.fixture
def log(public: str, tmp_path: Path) -> Path:
    """A sealed log of three segments."""
    key = load_signing_key(tmp_path / "bench.key")
    with AuditLog.open(f"{tmp_path}/log/", key=key) as log:
        for number in range(9):
            log.record({**event(number), "machine": "pc"})
            if number in (3, 6):
                log.rotate()

    return tmp_path / "log"


def test_keygen_writes_a_key_for_its_owner_alone(run: Run, tmp_path: Path, public: str) -> None:
    path = tmp_path / "bench.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_signing_key(path).verifier().text() == public
    assert public.startswith("lab.example/bench+")

    kept = path.read_bytes()
    code, _, err = run("audit", "keygen", "lab.example/bench", "--out", path)
    assert (code, path.read_bytes()) == (2, kept)
    assert "exists" in err
    for name in ("", "two words", "a+b"):
        assert run("audit", "keygen", name, "--out", tmp_path / "other.key").code == 2

    assert not (tmp_path / "other.key").exists()


def test_verify_takes_a_key_or_its_file_and_tells_of_the_seals(
    run: Run, log: Path, tmp_path: Path, public: str
) -> None:
    (tmp_path / "bench.pub").write_text(public + "\n")
    for key in (public, tmp_path / "bench.pub"):
        code, out, _ = run("audit", "verify", log, "--key", key)
        text = " ".join(out.split())
        assert code == 0
        assert "3 seals hold, the last over 17 records" in text
        assert "give --key" not in text

    assert "give --key" in run("audit", "verify", log).out
    facts = json.loads(run("audit", "verify", log, "--key", public, "--json").out)
    assert (facts["ok"], facts["seals"], facts["sealed_by"]) == (True, 3, public)


def test_verify_names_the_damage(run: Run, log: Path, public: str) -> None:
    segment = log / "00000002.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"base":5', b'"base":6', 1))
    code, out, _ = run("audit", "verify", log, "--key", public)
    text = " ".join(out.split())

    assert code == 1
    assert "00000002.jsonl: line " in text
    assert text.endswith("damage: altered")
    facts = json.loads(run("audit", "verify", log, "--json").out)
    assert facts["broken"]["damage"] == "altered"
    assert facts["broken"]["file"] == str(segment)


def test_a_key_that_is_none_and_a_foreign_one_are_refused(
    run: Run, log: Path, tmp_path: Path, public: str
) -> None:
    for key in ("nonsense", "a+b+c", public[:-3], tmp_path / "none"):
        code, _, err = run("audit", "verify", log, "--key", key)
        assert code == 2, key
        assert "--key" in err

    other = run("audit", "keygen", "lab.example/other", "--out", tmp_path / "o.key").out.strip()
    code, out, _ = run("audit", "verify", log, "--key", other)
    assert code == 1
    assert "is not sealed with that key" in " ".join(out.split())


def test_a_proof_of_each_record_holds_without_the_log(
    run: Run, log: Path, tmp_path: Path, public: str
) -> None:
    for seq in range(1, 18):
        path = tmp_path / f"{seq}.tlog-proof"
        assert run("audit", "prove", log, str(seq), "--out", path).code == 0
        facts = json.loads(run("audit", "check", path, "--key", public, "--json").out)
        assert (facts["ok"], facts["record"]["seq"], facts["index"]) == (True, seq, seq - 1)

    proof = run("audit", "prove", log, "3").out
    assert proof == (tmp_path / "3.tlog-proof").read_text()
    out = run("audit", "check", tmp_path / "3.tlog-proof", "--key", public).out
    assert "record 3 (request.get) is in the log that lab.example/bench has sealed" in out


def test_a_proof_that_was_changed_does_not_hold(
    run: Run, log: Path, tmp_path: Path, public: str
) -> None:
    path = tmp_path / "p.tlog-proof"
    run("audit", "prove", log, "3", "--out", path)
    lines = path.read_text().splitlines(keepends=True)
    record = next(it for it in log.joinpath("00000001.jsonl").read_bytes().splitlines()[1:])
    (tmp_path / "record").write_bytes(record)
    path.write_text("".join(lines))
    assert run("audit", "check", path, "--key", public, "--record", tmp_path / "record").code == 1

    path.write_text("".join(lines).replace("index 2", "index 1"))
    code, _, err = run("audit", "check", path, "--key", public)
    assert (code, "Traceback" in err) == (1, False)
    other = run("audit", "keygen", "lab.example/bench", "--out", tmp_path / "o.key").out.strip()
    path.write_text("".join(lines))
    assert run("audit", "check", path, "--key", other).code == 1


def test_what_cannot_be_proved_says_why(run: Run, log: Path, tmp_path: Path) -> None:
    for words, why in (
        ((log, "99"), "record 99 is not in the log, which ends with record 18"),
        ((log, "18"), "no seal covers record 18"),
        ((log / "00000002.jsonl", "9"), "the log's beginning is missing"),
    ):
        code, _, err = run("audit", "prove", *words)
        assert code == 2
        assert why in " ".join(err.split())

    plain = tmp_path / "plain.jsonl"
    with AuditLog.open(plain) as it:
        it.record(event(1))

    assert "is not sealed" in run("audit", "prove", plain, "1").err


@pytest.mark.parametrize("verb", ["verify", "check"])
def test_a_signing_key_where_its_verifier_key_is_wanted_is_not_shown(
    run: Run, log: Path, tmp_path: Path, public: str, verb: str
) -> None:
    secret = (tmp_path / "bench.key").read_text().strip()
    proof = tmp_path / "p.tlog-proof"
    run("audit", "prove", log, "3", "--out", proof)
    (tmp_path / "indented.key").write_text(f"\n  {secret}\n")
    for key in (tmp_path / "bench.key", tmp_path / "indented.key", secret, secret[:60]):
        code, out, err = run("audit", verb, proof if verb == "check" else log, "--key", key)
        told = "".join((out + err).split())
        assert (code, "thisisasigningkey;itsverifierkeyiswanted" in told) == (2, True)
        assert not any(secret[at : at + 8] in told for at in range(40, len(secret) - 8))


def test_an_empty_key_and_one_of_other_bytes_are_named(run: Run, log: Path, tmp_path: Path) -> None:
    (tmp_path / "binary.key").write_bytes(bytes(range(128, 256)))
    code, _, err = run("audit", "verify", log, "--key", "")
    assert (code, "--key: it is empty" in err) == (2, True)

    code, _, err = run("audit", "verify", log, "--key", tmp_path / "binary.key")
    assert (code, "codec" in err) == (2, False)
    assert "binary.key: not UTF-8" in " ".join(err.split())


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file without end, of which nobody reads all."""
    zero = Path("/dev/zero")
    if not zero.exists():
        pytest.skip("there is no /dev/zero")

    def refuse(path: Path, *_args: object) -> None:
        raise AssertionError(f"{path} is read without a limit")

    for name in ("read_bytes", "read_text"):
        monkeypatch.setattr(Path, name, refuse)

    return zero


def test_of_a_file_without_end_only_a_part_is_read(
    run: Run, log: Path, tmp_path: Path, public: str, endless: Path
) -> None:
    proof = tmp_path / "p.tlog-proof"
    assert run("audit", "prove", log, "3", "--out", proof).code == 0
    for words, why in (
        (("verify", log, "--key", endless), "a verifier key has at most 4096 characters"),
        (("check", endless, "--key", public), "a proof has at most"),
        (("check", proof, "--key", public, "--record", endless), "a record's line has at most"),
    ):
        code, _, err = run("audit", *words)
        assert code in (1, 2)
        assert why in " ".join(err.split())


def test_a_proof_is_written_where_nothing_is_or_not_at_all(
    run: Run, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = log / "00000001.jsonl"
    kept = segment.read_bytes()
    for path in (segment, Path(os.devnull), log):
        code, _, err = run("audit", "prove", log, "3", "--out", path)
        assert (code, "exists" in err, "Traceback" in err) == (2, True, False)

    assert segment.read_bytes() == kept

    def refuse(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    path = tmp_path / "new.tlog-proof"
    code, _, err = run("audit", "prove", log, "3", "--out", path)
    assert (code, "proof not written: No space left" in " ".join(err.split())) == (2, True)
    assert not path.exists()


def test_one_record_is_counted_in_the_singular(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    with AuditLog.open(path):
        pass

    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    _, out, _ = run("audit", "verify", path)

    assert f"{path}: 1 record verified" in " ".join(out.split())
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    _, out, _ = run("audit", "verify", path)

    assert "broken after 1 record: line 2" in " ".join(out.split())


def test_restore_says_what_its_own_socket_is_for(run: Run) -> None:
    code, out, _ = run("audit", "restore", "--help")

    assert code == 0
    assert "the socket on which clients connect" in " ".join(out.split())
    assert "the file's own" not in " ".join(out.split())
