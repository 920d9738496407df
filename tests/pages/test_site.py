"""The site builds without a warning, and what is broken in a page is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from docs.build_site import prepare_source, run_sphinx
from pages.page_blocks import DOCS, ROOT

pytestmark = pytest.mark.campaign

pytest.importorskip("sphinx", reason="the extra `docs` builds the site")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site that `.ci/run` has built, named by MEMHUB_SITE, or one built in the same way."""
    if built := os.environ.get("MEMHUB_SITE"):
        return Path(built)

    out = tmp_path_factory.mktemp("site") / "out"
    done = subprocess.run(
        [sys.executable, "-m", "docs.build_site", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")

    return out


class Links(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors.add(found.get("id") or "")
        if tag == "a" and (link := found.get("href")):
            self.links.append(unquote(link))


def test_every_page_of_the_docs_is_in_the_site_and_in_its_tree(site: Path) -> None:
    first = Links((site / "index.html").read_text()).links
    named = {f"docs/{page.stem}.html" for page in DOCS.glob("*.md")} - {"docs/README.html"}

    assert named | {"docs/index.html", "reference/index.html", "CHANGELOG.html"} <= set(first)
    assert [name for name in named if not (site / name).exists()] == []


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    """Sphinx checks those of the pages; this is the theme's and the reference's too."""
    pages = {path: Links(path.read_text()) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            where, anchor = urldefrag(link)
            if re.match(r"\w+:", where):
                continue

            target = (path.parent / where).resolve() if where else path
            if not target.exists() or (
                anchor and target in pages and anchor not in pages[target].anchors
            ):
                broken.append(f"{path.relative_to(site)}: {link}")

    assert broken == []


def test_nothing_of_the_site_is_from_elsewhere(site: Path) -> None:
    """It works without a network: no fonts, scripts or styles of other hosts."""
    text = "".join(path.read_text() for path in site.rglob("*.html"))

    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"(?:https?:)?//[^\"]*", text) == []


def test_what_is_broken_is_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "source"
    source.mkdir()
    prepare_source(source)
    for folder in ("reference", "docs", "examples"):
        for page in (source / folder).rglob("*.[mr][ds]*"):
            page.unlink()

    (source / "docs" / "bad.md").write_text(
        "# Bad\n\n[page](nowhere.md), [anchor](#nothing), [other](../index.md#nothing-there)\n"
    )
    (source / "reference" / "bad.rst").write_text(
        "Bad\n===\n\n.. autoclass:: memhub.NotThere\n\n:py:class:`memhub.Nobody`\n"
    )
    (source / "index.md").write_text("# Site\n\n```{toctree}\ndocs/bad\nreference/bad\n```\n")
    code = run_sphinx(source, tmp_path / "out")
    told = capfd.readouterr().err

    assert code == 1
    for word in ("'nowhere.md'", "'nothing'", "'nothing-there'", "NotThere", "memhub.Nobody"):
        assert word in told
