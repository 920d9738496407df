"""The benchmarks run, and say what they say in the declared shape; no figure is looked at."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from benchmarks.harness import Goal, Plan, Row, Spread, cores, measure_sync, pinned
from benchmarks.page import figures, put_figures
from benchmarks.questions import QUESTIONS, ask
from benchmarks.report import document, read_rows, table, worse

#: Questions that take seconds even with one round: in campaigns alone.
SLOW = {"analysis", "clients", "connections", "growth", "latency", "scale"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.campaign] if name in SLOW else [])
        for name in QUESTIONS
    ],
)
def test_each_question_runs_once_and_its_rows_survive_json(name: str) -> None:
    rows = ask(name, rounds=1, chunk=0.0, peers=False)

    assert rows
    for row in rows:
        assert row.question
        assert row.verdict == "skipped" or row.figure is not None

    found = orjson.loads(orjson.dumps(document(rows), default=tuple))
    assert read_rows(found) == rows
    assert {"cpu", "cores", "python", "versions"} <= found["machine"].keys()
    assert len(table(rows).splitlines()) == len(rows) + 2


def test_each_question_is_named() -> None:
    assert set(QUESTIONS) >= SLOW
    folder = Path(__file__).parents[1] / "benchmarks"
    asking = {path.stem for path in folder.glob("*.py") if "\ndef rows(" in path.read_text()}

    assert asking == set(QUESTIONS)


def _row(median: float, *, more: bool = False) -> Row:
    spread = Spread(median, median - 0.1, median + 0.1)

    return Row(question="q", figure=1.0, against="a", ratio=spread, more=more, goal=Goal(2, 1.5))


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (_row(1.5), "aim"),
        (_row(1.9), "least"),
        (_row(2.1), "MISS"),
        (_row(1.4, more=True), "MISS"),
        (_row(2.0, more=True), "aim"),
        (Row(question="q", note="no uvloop"), "skipped"),
    ],
)
def test_a_verdict_says_which_goal_is_reached(row: Row, verdict: str) -> None:
    assert row.verdict == verdict


def test_only_what_leaves_both_spreads_counts_as_worse() -> None:
    assert list(worse([_row(1.15)], [_row(1.0)])) == []
    assert list(worse([_row(1.5)], [_row(1.0)])) == ["q (a): 1 -> 1.5"]
    assert list(worse([_row(1.0)], [_row(1.5)])) == []
    assert list(worse([_row(1.0, more=True)], [_row(1.5, more=True)])) == ["q (a): 1.5 -> 1"]


def test_cases_take_turns_within_a_round() -> None:
    order: list[str] = []
    cases = {name: (lambda _, name=name: order.append(name)) for name in "ab"}

    samples = measure_sync(cases, Plan(rounds=2, chunk=0.0))

    assert order == ["a", "b", "a", "b", "b", "a"], "once to warm up, then rotated"
    assert {name: len(times) for name, times in samples.times.items()} == {"a": 2, "b": 2}


def test_pinning_ends() -> None:
    before = cores()
    with pinned():
        assert cores()[0] == cores()[1] == before[0]

    assert cores() == before


def test_a_page_gets_a_line_for_each_question_with_a_figure_for_each_event_loop() -> None:
    rows = [
        _row(1.5).in_column("asyncio"),
        _row(2.5).in_column("trio"),
        Row(question="skipped", note="no peer"),
        Row(question="size", figure=3, unit="KiB", ratio=Spread(3, 3, 3), goal=Goal(8, 4)),
        _row(2.0, more=True).in_column("cold"),
    ]
    where = {"cores": 2, "cpu": "CPU", "system": "OS", "python": "3", "versions": {}, "load": 0}
    page = put_figures(
        "a\n<!-- figures -->\nold\n<!-- end of figures -->\nb\n", figures(rows, where)
    )

    assert page.splitlines()[-6:] == [
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| q | a | | 1.5 | | 2.5 **miss** | ≤ 2 x | ≤ 1.5 x |",
        "| size | | 3 | | | | ≤ 8 KiB | ≤ 4 KiB |",
        "| q, cold | a | 2 | | | | ≥ 2 x | ≥ 1.5 x |",
        "<!-- end of figures -->",
        "b",
    ]
    with pytest.raises(ValueError, match="needs one line"):
        put_figures("no marks\n", "")


def test_the_page_of_figures_takes_others() -> None:
    page = (Path(__file__).parents[1] / "docs" / "performance.md").read_text("utf-8")

    assert "| GET of 96 slots, log off | FC |" in page
    assert "| GET of 96 slots, log off | FC |" not in put_figures(page, "")
