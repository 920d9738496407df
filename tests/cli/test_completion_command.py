"""`memhub completion`: the shells complete what the parsers take."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from cli.test_command_line import start
from memhub.cli.commands import COMMANDS
from memhub.cli.completion import SHELLS, make_script
from memhub.cli.parsers import make_parser, parsers_below

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run

BASH = """
source {script}
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_memhub
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def need(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")

    return found


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a script for each shell, and two files to complete."""
    folder = tmp_path_factory.mktemp("scripts")
    for shell in SHELLS:
        (folder / shell).write_text(make_script(shell))

    (folder / "lab.toml").touch()
    (folder / "logs").mkdir()

    return folder


def output_of(command: list[str], cwd: Path) -> list[str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")

    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("memhub ser", ["serve"]),
        ("memhub audit sh", ["show"]),
        ("memhub audit show --t", ["--tail"]),
        ("memhub fault add --prob", ["--probability"]),
        ("memhub completion z", ["zsh"]),
        ("memhub read --device k", ["kmem"]),
        ("memhub serve la", ["lab.toml"]),
        ("memhub audit pack --out lo", ["logs"]),
    ],
)
def test_bash_completes_commands_verbs_options_choices_and_files(
    scripts: Path, words: str, offered: list[str]
) -> None:
    code = BASH.format(script=scripts / "bash", words=words)

    assert output_of([need("bash"), "--norc", "-c", code], scripts) == offered


def test_bash_offers_every_command(scripts: Path) -> None:
    code = BASH.format(script=scripts / "bash", words="memhub ''")

    assert set(COMMANDS) <= set(output_of([need("bash"), "--norc", "-c", code], scripts))


@pytest.mark.parametrize(
    ("line", "offered"), [("memhub ser", "serve"), ("memhub audit show --ta", "--tail")]
)
def test_fish_completes_commands_and_options(scripts: Path, line: str, offered: str) -> None:
    code = f"source {scripts / 'fish'}; complete -C '{line}'"

    assert offered in output_of([need("fish"), "--no-config", "-c", code], scripts)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_accepts_the_script(scripts: Path, shell: str) -> None:
    assert output_of([need(shell), "-n", str(scripts / shell)], scripts) == []


def test_tcsh_accepts_the_script(scripts: Path) -> None:
    output_of([need("tcsh"), "-f", "-c", f"source {scripts / 'tcsh'}"], scripts)


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_its_own_script(run: Run, shell: str) -> None:
    done = run("completion", shell)

    assert (done.code, done.err) == (0, "")
    assert done.out == make_script(shell)


def test_another_shell_is_refused_with_the_ones_there_are(run: Run) -> None:
    done = run("completion", "cmd")

    assert done.code == 2
    assert all(shell in done.err for shell in SHELLS)


def test_without_shtab_the_extra_is_named() -> None:
    done = start("completion", "bash", hide="shtab")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "memhub: shtab is not installed, which makes the scripts: pip install 'memhub[cli]'\n"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_the_parsers_made_without_running_are_those_that_parse(run: Run, name: str) -> None:
    assert run(name, "--help").out == parsers_below(make_parser())[name].format_help()
