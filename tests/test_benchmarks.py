"""The benchmarks run, and say what they say in the declared shape; no figure is looked at."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from benchmarks import growth, latency
from benchmarks.harness import Goal, Plan, Row, Spread, cores, measure_sync, pinned
from benchmarks.history import Version, keep, versions
from benchmarks.loading import Load, NoCompiler, compiled, pace
from benchmarks.page import figures, growths, histories, latencies, put_part, write_page
from benchmarks.questions import QUESTIONS, ask
from benchmarks.report import document, merged, read_rows, table, worse

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    page = put_part(
        "a\n<!-- figures -->\nold\n<!-- end of figures -->\nb\n", "figures", figures(rows, where)
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
        put_part("no marks\n", "figures", "")


_FRAME = (8).to_bytes(4, "little") + bytes(16)


@contextmanager
def _answering_when_all_have_come(path: Path, many: int) -> Iterator[Load]:
    """A server of one connection: it answers nothing until `many` requests have come."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            stream, _ = listener.accept()
            with stream:
                come = b""
                while len(come) < many * len(_FRAME) and (part := stream.recv(1 << 16)):
                    come += part

                if len(come) == many * len(_FRAME):
                    stream.sendall(come)
                    stream.recv(1)  # until the client goes

        thread = threading.Thread(target=serve)
        thread.start()
        yield Load(str(path), os.getpid(), 1, 20, b"", _FRAME)
        thread.join()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return compiled(tmp_path_factory.mktemp("client"))
    except NoCompiler as error:
        pytest.skip(str(error))


def test_a_request_is_timed_from_when_it_was_due(client: Path, tmp_path: Path) -> None:
    """20 requests at 100 a second: the first waits for the last, 190 ms later."""
    with _answering_when_all_have_come(tmp_path / "socket", 20) as load:
        taken = pace(client, load, 200, tmp_path, 100)

    assert taken.worst >= 0.19
    assert taken.p50 >= 0.09


def test_a_request_that_is_never_answered_counts(client: Path, tmp_path: Path) -> None:
    """After twice the time, also those that were not sent because others are in flight."""
    with _answering_when_all_have_come(tmp_path / "socket", 21) as load:
        taken = pace(client, replace(load, depth=5), 200, tmp_path, 100)

    assert taken.worst >= 0.4
    assert taken.p50 >= 0.3


_PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
_WHERE = {"cores": 2, "cpu": "CPU", "system": "OS", "python": "3", "versions": {}, "load": 0}


def _latency(request: str, share: int, part: str, *, beside: bool = False) -> Row:
    note = "churn: connections opened and dropped" if beside else ""
    question = latency.question(request, share, part, beside=beside)
    ratio = Spread(4.0, 3.0, 5.0) if beside else Spread(1.5, 1.0, 2.0)

    return Row(
        question=question, column="trio", figure=1500, against="echo", ratio=ratio, note=note
    )


def _every_family() -> list[Row]:
    waits = [
        _latency("GET", share, part, beside=beside)
        for share in latency.SHARES
        for part in latency.PARTS
        for beside in (False, True)
    ]
    slope, limits = Spread(0.12, 0.1, 0.15), Goal(0.1, 0.05)
    asked = growth.with_thing("SET", "slots")

    return [
        _row(1.5).in_column("asyncio"),
        _row(2.5).in_column("trio"),
        replace(_row(1.5, more=True), question="speed"),
        Row(question=asked, figure=0.12, unit="exponent", ratio=slope, goal=limits),
        Row(question="size", figure=3, unit="KiB", ratio=Spread(3, 3, 3), goal=Goal(8, 4)),
        *waits,
    ]


def test_families_with_a_table_of_their_own_are_in_no_other() -> None:
    rows = _every_family()
    grown, waited = growths(rows).splitlines(), latencies(rows, _WHERE).splitlines()

    assert [line for line in figures(rows, _WHERE).splitlines() if "GET" in line] == []
    assert "| slots | | 0.120 **miss** | |" in grown
    assert "| GET at 10 % | alone | | | 1.5 / 1.5 / 1.5 | |" in waited
    assert "| GET at 90 % | one misbehaves | | | 4 / 4 / 4 churn | |" in waited


def test_a_version_is_kept_in_a_small_file_without_what_did_not_run(tmp_path: Path) -> None:
    rows = [_row(1 / 3).in_column("trio"), Row(question="skipped", note="no peer")]

    for name in ("0.10.0", "0.9.1"):
        keep(name, rows, _WHERE, tmp_path)

    found = versions(tmp_path)
    assert [it.name for it in found] == ["0.9.1", "0.10.0"]
    (row,) = found[0].rows
    assert row.ratio == Spread(0.333, 0.233, 0.433)
    assert (row.key, row.goal) == (rows[0].key, rows[0].goal)
    assert len((tmp_path / "0.9.1.json").read_bytes().splitlines()) == 3, "a row a line"


@pytest.mark.parametrize("name", ["", "next", "1.0-rc1", "../1.0"])
def test_what_is_kept_has_the_name_of_a_version(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no version"):
        keep(name, [], _WHERE, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_history_begins_with_the_second_version() -> None:
    first, second = (
        Version("0.1.0", [_row(1.5).in_column("trio"), _row(3.0, more=True)]),
        Version("0.2.0", [_row(1.2).in_column("trio")]),
    )

    assert "No version is kept" in histories([])
    assert "Only 0.1.0 is kept" in histories([first])
    assert histories([first, second]).splitlines() == [
        "| question | against | 0.1.0 | 0.2.0 |",
        "| --- | --- | --- | --- |",
        "| q | a | - / - / 1.5 | - / - / 1.2 |",
    ]


def test_later_runs_replace_rows_of_earlier_ones() -> None:
    runs = [document([_row(1.0), _row(5.0).in_column("trio")]), document([_row(2.0)])]

    found = read_rows(merged(orjson.loads(orjson.dumps(runs, default=tuple))))

    assert found == [_row(2.0), _row(5.0).in_column("trio")]


def test_a_run_fills_the_page_and_draws_its_pictures(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert", reason="the extra `report` draws")
    path = tmp_path / "performance.md"
    path.write_text(_PAGE.read_text("utf-8"), "utf-8")
    rows = _every_family()

    write_page(path, rows, _WHERE, [Version("0.1.0", rows), Version("0.2.0", rows)], "0.2.0")

    text = path.read_text("utf-8")
    assert "| q | a | | 1.5 | | 2.5 **miss** | ≤ 2 x | ≤ 1.5 x |" in text
    assert "| question | against | 0.1.0 | 0.2.0 |" in text
    pictures = sorted(it.name for it in tmp_path.glob("*.svg"))
    assert pictures == [f"performance-{name}.svg" for name in ("growth", "latency", "ratios")]
    assert all(f"]({name})" in text for name in pictures), "the page shows each"
    assert "misses both" in (tmp_path / "performance-ratios.svg").read_text("utf-8")
    assert "slots" in (tmp_path / "performance-growth.svg").read_text("utf-8")
    assert "beside the client" in (tmp_path / "performance-latency.svg").read_text("utf-8")
