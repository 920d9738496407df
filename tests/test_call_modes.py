"""`memhub` and `python -m memhub` are one program, and it starts quickly."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from memhub.cli import main
from memhub.cli.commands import COMMANDS

SCRIPT = Path(sysconfig.get_path("scripts")) / "memhub"
MODES = [[sys.executable, "-m", "memhub"], [str(SCRIPT)]]


def call(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("mode", MODES, ids=["module", "script"])
def test_both_ways_to_call_give_the_version_and_the_exit_code(mode: list[str]) -> None:
    done = call(*mode, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("memhub ")

    done = call(*mode, "frob")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no command 'frob'; there are demo, " in done.stderr


def test_a_dump_goes_through_a_pipe() -> None:
    line = "reg00: base=0x00000000 (   0MB), size= 512MB: write-back, count=1\n"
    done = call(*MODES[0], "import", "-", stdin=line)

    assert done.returncode == 0
    assert done.stdout.startswith("# Imported from a proc_mtrr text.")


def test_a_reader_that_leaves_is_no_error_to_speak_of(tmp_path: Path) -> None:
    log = tmp_path / "demo.jsonl"
    assert call(*MODES[0], "demo", "--log", str(log)).returncode == 0
    log.write_bytes(log.read_bytes() * 40)
    show = subprocess.Popen(
        [*MODES[0], "audit", "show", str(log)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert show.stdout is not None
    assert show.stderr is not None
    show.stdout.readline()
    show.stdout.close()

    assert show.stderr.read() == b""
    assert show.wait() == 1
    show.stderr.close()


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    told = capsys.readouterr().err
    assert all(f"  {name}" in told and it.summary in told for name, it in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"usage: memhub {name}" in capsys.readouterr().out


def test_the_parser_loads_the_standard_library_alone() -> None:
    """Whatever a one-shot command does not need is time that it would spend on nothing."""
    code = (
        "import sys\n"
        "before = {name.split('.')[0] for name in sys.modules}\n"
        "from memhub.cli import main\n"
        "from memhub.cli.commands import COMMANDS\n"
        "for name in COMMANDS:\n"
        "    main([name, '--help'])\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "foreign = loaded - before - {'memhub'} - sys.stdlib_module_names\n"
        "print(sorted(foreign), file=sys.stderr)"
    )
    done = call(sys.executable, "-I", "-c", code)

    assert done.stderr.splitlines()[-1] == "[]"
