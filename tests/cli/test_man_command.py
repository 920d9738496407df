"""`memhub man`: a page for memhub and each command, with all that its parser takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from cli.test_command_line import start
from memhub.cli.commands import COMMANDS
from memhub.cli.man import _protect_line, make_pages
from memhub.cli.parsers import make_parser, parsers_below

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator
    from pathlib import Path

    from clirun import Run


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return make_pages()


def options(parser: ArgumentParser) -> Iterator[str]:
    """The long options of a parser and all below it, but --help, which pages leave out."""
    for action in parser._actions:
        yield from (it for it in action.option_strings if it.startswith("--") and it != "--help")

    for below in parsers_below(parser).values():
        yield from options(below)


def test_there_is_a_page_for_memhub_and_for_each_command(pages: dict[str, str]) -> None:
    assert list(pages) == ["memhub.1", *(f"memhub-{name}.1" for name in COMMANDS)]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_every_option_of_its_command(pages: dict[str, str], name: str) -> None:
    page = pages[f"memhub-{name}.1"].replace(r"\-", "-")
    wanted = set(options(parsers_below(make_parser())[name]))

    assert {option for option in wanted if rf"\fB{option}\fR" not in page} == set()


def test_the_page_of_memhub_lists_the_commands_with_their_summaries(
    pages: dict[str, str],
) -> None:
    text = " ".join(pages["memhub.1"].replace(r"\-", "-").split())

    for name, row in COMMANDS.items():
        assert rf"\fBmemhub-{name}(1)\fR {row.summary}" in text


def test_a_page_begins_with_what_man_indexes(pages: dict[str, str]) -> None:
    title, name, line = pages["memhub-serve.1"].splitlines()[:3]

    assert re.fullmatch(r'\.TH MEMHUB-SERVE "1" "\d{4}-\d\d-\d\d" "memhub [\w.]+" "memhub"', title)
    assert name == ".SH NAME"
    assert line == r"memhub\-serve \- serve a file's machines to clients on sockets"


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("'de ad be ef' as bytes", r"\&'de ad be ef' as bytes"),
        (".bashrc reads it", r"\&.bashrc reads it"),
        (".SH NAME", ".SH NAME"),
        ("as '.bashrc'", "as '.bashrc'"),
    ],
)
def test_text_that_looks_like_a_request_is_not_taken_for_one(line: str, written: str) -> None:
    assert _protect_line(line) == written


@pytest.mark.parametrize(
    "formatter",
    [["mandoc", "-T", "lint", "-W", "warning"], ["groff", "-man", "-Tutf8", "-ww", "-z"]],
)
def test_the_formatters_find_no_fault(
    pages: dict[str, str], tmp_path: Path, formatter: list[str]
) -> None:
    if shutil.which(formatter[0]) is None:
        pytest.skip(f"{formatter[0]} is not installed")

    for name, text in pages.items():
        (tmp_path / name).write_text(text)

    done = subprocess.run(
        [*formatter, *sorted(tmp_path.iterdir())], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_man_prints_the_page_of_memhub_or_of_a_command(run: Run, pages: dict[str, str]) -> None:
    assert run("man") == (0, pages["memhub.1"], "")
    assert run("man", "serve") == (0, pages["memhub-serve.1"], "")


def test_out_writes_every_page(run: Run, pages: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "share" / "man1"
    done = run("man", "--out", folder)

    assert (done.code, done.err) == (0, "")
    assert {path.name: path.read_text() for path in folder.iterdir()} == pages


def test_a_folder_that_cannot_be_made_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("man", "--out", tmp_path / "file")

    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("memhub: ")
    assert "file: File exists" in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sparc"], "there is no page of 'sparc'; there are memhub, demo, serve"),
        (["serve", "--out", "x"], "--out writes every page"),
    ],
)
def test_a_wrong_argument_is_named(run: Run, words: list[str], told: str) -> None:
    done = run("man", *words)

    assert (done.code, done.out) == (2, "")
    assert told in " ".join(done.err.split())


def test_without_argparse_manpage_the_extra_is_named() -> None:
    done = start("man", hide="argparse_manpage")

    assert (done.returncode, done.stdout) == (2, "")
    assert "argparse-manpage is not installed" in done.stderr
    assert "memhub[cli]" in done.stderr
