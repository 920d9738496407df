"""`memhub audit export`: to a file, an endpoint and the journal, once and as the log grows."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from audit.conftest import event
from memhub.audit import AuditLog, read_records
from shipping.collector import Collector, collector, seqs_of

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run

__all__ = ("collector",)


def seqs(path: Path) -> list[int]:
    """The numbers of the records in an OTLP file."""
    return [seq for line in path.read_text().splitlines() for seq in seqs_of(json.loads(line))]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "out.state"


# To a file


def test_a_file_gets_every_record_or_those_selected(run: Run, demo: Path, tmp_path: Path) -> None:
    everything = [it["seq"] for it in read_records(demo)]
    refused = [it["seq"] for it in read_records(demo) if it.get("errno")]
    for words, due in (((), everything), (("--refused",), refused)):
        out = tmp_path / f"{len(words)}.jsonl"
        code, text, err = run("audit", "export", demo, "--otlp", out, *words)
        assert (code, text) == (0, "")
        assert err == f"memhub: {len(due)} records sent, 0 refused\n"
        assert seqs(out) == due


def test_a_file_that_has_something_is_not_mixed_with_it(run: Run, demo: Path, out: Path) -> None:
    out.write_text("precious\n")
    code, _, err = run("audit", "export", demo, "--otlp", out)

    assert (code, out.read_text()) == (2, "precious\n")
    assert "has something" in err


@pytest.mark.parametrize("name", ["a.jsonl", "log/"])
def test_with_a_state_it_goes_on_behind_the_last_record_over_rotations(
    run: Run, tmp_path: Path, out: Path, state: Path, name: str
) -> None:
    path, words = f"{tmp_path}/{name}", ("--otlp", out, "--state", state)
    with AuditLog.open(path) as log:
        log.record(event(1))
        log.flush()
        assert run("audit", "export", path, *words).code == 0
        log.record(event(2))
        if log.folder is not None:
            log.rotate()
        else:
            (tmp_path / name).rename(tmp_path / "a.jsonl.1")
            log.reopen()

        log.flush()
        assert run("audit", "export", path, *words).code == 0
        files = [tmp_path / name] if log.folder else [tmp_path / "a.jsonl.1", tmp_path / name]
        assert seqs(out) == [it["seq"] for file in files for it in read_records(file)]
        assert json.loads(state.read_text()) == {
            "log_id": log.log_id,
            "seq": log.seq,
            "hash": log.head,
        }
        assert run("audit", "export", path, *words).err == "memhub: 0 records sent, 0 refused\n"


def test_a_line_that_a_killed_writer_left_is_cut_off(
    run: Run, demo: Path, out: Path, state: Path
) -> None:
    run("audit", "export", demo, "--otlp", out, "--until", 3)
    out.write_bytes(out.read_bytes() + b'{"resourceLogs":[')
    run("audit", "export", demo, "--otlp", out, "--state", state, "--since", 4)

    assert seqs(out) == [it["seq"] for it in read_records(demo)]


def test_a_state_that_does_not_fit_the_log_is_refused(
    run: Run, demo: Path, tmp_path: Path, out: Path, state: Path
) -> None:
    with AuditLog.open(tmp_path / "other.jsonl"):
        pass

    assert run("audit", "export", demo, "--otlp", out, "--state", state).code == 0
    kept, size = state.read_text(), out.stat().st_size
    for log, text, why in (
        (tmp_path / "other.jsonl", kept, "and the state file is of memhub-demo"),
        (demo, kept.replace('"hash": "', '"hash": "00'), "is not in the log"),
        (demo, "[]", "is not a state file"),
        (demo, '{"log_id": 1, "seq": 1, "hash": ""}', "is not a state file"),
        (demo, "\x00", "is not a state file"),
    ):
        state.write_text(text)
        code, _, err = run("audit", "export", log, "--otlp", out, "--state", state)
        assert (code, state.read_text(), out.stat().st_size) == (2, text, size)
        assert why in err


def test_a_pipe_is_sent_once_and_not_followed(run: Run, demo: Path, out: Path, state: Path) -> None:
    command = [sys.executable, "-m", "memhub", "audit", "export", "-", "--otlp", str(out)]
    subprocess.run(command, input=demo.read_bytes(), capture_output=True, check=True)
    assert seqs(out) == [it["seq"] for it in read_records(demo)]

    for words in (("-f",), ("--state", state)):
        code, _, err = run("audit", "export", "-", "--otlp", out, *words)
        assert code == 2
        assert "need a file or a folder" in err


def test_what_is_not_written_is_an_error_with_its_name(run: Run, demo: Path) -> None:
    for target, why in (("/dev/full", "No space left"), ("/none/x", "No such file")):
        code, _, err = run("audit", "export", demo, "--otlp", target)
        assert code == 2
        assert f"{target}: {why}" in err


# To an endpoint


def test_an_endpoint_gets_batches_and_the_state_follows_what_it_took(
    run: Run, tmp_path: Path, collector: Collector, state: Path
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        for number in range(1200):
            log.record(event(number))

    words = ("--otlp", collector.url, "--state", state, "--header", "X-Scope=lab")
    collector.answers = [(200, {}, b"{}"), (403, {}, b'{"message": "no"}')]
    code, _, err = run("audit", "export", path, *words)
    assert code == 1
    assert "403 Forbidden: no" in err
    assert json.loads(state.read_text())["seq"] == 512

    assert run("audit", "export", path, *words).code == 0
    took = [seqs for _, _, seqs in collector.asked]
    assert took[1][0] == 513
    assert [*took[0], *took[2], *took[3]] == list(range(1, 1203))
    assert {headers["X-Scope"] for _, headers, _ in collector.asked} == {"lab"}


def test_records_that_the_endpoint_refuses_make_a_failure(
    run: Run, demo: Path, collector: Collector
) -> None:
    collector.answers = [(200, {}, b'{"partialSuccess": {"rejectedLogRecords": 3}}')]
    code, _, err = run("audit", "export", demo, "--otlp", collector.url)

    assert code == 1
    assert "171 records sent, 3 refused" in err


def test_wrong_words_are_refused(run: Run, demo: Path) -> None:
    for words in (
        (),
        ("--otlp", "x", "--journald"),
        ("--otlp", "ftp://x"),
        ("--otlp", "http://x", "--header", "nonsense"),
        ("--otlp", "http://x", "--header", "A=b\r\nC: d"),
        ("--otlp", "http://x", "--retry-for", "-1"),
    ):
        assert run("audit", "export", demo, *words).code == 2, words


# As it grows


def test_it_follows_a_log_until_it_is_told_to_end(
    tmp_path: Path, collector: Collector, state: Path
) -> None:
    words = [str(tmp_path / "log"), "--otlp", collector.url, "--state", str(state), "-f"]
    command = [sys.executable, "-m", "memhub", "audit", "export", *words]
    with AuditLog.open(f"{tmp_path}/log/") as log:
        running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert collector.wait_for(1) == [1]
            log.record(event(1))
            log.rotate()
            assert collector.wait_for(4) == [1, 2, 3, 4]
        finally:
            running.send_signal(signal.SIGTERM)
            _, err = running.communicate()

        assert (running.returncode, err) == (0, "")


# To the journal


def test_the_journal_gets_an_entry_for_each_record(run: Run, demo: Path, tmp_path: Path) -> None:
    path, received = str(tmp_path / "socket"), []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)
        command = [sys.executable, "-m", "memhub", "audit", "export", str(demo)]
        running = subprocess.Popen([*command, "--journald", path])
        sock.settimeout(60)
        records: list[dict[str, Any]] = list(read_records(demo))
        for _ in records:
            data, fds, *_ = socket.recv_fds(sock, 1 << 20, 1)
            assert fds == []
            received.append(data)

        assert running.wait() == 0

    for data, record in zip(received, records, strict=True):
        assert f"MEMHUB_HASH={record['hash']}\n".encode() in data
        assert f"MEMHUB_EVENT={record['event']}\n".encode() in data
