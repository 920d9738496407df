"""A command whose standard streams are closed fails where it needs them, and only there."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cli.test_command_line import MTRR, ROOT
from cli.test_full_disk import IN_A_PROCESS, OUTPUTS, unwritten
from memhub.audit import AuditLog
from memhub.config import load_config

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run


def closed(words: list[str], streams: str) -> subprocess.CompletedProcess[str]:
    """A command of which a shell has closed some standard streams."""
    command = shlex.join([sys.executable, "-m", "memhub", *words])

    return subprocess.run(
        f"{command} {streams}", shell=True, cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("words", IN_A_PROCESS, ids=lambda words: " ".join(words[:2]))
def test_a_closed_output_is_a_failure_like_a_full_one(words: list[str]) -> None:
    done = closed(words, ">&-")

    assert done.returncode == 1
    assert done.stderr.endswith("memhub: standard output: Bad file descriptor\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", OUTPUTS, ids=lambda words: " ".join(words[:2]))
def test_every_command_fails_that_way(
    run: Run, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process: the interpreter has None for a stream that is closed."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "stdout", None)
    done = run(*words)
    sys.stdout.close()

    assert done.code == unwritten(words)
    assert done.err.endswith("memhub: standard output: Bad file descriptor\n")


def test_so_it_is_for_a_log_and_if_all_streams_are_closed(tmp_path: Path) -> None:
    log = tmp_path / "a.jsonl"
    with AuditLog.open(log):
        pass

    shows = (["audit", "show", str(log)], ["audit", "show", "--json", str(log)])
    for words, code in ((shows[0], 1), (shows[1], 1), (["audit", "verify", str(log)], 2)):
        done = closed(words, ">&-")
        line = "memhub: standard output: Bad file descriptor\n"
        assert (done.returncode, done.stderr) == (code, line)
        assert closed(words, "<&- >&- 2>&-").returncode == code


def test_a_command_without_output_needs_none(tmp_path: Path) -> None:
    (tmp_path / "mtrr").write_text(MTRR)
    made = tmp_path / "pc.toml"
    done = closed(["import", str(tmp_path / "mtrr"), "-o", str(made)], "<&- >&- 2>&-")

    assert done.returncode == 0
    assert list(load_config(made).machines) == ["imported"]


def test_what_a_closed_standard_error_would_get_is_not_put_out(tmp_path: Path) -> None:
    done = closed(["explain", "--config", str(tmp_path / "none.toml"), "0"], "2>&-")

    assert (done.returncode, done.stdout) == (2, "")


def test_a_closed_input_is_a_line_and_no_traceback() -> None:
    done = closed(["import", "-"], "<&-")

    assert done.returncode == 2
    assert done.stderr.endswith("Bad file descriptor\n")
    assert "Traceback" not in done.stderr
