"""Every command line in the pages is one that memhub takes; those of the index are run."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from clirun import Done
from memhub import load_config
from memhub.cli import main
from memhub.cli.commands import COMMANDS
from memhub.cli.parsers import make_parser, parsers_below
from memhub.cli.usage import CommandParser
from pages.page_blocks import DOCS, ROOT, command_lines, pages
from service.served import served

if TYPE_CHECKING:
    from pathlib import Path

LINES = [(page.name, line) for page in pages() for line in command_lines(page)]

#: A command in running text: its name, and what it is given there.
INLINE = re.compile(r"`memhub ([a-z][^`]*)`")

#: Commands of the index that are not run here, with the tests that run them.
ELSEWHERE = {
    "import /proc/mtrr": "tests/config",
    "replay": "tests/test_replay.py",
    "audit tail": "tests/cli/test_tail_command.py",
    "audit contention": "tests/analysis/test_docs.py",
    "audit lint": "tests/analysis/test_docs.py",
    "audit report": "tests/analysis/test_picture_commands.py",
    "audit pack": "tests/analysis/test_docs.py",
    "serve": "tests/service",
    "exec": "tests/exec",
    "check-arch": "tests/arch_check",
    "completion": "tests/cli/test_completion_command.py",
    "man": "tests/cli/test_man_command.py",
}


class Parsed(Exception):
    """Raised once a command's arguments have been parsed."""


class ParsingParser(CommandParser):
    def parse_args(self, args: Any = None, namespace: Any = None) -> NoReturn:
        super().parse_args(args, namespace)
        raise Parsed


def parse(line: str) -> None:
    """Parse a command line as memhub does, and stop there."""
    words = shlex.split(line, comments=True)
    name = words[1]
    module = import_module(f"memhub.cli.{COMMANDS[name].module}")
    with pytest.raises(Parsed):
        module.command(ParsingParser(f"memhub {name}"), words[2:])


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_line_is_one_that_memhub_takes(page: str, line: str) -> None:
    parse(re.split(r" [<>]|2>| & ?$", line)[0])


@pytest.mark.parametrize("line", ["memhub read 0 --nonsense", "memhub audit shwo a.jsonl"])
def test_a_command_line_that_memhub_does_not_take_is_found(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(line)

    assert "error: " in capsys.readouterr().err


def wrong_words(text: str) -> list[str]:
    """What a command in running text names that is not there: the command, a verb, an option."""
    parser, wrong = parsers_below(make_parser())[text.split()[0]], []
    words = text.split()[1:]
    verbs = parsers_below(parser)
    if verbs and words and words[0].islower():
        if words[0] not in verbs:
            return [words[0]]

        parser = verbs[words.pop(0)]

    for word in words:
        if word == "--":
            break

        if word.startswith("-") and len(word) > 1 and word not in parser._option_string_actions:
            wrong.append(word)

    return wrong


@pytest.mark.parametrize("page", pages(), ids=lambda it: it.name)
def test_commands_in_running_text_are_there(page: Path) -> None:
    found = [" ".join(re.sub(r"[][]", "", it).split()) for it in INLINE.findall(page.read_text())]
    commands = [text for text in found if text.split()[0] not in ("new", "daemon")]

    assert {text.split()[0] for text in commands} <= COMMANDS.keys()
    assert [(text, it) for text in commands for it in wrong_words(text)] == []


def index() -> list[str]:
    return [line.split("  #")[0].rstrip() for line in command_lines(DOCS / "README.md")]


def test_the_index_shows_every_command() -> None:
    assert {line.split()[1] for line in index()} == COMMANDS.keys()


def test_the_commands_of_the_index_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEMHUB_SOCKET", "lab.sock")
    here = [
        line for line in index() if not any(line.startswith(f"memhub {it}") for it in ELSEWHERE)
    ]
    lab = load_config(ROOT / "configs" / "lab.toml")
    with served(tmp_path / "lab.sock", *lab.machines.values(), default=lab.default):
        done = {line: Done(main(shlex.split(line)[1:]), *capsys.readouterr()) for line in here}

    assert len(here) >= 12
    assert {line: it for line, it in done.items() if it.code} == {}
    assert "48 65 6c 6c 6f" in done["memhub hexdump -n 32 0x1000"].out


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_what_is_run_elsewhere_has_its_tests(place: str) -> None:
    assert (ROOT / place).exists()
