"""Every question over random histories, against the live machines and a walk over the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from analysis import expected
from analysis.watched import Watched, follow, rows_by
from memhub.analysis import Analysis, pack
from memhub.audit import AuditLog, read_records
from ownership.rig import SPECS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINUTE = 60 * 10**9


class Told(NamedTuple):
    """What one history was, and what the log has of it."""

    live: Watched
    records: list[dict[str, Any]]
    log: str


class Histories(NamedTuple):
    log: Analysis
    told: list[Told]

    def rows(self, answer: Any, told: Told) -> list[dict[str, Any]]:
        return [row for row in answer if row["log"] == told.log]


def make(folder: Path, seeds: range, steps: int) -> list[Told]:
    """A history on each architecture, at once and with commits that take time."""
    found = []
    for seed in seeds:
        for arch in sorted(SPECS):
            for latency in (0.0, 1.0):
                name = f"{arch}-{latency}-{seed}"
                path = folder / f"{name}.jsonl"
                with AuditLog.open(path, log_id=name) as log:
                    live = follow(Watched(arch, seed, latency=latency, log=log), steps)

                found.append(Told(live, list(read_records(path)), name))

    return found


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Histories]:
    folder = tmp_path_factory.mktemp("histories")
    told = make(folder, range(7, 8), 200)
    pack([folder], folder / "packed")
    with Analysis([folder / "packed"]) as log:
        yield Histories(log, told)


def check_occupancy(h: Histories) -> None:
    for by, names in (("owner", "by_owner"), ("process", "by_process")):
        answer = h.log.occupancy(by).to_pylist()  # type: ignore[arg-type]
        for told in h.told:
            rows = rows_by(h.rows(answer, told), by)
            times = {key[0]: row["held_ns"] for key, row in rows.items() if row["held_ns"]}
            assert times == {k: v for k, v in getattr(told.live, names).items() if v}

    answer = h.log.occupancy().to_pylist()
    series = h.log.occupancy("time").to_pylist()
    for told in h.told:
        (row,) = h.rows(answer, told)
        live = told.live
        assert row["slots"] == len(live._rows())
        assert row["last"] == len(live.in_use)
        assert row["full_ns"] == live.full
        assert row["watched_ns"] == live.passed
        assert row["mean"] == pytest.approx(live.used / live.passed, abs=0.001)
        points = h.rows(series, told)
        assert max(it["used"] for it in points if it["lasted_ns"]) == live.most
        assert sum(it["used"] * it["lasted_ns"] for it in points) == live.used


def check_contention(h: Histories) -> None:
    answer = h.log.contention().to_pylist()
    for told in h.told:
        rows = rows_by(h.rows(answer, told), "process", "holder")
        due = expected.contention(told.records)
        names = ("refused", "waited", "granted", "timed_out", "deadlocks", "wait_ns")
        assert {key: {it: row[it] for it in names} for key, row in rows.items()} == {
            key: {it: counts[it] for it in names} for key, counts in due.items()
        }


def check_leaks(h: Histories) -> set[str]:
    answer = h.log.leaks().to_pylist()
    claims = h.log.view("claims").to_pylist()
    for told in h.told:
        rows, live = h.rows(answer, told), told.live
        held = {
            (r["fence"], r["process"], r["base"], r["length"]) for r in rows if r["how"] == "held"
        }
        assert {it[:2] for it in held} == {it[:2] for it in live.held()}
        how = expected.ended(told.records)
        lost = {r["fence"]: r["how"] for r in rows if r["fence"] is not None and r["how"] != "held"}
        assert lost == {k: v for k, v in how.items() if v not in ("close", "break", "stop")}
        for claim in h.rows(claims, told):
            alive = claim["fence"] in live.machine.claims.claims
            assert (claim["until_n"] is None) == alive
            if claim["fence"] in how:
                assert claim["how"] == how[claim["fence"]]

        left = {row["slot"] for row in rows if row["how"] == "left"}
        assert left == left_behind(told)

    return {row["how"] for row in answer}


def left_behind(told: Told) -> set[int]:
    """Slots whose range was set by a process that has no open handle now."""
    setter: dict[int, int] = {}
    for it in expected.changes(told.records):
        for slot, before, after in expected.sides(it):
            if before != after and it["event"] == "undo":
                setter.pop(slot, None)
            elif before != after:
                setter[slot] = it["process_id"]

    there = {n for n, it in enumerate(told.live._rows()) if it in told.live.in_use}

    return {s for s, who in setter.items() if s in there and who not in told.live.open_processes()}


def check_others(h: Histories) -> None:
    hijacks = h.log.hijacks().to_pylist()
    flapping = h.log.flapping(least=3, within_ns=MINUTE).to_pylist()
    slots = h.log.slots().to_pylist()
    for told in h.told:
        found = [(r["seq"], r["what"], r["victim"], r["by"]) for r in h.rows(hijacks, told)]
        assert sorted(found, key=repr) == expected.hijacks(told.records)
        rows = rows_by(h.rows(flapping, told), "base", "length")
        assert {key: (row["changes"], row["bursts"]) for key, row in rows.items()} == (
            expected.flapping(told.records, 3, MINUTE)
        )
        arch = told.live.machine.arch.name
        assert {(r["slot"], r["why"], r["other_slot"]) for r in h.rows(slots, told)} == (
            expected.wasted(told.live._rows(), arch)
        )


def test_occupancy_is_that_of_the_live_machine(histories: Histories) -> None:
    check_occupancy(histories)


def test_contention_counts_each_refusal_once(histories: Histories) -> None:
    check_contention(histories)
    assert any(it["timed_out"] for it in histories.log.contention().to_pylist())


def test_leaks_are_what_the_live_machine_still_holds_and_what_was_lost(
    histories: Histories,
) -> None:
    kinds = check_leaks(histories)
    assert kinds >= {"held", "left", "expire", "disconnect", "error"}


def test_hijacks_flapping_and_wasted_slots_are_those_of_the_records(histories: Histories) -> None:
    check_others(histories)
    assert {it["what"] for it in histories.log.hijacks().to_pylist()} == {
        "break", "overwrite", "remove",
    }  # fmt: skip


@pytest.mark.campaign
def test_the_questions_over_long_histories(tmp_path: Path) -> None:
    told = make(tmp_path, range(100, 106), 600)
    pack([tmp_path], tmp_path / "packed")
    with Analysis([tmp_path / "packed"]) as log:
        histories = Histories(log, told)
        for check in (check_occupancy, check_contention, check_leaks, check_others):
            check(histories)
