"""The commands of `docs/shipping.md`, each of them run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memhub.audit import AuditLog, read_lines
from shipping.collector import Collector, collector

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ("collector",)

PAGE = (Path(__file__).parents[2] / "docs" / "shipping.md").read_text()
COMMANDS = [
    line.split("  #")[0]
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture
def bench(tmp_path: Path, demo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both kinds of a log, and a home of its own."""
    shutil.copy(demo, tmp_path / "audit.jsonl")
    with AuditLog.open(f"{tmp_path}/log/", log_id="a-log") as log:
        for line, record in read_lines(demo):
            if line and record["event"].startswith("request."):
                log.record(
                    {k: v for k, v in record.items() if k not in ("v", "seq", "prev", "hash")}
                )

        log.rotate()

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_commands() -> None:
    assert sum("memhub audit" in it for it in COMMANDS) == 8


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_does_what_it_says(command: str, bench: Path, collector: Collector) -> None:
    for tool in ("lnav", "jq"):
        if re.search(rf"(^|[|&] ){tool} ", command) and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")

    if command == "lnav audit.jsonl":
        # without a terminal
        command = "lnav -n audit.jsonl"

    command = command.replace("http://127.0.0.1:4318", collector.url)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(bench / "socket"))
        sock.settimeout(60)
        words = command.replace("--journald", f"--journald {bench}/socket")
        with start_in_shell(words) as running:
            assert running.stdout is not None
            if " -f" in command:
                if "--journald" in command:
                    assert b"MEMHUB_EVENT=log.open\n" in sock.recv(1 << 20)
                elif "--otlp" in command:
                    assert collector.wait_for(1)[0] == 1
                else:
                    assert running.stdout.readline()

                os.killpg(running.pid, signal.SIGTERM)

            _, err = running.communicate()

    assert "Traceback" not in err
    assert running.returncode in ((0, -signal.SIGTERM) if " -f" in command else (0,)), err


@contextmanager
def start_in_shell(words: str) -> Iterator[subprocess.Popen[str]]:
    """A command line in a process group of its own, which the test ends if it is left running."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, shell=True, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
