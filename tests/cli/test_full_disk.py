"""Output that cannot be written: a line says so, whatever the command."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.test_command_line import ROOT, start
from memhub.cli.commands import COMMANDS, FINDING
from memhub.cli.failures import explain_failure

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
    ["compare", "--kernels", "i386,k6"], ["plan", "--want", "0+1G=WB"], ["plugins"], ["machines"],
]  # fmt: skip
#: Text and bytes: what is tested with the interpreter's own beginning and end too.
IN_A_PROCESS = [words for words in OUTPUTS if words == ["arches"] or words[0] == "read"]


def unwritten(words: list[str]) -> int:
    """The exit code where the output cannot be written: not 1 where that is an answer."""
    return 2 if words[0] in ("compare", "machines", "plan", "plugins", "replay") else 1


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

    assert (done.code, both.code) == (unwritten(words), unwritten(words))
    assert done.err.endswith("memhub: standard output: No space left on device\n")
    assert (done.out, both.out, both.err) == ("", "", "")


#: Commands that write a file `{}`, which is a link to a device that is full.
FILES = [
    ["compare", "--kernels", "i386,k6", "--out", "{}.svg"],
    ["map", "acer-aspire-one", "--out", "{}.svg"],
    ["read", "--config", "configs/lab.toml", "--machine", "legacy", "-n", "16", "-o", "{}", "0"],
    ["read", "--config", "configs/lab.toml", "--machine", "legacy", "-n", "1M", "-o", "{}", "0"],
    ["screen", "--config", "configs/devices.toml", "vga", "--out", "{}.png"],
    ["image", "save", "--config", "configs/lab.toml", "--machine", "legacy", "--out", "{}.elf"],
    ["import", "tests/data/field/rdmsr.txt", "-o", "{}"],
]
#: The same of a log, with the extra packages that they need.
QUESTIONS = [
    ["contention", "--arrow", "{}"],
    ["contention", "--parquet", "{}"],
]
#: Commands that write a folder `{}`.
FOLDERS = [["man", "--out", "{}"], ["new-arch", "mips", "--folder", "{}"]]


@needs_full
@pytest.mark.parametrize("words", FILES, ids=lambda words: " ".join(words[:2]))
def test_a_file_that_is_full_is_named_in_a_line(
    run: Run, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    _check_full(run, words, tmp_path)


@needs_full
@pytest.mark.parametrize("words", QUESTIONS, ids=lambda words: " ".join(words[:2]))
def test_a_question_whose_answer_does_not_fit_the_disk_names_the_file(
    run: Run, words: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("ibis")
    _check_full(
        run, ["audit", words[0], *words[1:], str(ROOT / "configs/lab-audit.jsonl")], tmp_path
    )


def _check_full(run: Run, words: list[str], tmp_path: Path) -> None:
    link = tmp_path / "full"
    names = [word.replace("{}", str(link)) for word in words]
    (full,) = (name for name in names if name.startswith(str(link)))
    Path(full).symlink_to(FULL)
    done = run(*names)
    assert done.code == 2
    assert done.err.splitlines()[-1] == f"memhub: {full}: No space left on device"
    assert FULL.is_char_device()


@pytest.mark.parametrize("words", FOLDERS, ids=lambda words: words[0])
def test_a_folder_whose_files_do_not_fit_is_named_in_a_line(
    words: list[str], tmp_path: Path
) -> None:
    """The limit of a file's size stands for a disk that is full when the folder is there."""
    resource = pytest.importorskip("resource")
    folder = tmp_path / "out"
    done = start(
        *(word.replace("{}", str(folder)) for word in words),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"memhub: {folder}/")
    assert done.stderr.endswith(": File too large\n")
    assert [*folder.rglob("*")] == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EMFILE, errno.EIO])
def test_what_the_computer_has_no_room_for_is_no_traceback_even_without_a_name(code: int) -> None:
    told = explain_failure(OSError(code, os.strerror(code)))
    assert told == (2, [f"a file: {os.strerror(code)}"])
    assert explain_failure(OSError(errno.EINVAL, "no sense")) is None


def test_every_command_whose_exit_code_is_an_answer_is_a_command() -> None:
    assert set(COMMANDS) > {name.split()[0] for name in FINDING}
