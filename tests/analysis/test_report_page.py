"""The page: foreign text in it does nothing, and logs with little in them have one too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from analysis.logs import EMPTY, UC, WC, attach, change, opened, write_log
from analysis.pages import STAND_IN, Page, read_page
from memhub.analysis import Analysis
from memhub.analysis.pictures.page import json_in_html, write_page
from memhub.analysis.pictures.report import collect
from memhub.audit import AuditLog
from memhub.escape import escape_controls, is_visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Write = Callable[[Iterable[dict[str, Any]]], Path]

HOSTILE = (
    "</script ><script >alert(1)</script><!--<script>",
    "\x1b[31mred\x07\x00 \u202eevil\u2066 a\u2028b\u2029c",
    "\"'><img src=x onerror=alert(1)>&lt;b&gt; {{7*7}} ${7*7} datum.x); throw 1; (",
)


def hostile_log(write: Write) -> Path:
    """A log whose machines, processes, owners and reasons are somebody's attack."""
    records = []
    for place, text in enumerate(HOSTILE):
        at, who = 3600.0 * place, (text, place + 1)
        new = (0xD0000000, 0x1000000, WC, text[:8])
        mine = {"machine": text}
        records += [
            attach(at, [EMPTY, EMPTY], **mine),
            opened(at + 0.1, who) | mine,
            change(at + 0.2, who, 0, EMPTY, new, claimed=[0], fence=1, claim=1, **mine),
            change(at + 0.3, who, 0, new, (*new[:2], UC, text[:8]), errno="EBUSY", reason=text,
                   holder=text, holder_id=place + 1, **mine) | {"slots": [], **no_table()},
        ]  # fmt: skip

    return write(records)


def no_table() -> dict[str, list[Any]]:
    return {
        f"{side}_{name}": []
        for side in ("before", "after")
        for name in ("base", "length", "flags", "owner")
    }


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page on that log."""
    path = tmp_path_factory.mktemp("hostile") / "a.jsonl"
    with Analysis([hostile_log(lambda records: write_log(path, records))]) as log:
        return write_page(collect(log, "</title><script>alert(1)</script>"), STAND_IN)


def test_foreign_text_stays_text(hostile: str) -> None:
    page = Page(hostile)
    clean = {escape_controls(it) for it in HOSTILE}

    assert page.tags.count("script") == 3
    assert page.scripts[1] == STAND_IN
    assert not {"img", "b"} & {*page.tags}
    assert all(char == "\n" or is_visible(char) for char in hostile)
    # What is shown is all there, and what a terminal or browser would obey is escaped in it too
    machines = {it["machine"] for figure in page.data["figures"] for it in figure["marks"]}
    assert clean <= machines
    people = {name for fig in page.data["figures"] for it in fig["marks"] for name in it["people"]}
    assert clean <= people
    lines = " ".join(it["line"] for it in page.data["records"].values())
    assert all(it in lines for it in clean)
    for it in page.data["figures"]:
        assert all(is_visible(char) for char in json.dumps(it, ensure_ascii=False))


def test_the_page_runs_its_own_scripts_only(hostile: str) -> None:
    policy = hostile.partition("Content-Security-Policy")[2].partition(">")[0]

    assert "default-src &#x27;none&#x27;" in policy
    assert policy.count("sha256-") == 2
    assert "unsafe-eval" not in policy
    assert not {"link", "img", "iframe"} & {*Page(hostile).tags}
    assert not [it for it in Page(hostile).attributes if it.startswith(("http", "//"))]


@pytest.mark.parametrize("text", [*HOSTILE, "\x7f", "\ud800", "ü 名"])
def test_json_in_a_script_element_means_the_same(text: str) -> None:
    written = json_in_html({text: [text]})

    assert not {*"<>&\u2028\u2029"} & {*written}
    assert json.loads(written) == {text: [text]}


def test_a_log_without_machines_has_a_page(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "a.jsonl"):
        pass

    with Analysis([tmp_path / "a.jsonl"]) as log:
        page = read_page(collect(log, "empty"))

    assert page.data["figures"] == []
    assert "Nothing in this log can be drawn." in page.text


def test_a_log_of_one_record_has_pictures(written: Write) -> None:
    with Analysis([written([attach(0, [(0, 1 << 63, WC, "BIOS"), EMPTY])])]) as log:
        page = read_page(collect(log, "one"))

    (still,) = page.rows("timeline-0", "still")
    (range_,) = page.rows("map-0", "ranges")
    (point,) = page.rows("occupancy-0", "points")

    assert still["label"] == "1 slots whose ranges never changed: 1 WC"
    assert range_["say"] == "slot 0: 0x0+8388608T write-combine, owner BIOS"
    assert point["say"].startswith("1 of 2 slots in use")
    assert page.data["moments"][0]["say"].startswith("record 2, 2023-11-14 22:13:20 UTC")
