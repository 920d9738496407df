"""`memhub audit report` and `plot`: their files, what they say, and what they refuse."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analysis.pages import STAND_IN, Page
from memhub.analysis.pictures.figures import VIEWS as DRAWN
from memhub.analysis.pictures.figures import draw
from memhub.analysis.pictures.history import History
from memhub.analysis.pictures.plot import plot
from memhub.audit import AuditLog
from memhub.cli.audit.pictures import VIEWS
from memhub.folding import cells

if TYPE_CHECKING:
    from clirun import Run
    from memhub.analysis import Analysis

ROOT = Path(__file__).parents[2]
STARTS = {"svg": b"<svg", "png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the library, which takes seconds to make."""
    monkeypatch.setattr("memhub.analysis.pictures.library.read_library", lambda: STAND_IN)


def test_a_plot_is_a_file_of_its_form(asked: Analysis) -> None:
    figures = draw(History(asked), "contention")

    for form, start in STARTS.items():
        assert plot(figures, form).startswith(start)


def test_the_map_of_a_record_says_its_moment(run: Run, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.svg"
    done = run("audit", "plot", "map", packed, "--machine", "desk", "--at", "100", "--out", out)
    text = out.read_text()

    assert done == (0, "", "")
    assert "as of record " in text
    assert "0xe0000000" in text
    assert "WC Xorg (slot 0)" in text


@pytest.mark.usefixtures("quick")
def test_a_report_is_one_file(
    run: Run, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "r.html"
    done = run("audit", "report", packed, "--out", out, "--machine", "k6", "--marks", "10")
    page = Page(out.read_text())

    said = [*done.out.splitlines(), *done.err.splitlines()]
    assert done.code == 0
    # A path has no place where it could be folded
    assert [it for it in said if cells(it) > 80 and str(out) not in it] == []
    assert f"{len(page.data['figures'])} pictures" in " ".join(done.out.split())
    assert "1 of 6 machines are drawn" in " ".join(done.err.split())
    assert {it["machine"] for it in page.figure("timeline-0")["marks"]} == {"k6"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plot", "map", "--out", "a.jpg"), "'a.jpg' ends in none of .svg, .png, .pdf"),
        (("plot", "map", "--out", "a.svg", "--machine", "no"), "has no machine 'no'"),
        (("plot", "map", "--out", "a.svg", "--at", "9999"), "there is no record 9999"),
        (("plot", "map", "--out", "a.svg", "--at", "noon"), "'noon' is neither a record's"),
        (("plot", "map", "--out", "a.svg", "--at", "1999-01-01"), "is before the log begins"),
        (("plot", "pie", "--out", "a.svg"), "invalid choice: 'pie'"),
        (("plot", "map", "--out", "a.svg", "--width", "1"), "a whole number from 300 to 4000"),
        (("report", "--out", "a.html", "--marks", "1"), "a whole number from 10 to 20000"),
        (("plot", "map", "--out", "none/a.svg"), "none/a.svg: No such file or directory"),
    ],
)
def test_a_wrong_argument_is_named(
    run: Run,
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("audit", *arguments, packed)

    assert done.code == 2
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert not [*tmp_path.iterdir()]


def test_nothing_to_draw_is_said(run: Run, tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "a.jsonl"):
        pass

    done = run("audit", "plot", "timeline", tmp_path / "a.jsonl", "--out", tmp_path / "a.svg")

    assert done.code == 2
    assert "there is nothing to draw" in done.err


def test_a_broken_chain_is_not_drawn(run: Run, demo: Path, tmp_path: Path) -> None:
    lines = demo.read_bytes().splitlines(keepends=True)
    (tmp_path / "b.jsonl").write_bytes(b"".join((*lines[:9], *lines[10:])))
    done = run("audit", "plot", "map", tmp_path / "b.jsonl", "--out", tmp_path / "a.svg")

    assert done.code == 1
    assert "line 10" in done.err
    assert not (tmp_path / "a.svg").exists()


@pytest.mark.parametrize("name", ["altair", "vl_convert"])
def test_a_missing_extra_is_named(
    run: Run, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    done = run("audit", "report", packed, "--out", tmp_path / "a.html")

    assert done.code == 2
    assert f"{name} is not installed" in done.err
    assert "pip install 'memhub[report]'" in " ".join(done.err.split())


@pytest.mark.campaign
def test_the_library_is_fit_for_a_script_element() -> None:
    from memhub.analysis.pictures.library import read_library

    library = read_library()

    assert "vegaEmbed" in library
    assert "</script" not in library.lower()
    assert "<!--" not in library


@pytest.mark.campaign
def test_the_commands_of_the_page_run(
    run: Run, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit.jsonl").symlink_to(demo)
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "docs" / "analysis.md").read_text().partition("## Pictures")[2]
    lines = section.partition("```sh\n")[2].partition("```")[0].splitlines()
    views = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)

    assert tuple(views) == VIEWS == DRAWN
    for line in lines:
        name, *arguments = shlex.split(line)
        out = tmp_path / arguments[arguments.index("--out") + 1]
        assert name == "memhub"
        assert run(*arguments).code == 0
        assert out.stat().st_size > 10_000
