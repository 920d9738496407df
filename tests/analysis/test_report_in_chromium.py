"""The report in a browser: nothing goes wrong, nothing is fetched, each control does its work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from analysis.chromium import CHROMIUM, Browser, browser
from analysis.logs import write_log
from analysis.test_report_page import hostile_log
from memhub.analysis import Analysis
from memhub.analysis.pictures.library import read_library
from memhub.analysis.pictures.page import write_page
from memhub.analysis.pictures.report import collect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def library() -> str:
    return read_library()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as it:
        yield it


@pytest.fixture(scope="module")
def report(asked: Analysis, library: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(write_page(collect(asked, "demo"), library))

    return path


@pytest.fixture
def page(tab: Browser, report: Path) -> Iterator[Browser]:
    tab.said.clear()
    tab.asked.clear()
    tab.open(report)
    yield tab
    assert tab.said == []
    assert {url.partition(":")[0] for url in tab.asked} <= {"file", "data"}


def signal(page: Browser, figure: str, name: str) -> Any:
    return page.run(f"memhub.shown.get('{figure}').view.signal('{name}')")


def set_value(page: Browser, control: str, value: str, event: str) -> None:
    page.run(
        f"(async () => {{ const it = document.getElementById('{control}'); it.value = {value!r};"
        f" it.dispatchEvent(new Event('{event}', {{bubbles: true}})); "
        "await new Promise(done => setTimeout(done)); "
        "await Promise.all([...memhub.shown.values()].map(it => it.view.runAsync())); })()"
    )


def press_button(page: Browser, control: str) -> None:
    page.run(
        f"(async () => {{ document.getElementById('{control}').click(); "
        "await Promise.all([...memhub.shown.values()].map(it => it.view.runAsync())); })()"
    )


def text(page: Browser, selector: str) -> str:
    return str(page.run(f"document.querySelector({selector!r}).textContent"))


def test_every_picture_is_drawn(page: Browser) -> None:
    drawn = page.run("[...document.querySelectorAll('figure')].map(it => it.dataset.drawn)")
    empty = page.run(
        "[...document.querySelectorAll('.drawn')]"
        ".filter(it => !it.querySelector('svg path')).length"
    )

    assert drawn
    assert set(drawn) == {"yes"}
    assert empty == 0


@pytest.mark.parametrize("width", [1280, 800, 480])
def test_no_picture_is_wider_than_the_page(page: Browser, report: Path, width: int) -> None:
    page.open(report, width=width)
    wide = page.run(
        "[...document.querySelectorAll('svg, #controls')].map(it => it.getBoundingClientRect())"
        ".filter(it => it.right > document.documentElement.clientWidth + 1).length"
    )

    assert wide == 0


def test_the_scrubber_moves_the_map_and_the_line(page: Browser) -> None:
    last = int(page.run("document.getElementById('moment').max"))
    rows = page.run(
        "['types', 'ranges'].flatMap(it => "
        "memhub.shown.get('map-1').figure.spec.datasets[`map-1 ${it}`])"
        ".map(it => [it.label, it.since_tick, it.until_tick])"
    )
    assert last > 5
    for tick in (0, last // 2, last):
        set_value(page, "moment", str(tick), "input")
        labels = page.run(
            "[...document.querySelectorAll('#map-1 .role-mark.mark-text text')]"
            ".map(it => it.textContent)"
        )
        assert sorted(labels) == sorted(it for it, since, until in rows if since <= tick < until)
        assert signal(page, "map-1", "tick") == tick

    assert text(page, "#moment-text").startswith("record ")
    set_value(page, "moment", "0", "input")
    press_button(page, "moment-after")
    assert signal(page, "map-1", "tick") == 1
    press_button(page, "moment-before")
    assert signal(page, "timeline-1", "moment") == page.run(
        "JSON.parse(document.getElementById('data').textContent).moments[0].at"
    )

    page.run("document.getElementById('moment').focus()")
    page.press("ArrowRight")
    assert signal(page, "map-1", "tick") == 1
    page.press("End")
    assert signal(page, "map-1", "tick") == last


def test_the_window_of_time_is_moved_by_buttons(page: Browser) -> None:
    def window() -> tuple[float, float]:
        left, right = (signal(page, "timeline-1", it) for it in ("left", "right"))
        return left, right

    whole = window()
    press_button(page, "window-in")
    half = window()
    assert half[1] - half[0] == pytest.approx((whole[1] - whole[0]) / 2)
    press_button(page, "window-earlier")
    assert window()[0] < half[0]
    assert window()[0] >= whole[0]
    press_button(page, "window-later")
    press_button(page, "window-later")
    assert window()[1] == pytest.approx(whole[1])
    press_button(page, "window-out")
    assert window() == pytest.approx(whole)
    press_button(page, "window-in")
    press_button(page, "window-all")
    assert window() == pytest.approx(whole)


def test_a_machine_can_be_shown_alone(page: Browser) -> None:
    set_value(page, "which", "legacy", "change")
    shown = page.run(
        "[...document.querySelectorAll('figure')].filter(it => !it.hidden)"
        ".map(it => it.dataset.machine)"
    )
    assert set(shown) == {"legacy", ""}
    assert signal(page, "latency", "which") == "legacy"

    set_value(page, "which", "", "change")
    assert page.run("document.querySelectorAll('figure[hidden]').length") == 0


def test_marks_about_others_become_faint(page: Browser) -> None:
    faint = "document.querySelectorAll('#timeline-1 svg [opacity=\"0.12\"]').length"
    assert page.run(faint) == 0
    set_value(page, "who", "tuner", "change")
    assert page.run(faint) > 0


def test_marks_are_reached_by_keyboard(page: Browser) -> None:
    page.run("document.querySelector('#timeline-1 .chart').focus()")
    page.press("ArrowRight")
    first = text(page, "#timeline-1 .said")
    page.press("ArrowRight")
    second = text(page, "#timeline-1 .said")
    page.press("ArrowLeft")
    assert first
    assert text(page, "#timeline-1 .said") == first != second
    page.press("End")
    assert text(page, "#timeline-1 .said") not in (first, second)
    page.press("Home")
    assert text(page, "#timeline-1 .said") == first

    page.press("Enter")
    assert page.run("document.getElementById('records').hidden") is False
    assert text(page, "#records-title") == first
    assert page.run("document.activeElement.id") == "records-close"
    assert page.run("document.querySelectorAll('#records article .line').length") >= 1

    page.press("Escape")
    assert page.run("document.getElementById('records').hidden") is True
    assert page.run("document.activeElement.closest('figure').id") == "timeline-1"


def test_a_click_on_a_mark_shows_its_records(page: Browser) -> None:
    page.run("document.querySelector('#timeline-1').scrollIntoView({block: 'center'})")
    x, y = page.run(
        "(() => { const box = document.querySelector('#timeline-1 .mark-rect.role-mark path')"
        ".getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    page.click(x, y)

    assert page.run("document.getElementById('records').hidden") is False
    assert "slot" in text(page, "#records-title")
    assert "request.set" in text(page, "#records .line")
    page.run("document.getElementById('records-close').click()")
    assert page.run("document.getElementById('records').hidden") is True


def test_the_list_of_marks_leads_to_records(page: Browser) -> None:
    page.run("document.querySelector('#contention details').open = true")
    page.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    count = page.run("document.querySelectorAll('#contention .mark-list button').length")
    assert count == page.run("memhub.shown.get('contention').figure.marks.length")
    page.run("document.querySelector('#contention .mark-list button').click()")

    assert page.run("document.getElementById('records').hidden") is False
    assert page.run("document.querySelectorAll('#records article').length") > 0


def test_it_prints_without_controls(page: Browser) -> None:
    page.call("Emulation.setEmulatedMedia", media="print")
    hidden = page.run("getComputedStyle(document.getElementById('controls')).display")
    page.call("Emulation.setEmulatedMedia", media="")
    printed = page.call("Page.printToPDF", preferCSSPageSize=True)

    assert hidden == "none"
    assert len(printed["data"]) > 20_000


def test_foreign_text_does_nothing(tab: Browser, library: str, tmp_path: Path) -> None:
    with Analysis([hostile_log(lambda records: write_log(tmp_path / "a.jsonl", records))]) as log:
        (tmp_path / "a.html").write_text(write_page(collect(log, "<script>"), library))

    tab.said.clear()
    tab.open(tmp_path / "a.html")
    names = tab.run("[...document.getElementById('which').options].map(it => it.value)")

    assert tab.said == []
    assert len(names) == 4
    for name in names[1:]:
        tab.run(
            f"(() => {{ const it = document.getElementById('which'); it.value = {name!r}; "
            "it.dispatchEvent(new Event('change')); })()"
        )
    assert tab.run("document.querySelectorAll('img, script[src]').length") == 0
    assert tab.said == []
