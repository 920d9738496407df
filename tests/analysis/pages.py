"""A report taken apart again: its scripts, its text, and the data that its pictures have."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from memhub.analysis.pictures.page import Contents, write_page

#: In place of the library, which takes seconds to make.
STAND_IN = "window.vegaEmbed = null;"


class Page(HTMLParser):
    """What a browser finds in a page.

    Attributes:
        scripts: the text of each script element, in order.
        tags: the name of each element.
        attributes: the value of each attribute.
        words: the text outside of scripts and styles.
        data: the embedded data.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()
        self.data: dict[str, Any] = json.loads(self.scripts[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag
        self.attributes += [value or "" for _, value in attrs]
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def figure(self, name: str) -> dict[str, Any]:
        (found,) = (it for it in self.data["figures"] if it["name"] == name)

        return dict(found)

    def rows(self, figure: str, name: str) -> list[dict[str, Any]]:
        """The rows of one of a picture's sets of data."""
        found: list[dict[str, Any]] = self.figure(figure)["spec"]["datasets"].get(
            f"{figure} {name}", []
        )

        return found

    def behind(self, figure: str, row: dict[str, Any]) -> list[int]:
        """The records that a row's mark leads to."""
        (mark,) = (it for it in self.figure(figure)["marks"] if it["id"] == row["mark"])

        return [int(key.split()[1]) for key in mark["records"]]


def read_page(contents: Contents) -> Page:
    return Page(write_page(contents, STAND_IN))
