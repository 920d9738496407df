"""`memhub audit tail`, once and as it follows a log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest

from audit.conftest import event
from memhub.audit import AuditLog, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clirun import Run


@contextmanager
def following(*words: object) -> Iterator[subprocess.Popen[str]]:
    """`memhub audit tail -f` as a process of its own, killed if the test leaves it running."""
    command = [sys.executable, "-m", "memhub", "audit", "tail", "-f", *map(str, words)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def seqs(running: subprocess.Popen[str], count: int) -> list[int]:
    """The numbers of the next records; pytest's time limit ends a test that gets none."""
    assert running.stdout is not None

    return [json.loads(running.stdout.readline())["seq"] for _ in range(count)]


# Once


def test_the_last_records_are_printed_as_show_prints_them(run: Run, demo: Path) -> None:
    for words in ((), ("-n", 3), ("-n", 1000), ("--json",), ("--refused", "-n", 2), ("-n", 0)):
        count = words[words.index("-n") + 1] if "-n" in words else 10
        rest = [it for it in words if it not in ("-n", count)]
        code, out, err = run("audit", "tail", *words, demo)
        shown = run("audit", "show", *rest, *(("--tail", count) if count else ()), demo).out
        assert (code, err, out) == (0, "", shown if count else ""), words


def test_a_folder_and_a_pipe_have_last_records_too(run: Run, tmp_path: Path) -> None:
    with AuditLog.open(f"{tmp_path}/log/") as log:
        for number in range(5):
            log.record(event(number))
            log.rotate()

    lines = [line.decode() for line, _ in read_lines(tmp_path / "log")]
    code, out, _ = run("audit", "tail", "--json", "-n", 7, tmp_path / "log")
    assert (code, out.splitlines()) == (0, lines[-7:])

    command = [sys.executable, "-m", "memhub", "audit", "tail", "--json", "-n", "2", "-"]
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == lines[-2:]


def test_what_cannot_be_followed_is_refused(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in ("-", tmp_path / "fifo"):
        code, out, err = run("audit", "tail", "-f", path)
        assert (code, out) == (2, "")
        assert "cannot be followed" in err

    (tmp_path / "empty").mkdir()
    for path, why in ((tmp_path / "none", "No such file"), (tmp_path / "empty", "no segment")):
        code, _, err = run("audit", "tail", "-f", path)
        assert code == 2
        assert why in err


# As it grows


@pytest.mark.parametrize("name", ["a.jsonl", "log/"])
def test_it_goes_on_over_a_rotation_until_it_is_told_to_end(tmp_path: Path, name: str) -> None:
    path = f"{tmp_path}/{name}"
    with AuditLog.open(path) as log:
        log.record(event(1))
        log.flush()
        with following("--json", path) as running:
            assert seqs(running, 2) == [1, 2]
            if log.folder is not None:
                log.rotate()
                expected = [3, 4, 5]
            else:
                (tmp_path / name).rename(tmp_path / "a.jsonl.1")
                log.reopen()
                expected = [3, 1, 2]

            log.record(event(2))
            log.flush()
            assert seqs(running, 3) == expected

            running.send_signal(signal.SIGTERM)
            out, err = running.communicate()
            assert (running.returncode, out, err) == (0, "", "")


def test_only_what_is_selected_follows(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "a.jsonl") as log:
        log.record({**event(1), "machine": "pc"})
        log.flush()
        with following("--json", "--machine", "pc", tmp_path / "a.jsonl") as running:
            assert seqs(running, 1) == [2]
            log.record({**event(2), "machine": "mac"})
            log.record({**event(3), "machine": "pc"})
            log.flush()
            assert seqs(running, 1) == [4]


def test_an_interrupt_ends_it_without_a_traceback(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "a.jsonl"), following(tmp_path / "a.jsonl") as running:
        assert running.stdout is not None
        assert running.stdout.readline().endswith("UTC\n")
        assert running.stdout.readline().endswith("log.open\n")
        running.send_signal(signal.SIGINT)
        out, err = running.communicate()
        assert (running.returncode, out, err) == (130, "", "")


def test_it_ends_as_its_reader_does_though_nothing_is_written(tmp_path: Path) -> None:
    with (
        AuditLog.open(tmp_path / "a.jsonl"),
        following("--json", tmp_path / "a.jsonl") as running,
    ):
        assert seqs(running, 1) == [1]
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.wait() == 1
        assert running.stderr.read() == ""


def test_show_has_a_bar_unless_it_would_be_among_the_records(
    run: Run, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "memhub.cli.terminal.late_progress", lambda _: nullcontext(lambda *it: told.append(it))
    )
    size = demo.stat().st_size
    for words, terminal, due in (
        (("show",), False, [(size, size)]),
        (("show",), True, []),
        (("show", "--tail", 3), True, [(size, size)]),
        (("summary",), True, [(size, size)]),
    ):
        monkeypatch.setattr(sys.stdout, "isatty", lambda shown=terminal: shown)
        assert run("audit", *words, demo).code == 0
        assert told[-1:] == due
        told.clear()
