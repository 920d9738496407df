"""Output that cannot be written: a line says so, whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.test_command_line import ROOT, start

if TYPE_CHECKING:
    from clirun import Run

FULL = Path("/dev/full")

needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")

OUTPUTS = [
    ["--help"], ["--version"], ["arches"], ["arches", "--json"], ["demo", "--help"],
    ["explain", "--config", "configs/lab.toml", "--machine", "legacy", "0"],
    ["memcontrol", "--config", "configs/lab.toml", "--machine", "legacy", "list"],
    ["hexdump", "--config", "configs/lab.toml", "--machine", "legacy", "0"],
    ["read", "--config", "configs/lab.toml", "--machine", "legacy", "0"],
    ["top", "--once", "--config", "configs/lab.toml"],
    ["top", "--once", "--json", "--config", "configs/lab.toml"],
    ["replay", "tests/data/machines.open.jsonl"],
    ["import", "tests/data/field/rdmsr.txt"],
]  # fmt: skip
#: Text and bytes: what is tested with the interpreter's own beginning and end too.
IN_A_PROCESS = [words for words in OUTPUTS if words[0] in ("arches", "read")]


@needs_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", IN_A_PROCESS, ids=lambda words: " ".join(words[:2]))
def test_a_full_disk_is_a_line_and_no_traceback(words: list[str], unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with FULL.open("w") as full:
        done = start(
            *words, capture_output=False, stdout=full, stderr=subprocess.PIPE, env=environment
        )
        both = start(*words, capture_output=False, stdout=full, stderr=full, env=environment)

    assert (done.returncode, both.returncode) == (1, 1)
    assert done.stderr.endswith("memhub: standard output: No space left on device\n")
    assert "Traceback" not in done.stderr


@needs_full
@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("words", OUTPUTS, ids=lambda words: " ".join(words[:2]))
def test_every_command_says_in_a_line_that_the_disk_is_full(
    run: Run, words: list[str], unbuffered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process; what the interpreter flushes at its end is what closing flushes here."""
    monkeypatch.chdir(ROOT)

    def full() -> TextIOWrapper:
        return TextIOWrapper(
            open(FULL, "wb", buffering=0 if unbuffered else -1),  # noqa: PTH123 - the wrapper closes it
            write_through=unbuffered,
        )

    with full() as out, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        done = run(*words)

    with full() as out, full() as err, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        both = run(*words)

    assert (done.code, both.code) == (1, 1)
    assert done.err.endswith("memhub: standard output: No space left on device\n")
    assert (done.out, both.out, both.err) == ("", "", "")


@needs_full
@pytest.mark.parametrize(
    "words",
    [
        ["compare", "{folder}/script", "--out", "{folder}/full.svg"],
        ["screen", "vga", "--config", "configs/devices.toml", "--out", "{folder}/full.png"],
    ],
    ids=lambda it: it[0],
)
def test_a_picture_for_which_there_is_no_room_is_a_line(
    run: Run, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "script").write_text("set -b 0xd0000000 -l 0x1000000 uncacheable\n")
    for name in ("full.svg", "full.png"):
        (tmp_path / name).symlink_to(FULL)

    done = run(*[word.format(folder=tmp_path) for word in words])
    assert (done.code, "No space left on device" in done.err) == (2, True)
    assert "Traceback" not in done.err
