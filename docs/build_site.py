"""Build the documentation as a site: `python -m docs.build_site OUT`.

The pages are copied into a folder that is removed afterwards, so that nothing is written beside
them; there the reference is added. A broken link, a name without a page and a docstring that cannot
be read are errors, as is a public name without a description.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from docs.reference import MODULES, pages, undocumented

ROOT: Final = Path(__file__).parents[1]

#: What pages link to, besides each other.
_COPIED: Final = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "examples", "configs")

#: The files that a listing of a folder shows.
_LANGUAGES: Final = {".py": "python", ".toml": "toml"}


def main(arguments: list[str]) -> int:
    """Build into the folder that is named; 1 if anything is wrong, 2 for wrong usage."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m docs.build_site OUT\n")
        return 2

    missing = [fault for module in MODULES for fault in undocumented(module)]
    for fault in missing:
        sys.stderr.write(f"not documented: {fault}\n")

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        prepare_source(source)
        built = run_sphinx(source, Path(arguments[0]))

    return 1 if missing or built else 0


def prepare_source(folder: Path) -> None:
    """Copy the pages and what they link to, and write those that are made."""
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, folder / name)

    for name in ("configs", "examples"):
        _write_listing(folder / name)

    _rename_indexes(folder)
    _add_contents(folder)
    (folder / "reference").mkdir()
    for name, text in pages().items():
        (folder / "reference" / name).write_text(text, encoding="utf-8")


def _write_listing(folder: Path) -> None:
    """A page with the files of a folder, where pages link to the folder."""
    files = sorted(path for path in folder.iterdir() if path.suffix in _LANGUAGES)
    parts = [
        f"## {path.name}\n\n```{{literalinclude}} {path.name}\n"
        f":language: {_LANGUAGES[path.suffix]}\n```\n"
        for path in files
    ]
    title = f"# The files of {folder.name}\n"
    (folder / "index.md").write_text("\n".join([title, *parts]), encoding="utf-8")


def _rename_indexes(folder: Path) -> None:
    """The page that a web server shows for a folder is `index`; what code hosts show, README."""
    for page in [*folder.rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"\]\(([^):]*)\bREADME\.md", r"](\1index.md", text)
        text = text.replace("](configs)", "](configs/index.md)")
        page.write_text(text, encoding="utf-8")
        if page.name == "README.md":
            page.rename(page.with_name("index.md"))


def _add_contents(folder: Path) -> None:
    """Add the tree of pages to the first one: the groups of the index of the docs, and the rest."""
    text = (folder / "docs" / "index.md").read_text(encoding="utf-8")
    groups = {
        heading: [f"docs/{name}" for name in re.findall(r"^\| \[.*?\]\(([\w-]+)\.md\)", body, re.M)]
        for heading, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    }
    groups["More"] = [
        "docs/index",
        "reference/index",
        "configs/index",
        "examples/index",
        "examples/c-client/index",
        "CONTRIBUTING",
        "CHANGELOG",
    ]
    trees = [
        "\n".join(["```{toctree}", ":hidden:", f":caption: {heading}", "", *names, "```", ""])
        for heading, names in groups.items()
        if names
    ]
    first = folder / "index.md"
    first.write_text("\n".join([first.read_text(encoding="utf-8"), *trees]), encoding="utf-8")


def run_sphinx(source: Path, out: Path) -> int:
    """Make the site; warnings are errors, and all of them are told.

    Returns:
        the exit code of Sphinx.
    """
    command = [
        *(sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-n", "-q"),
        *("-c", str(ROOT / "docs"), "-d", str(source / ".doctrees")),
        *(str(source), str(out)),
    ]

    return subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
