"""The blocks of code in the pages, in order, with what marks them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(
    r"(?:^<!-- (?P<marker>.+?) -->\n)?^```(?P<kind>[^\n]*)\n(?P<code>.*?)^```$", re.M | re.S
)


class Block(NamedTuple):
    """One block.

    Attributes:
        line: where it begins.
        kind: the words behind the three backticks.
        marker: the comment above it.
        code: its lines.
    """

    line: int
    kind: str
    marker: str
    code: str

    @property
    def language(self) -> str:
        return self.kind.partition(" ")[0]


def blocks(page: Path) -> list[Block]:
    text = page.read_text()

    return [
        Block(text.count("\n", 0, it.start("kind")) + 1, it["kind"], it["marker"] or "", it["code"])
        for it in _BLOCK.finditer(text)
    ]


def pages() -> list[Path]:
    """Every page that has blocks of code: those of the site and the README."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]


def command_lines(page: Path) -> list[str]:
    """The commands `memhub …` in the shell blocks of a page, without what is around them."""
    lines = (
        line
        for block in blocks(page)
        if block.language == "sh"
        for line in block.code.replace("\\\n", " ").splitlines()
    )

    return [found for line in lines for found in _commands(line)]


def _commands(line: str) -> list[str]:
    parts = re.split(r"&&|\||;(?= )", line)
    words = (re.sub(r"^(\s|\$ |\w+=\S+ )+", "", part).strip() for part in parts)

    return [it for it in words if re.match(r"(\S*/)?memhub ", it)]
