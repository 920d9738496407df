"""Print a manual page, or write all of them into a folder.

There is one for memhub and one for each command, made from their options. `memhub man serve | man
-l -` shows one; `memhub man --out DIR` writes memhub.1, memhub-serve.1 and the others, which man(1)
finds in a folder man1 of its path.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

#: The requests of roff that a page is made of.
_REQUEST: Final = re.compile(r"\.(B|PP|RE|RS|SH|SS|TH|TP)\b")


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub man`."""
    parser.add_argument("page", nargs="?", metavar="COMMAND", help="the page of this command")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write every page into this folder, which is made"
    )
    chosen = parser.parse_args(arguments)
    if chosen.out is not None and chosen.page is not None:
        parser.error("--out writes every page: it goes without COMMAND")

    from memhub.cli.failures import CommandFailed
    from memhub.cli.terminal import print_document, print_line

    pages = make_pages()
    if chosen.out is not None:
        _write_pages(chosen.out, pages)
        print_line(f"{chosen.out}: {len(pages)} pages written")
        return 0

    name = "memhub.1" if chosen.page is None else f"memhub-{chosen.page}.1"
    if name not in pages:
        known = ", ".join(it.removeprefix("memhub-").removesuffix(".1") for it in pages)
        raise CommandFailed(f"there is no page of {chosen.page!r}; there are {known}")

    print_document(pages[name])

    return 0


def make_pages() -> dict[str, str]:
    """The page of memhub and those of the commands, as roff, by the names of their files.

    Raises:
        CommandFailed: argparse-manpage, which makes them, is not installed.
    """
    from memhub.cli.commands import ABOUT, COMMANDS
    from memhub.cli.parsers import make_parser, parsers_below

    pages = {"memhub.1": _make_page(_make_overview(), ABOUT.rstrip("."), [])}
    for name, parser in parsers_below(make_parser()).items():
        pages[f"memhub-{name}.1"] = _make_page(parser, COMMANDS[name].summary, ["memhub"])

    return pages


def _make_overview() -> argparse.ArgumentParser:
    """A parser whose page lists the commands as if they were arguments."""
    from memhub.cli.commands import ABOUT, COMMANDS
    from memhub.cli.usage import CommandParser

    parser = CommandParser("memhub", description=ABOUT)
    parser.usage = "memhub [--version] COMMAND ..."
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    group = parser.add_argument_group("commands")
    for name, row in COMMANDS.items():
        group.add_argument(name, metavar=f"memhub-{name}(1)", help=row.summary)

    return parser


def _make_page(parser: argparse.ArgumentParser, summary: str, others: list[str]) -> str:
    """One page as roff; `others` are the pages that it refers to."""
    from memhub.cli.failures import CommandFailed
    from memhub.cli.version import version

    try:
        from argparse_manpage.manpage import Manpage
    except ImportError as error:
        raise CommandFailed(
            "argparse-manpage is not installed, which makes the pages: pip install 'memhub[cli]'"
        ) from error

    page = Manpage(parser)
    page.prog = parser.prog.replace(" ", "-")
    page.source, page.manual = f"memhub {version()}", "memhub"
    page.description = summary
    if others:
        page.add_section("see also", ">", ", ".join(f"\\fB{it}\\fR(1)" for it in others))

    title, *lines = str(page).splitlines()
    title = title.replace(r"\-", "-")  # a date that is escaped is not understood

    return "\n".join([title, *map(_protect_line, lines)]) + "\n"


def _protect_line(line: str) -> str:
    """A line of text that begins as a request of roff would; argparse-manpage leaves it so."""
    is_text = line.startswith("'") or (line.startswith(".") and not _REQUEST.match(line))

    return rf"\&{line}" if is_text else line


def _write_pages(folder: Path, pages: dict[str, str]) -> None:
    from memhub.cli.file_output import write_output

    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        write_output(str(folder / name), text.encode())
