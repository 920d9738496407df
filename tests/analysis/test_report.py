"""The data of a report against the records of its log, one mark after another."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from analysis import expected
from analysis.pages import Page, read_page
from memhub.analysis import Analysis
from memhub.analysis.pictures.limits import Limits
from memhub.analysis.pictures.palette import kind_of, legend_name
from memhub.analysis.pictures.report import collect
from memhub.audit import AuditLog, read_records
from value.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    Record = dict[str, Any]

    #: A slot, the record that set its range, and the one that ended it.
    Stood = tuple[int, int, int | None]


class Told(NamedTuple):
    page: Page
    records: list[Record]
    machines: list[str]


@pytest.fixture(scope="module")
def told(page: Page, demo: Path) -> Told:
    records = list(read_records(demo))
    machines = sorted({it["machine"] for it in records if it.get("machine")})

    return Told(page, records, machines)


class Long(NamedTuple):
    log: Analysis
    records: list[Record]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Long]:
    """A log with more ranges, refusals and requests than the limits of a test draw."""
    path = tmp_path_factory.mktemp("long") / "long.jsonl"
    with AuditLog.open(path, log_id="long") as log:
        traffic = Traffic("amd64-mtrr", 5, latency=1.0, log=log)
        for _ in range(900):
            traffic.step()

    with Analysis([path]) as asked:
        yield Long(asked, list(read_records(path)))


def tables(records: Iterable[Record], machine: str) -> list[tuple[int, dict[int, Any]]]:
    """Each record that changed a machine's table, with the used slots behind it."""
    slots: dict[int, tuple[int, int, int, str]] = {}
    found = []
    for it in records:
        if it.get("machine") != machine or it.get("errno") or "after_base" not in it:
            continue

        if it["event"] == "device.attach" or (it["event"] in ("request.set", "undo")):
            lists = (it[f"after_{name}"] for name in ("base", "length", "flags", "owner"))
            slots.update(zip(it["slots"], zip(*lists, strict=True), strict=True))
            used = {n: one for n, one in slots.items() if expected.is_used(one, it["arch"])}
            found += [(it["seq"], used)] if it["slots"] else []

    return found


def stood(records: Iterable[Record], machine: str) -> dict[Stood, int]:
    """The flags of each range that stood in a slot, by slot and the records around it."""
    found: dict[Stood, int] = {}
    open_: dict[int, tuple[int, Any]] = {}
    for seq, used in tables(records, machine):
        for slot in open_.keys() | used.keys():
            since, before = open_.get(slot, (0, None))
            now = used.get(slot)
            if plain(before) == plain(now):
                continue

            if before is not None:
                found[slot, since, seq] = before[2]
            if now is not None:
                open_[slot] = (seq, now)
            else:
                del open_[slot]

    return found | {(slot, since, None): it[2] for slot, (since, it) in open_.items()}


def plain(it: Any) -> Any:
    """A range without MDF_BUSY."""
    return None if it is None else (*it[:2], it[2] & ~0x20000000 & 0x7FFFFFFF, it[3])


def drawn(page: Page, place: int) -> dict[Stood, str]:
    """The ranges of a time line: slot and records, with the type that is drawn."""
    name = f"timeline-{place}"
    found = {}
    for row in page.rows(name, "ranges"):
        since, *until = page.behind(name, row)
        found[int(row["row"].split()[1]), since, until[0] if until else None] = row["type"]

    return found


def test_a_time_line_has_each_range_that_came_or_went(told: Told) -> None:
    for place, machine in enumerate(told.machines):
        found = drawn(told.page, place)
        due = stood(told.records, machine)
        moved = {slot for slot, since, until in due if until or since > len(told.machines) + 1}

        assert found == {
            key: legend_name(kind_of(flags)) for key, flags in due.items() if key[0] in moved
        }


def test_slots_that_never_changed_are_counted(told: Told) -> None:
    place = told.machines.index("legacy")
    due = stood(told.records, "legacy")
    (row,) = told.page.rows(f"timeline-{place}", "still")
    never = [flags for (_, since, until), flags in due.items() if until is None and since < 9]

    counts = Counter(kind_of(flags).name for flags in never if flags)
    still = {it[0] for it in drawn(told.page, place)}
    counts -= Counter(
        kind_of(flags).name
        for (slot, since, until), flags in due.items()
        if slot in still and until is None and since < 9
    )

    assert row["row"] == f"{counts.total()} others"
    for name, count in counts.items():
        assert f"{count} {name}" in row["label"]


def test_each_refusal_has_a_sign_that_leads_to_its_record(told: Told) -> None:
    refused = defaultdict(set)
    for it in told.records:
        if it.get("errno") and it["event"].startswith("request."):
            refused[it["machine"]].add(it["seq"])

    for place, machine in enumerate(told.machines):
        name = f"timeline-{place}"
        found = [told.page.behind(name, row) for row in told.page.rows(name, "refused")]
        assert {seq for (seq,) in found} == refused[machine]
        assert len(found) == len(refused[machine])


def test_each_wait_leads_to_its_beginning_and_its_end(told: Told) -> None:
    begun = {it["wait"]: it for it in told.records if it["event"] == "wait.begin"}
    due = {
        (it["machine"], begun[it["wait"]]["seq"], it["seq"])
        for it in told.records
        if it["event"] == "wait.end"
    }
    found = {
        (machine, *told.page.behind(f"timeline-{place}", row))
        for place, machine in enumerate(told.machines)
        for row in told.page.rows(f"timeline-{place}", "waits")
    }

    assert found
    assert len(found) == len(due)


def test_a_claim_is_drawn_as_busy(told: Told) -> None:
    taken = {
        (it["machine"], slot, it["seq"])
        for it in told.records
        if it["event"] == "request.set" and it["errno"] is None
        for slot in it.get("claimed") or ()
    }
    found = {
        (machine, int(row["row"].split()[1]), told.page.behind(f"timeline-{place}", row)[0])
        for place, machine in enumerate(told.machines)
        for row in told.page.rows(f"timeline-{place}", "busy")
    }

    assert taken == found


def test_occupancy_is_the_number_of_used_slots(told: Told) -> None:
    for place, machine in enumerate(told.machines):
        due = {seq: len(used) for seq, used in tables(told.records, machine)}
        if not due:
            continue

        name = f"occupancy-{place}"
        points = told.page.rows(name, "points")
        assert {told.page.behind(name, it)[0]: it["used"] for it in points} == due


def test_contention_has_a_cell_for_each_pair(told: Told) -> None:
    cells = {(it["process"], it["holder"]): it for it in told.page.rows("contention", "cells")}
    due = expected.contention(
        {**it, "wait": (it["machine"], it["wait"])} if "wait" in it else it for it in told.records
    )

    assert {key: it["wait_ns"] for key, it in cells.items()} == {
        (who, whom or "nobody"): counts["wait_ns"] for (who, whom), counts in due.items()
    }
    for (who, whom), counts in due.items():
        assert cells[who, whom or "nobody"]["second"] == f"{counts['refused']} refused"


def test_every_request_has_its_duration(told: Told) -> None:
    names = ("claim.take", "claim.renew", "claim.release", "claim.wait")
    due = {
        it["seq"]: it["duration_ns"]
        for it in told.records
        if (
            it["event"].startswith("request.")
            or (it["event"] in names and it["cause"] == "request")
        )
        and it.get("duration_ns") is not None
    }
    rows = told.page.rows("latency", "requests")
    found = {told.page.behind("latency", row)[0]: row["length"] for row in rows}

    assert found.keys() == due.keys()
    assert all(10 ** found[seq] == pytest.approx(max(10, ns)) for seq, ns in due.items())


def test_the_map_shows_the_table_at_every_moment(told: Told) -> None:
    moments = [int(it["say"].split()[1].rstrip(",")) for it in told.page.data["moments"]]
    assert moments == sorted(moments)
    for place, machine in enumerate(told.machines):
        steps = tables(told.records, machine)
        if not steps:
            continue

        rows = told.page.rows(f"map-{place}", "ranges")
        for tick, seq in enumerate(moments):
            table = [used for at, used in steps if at <= seq]
            there = [row for row in rows if row["since_tick"] <= tick < row["until_tick"]]
            # Ranges that touch, are alike and never change are one; their label has the number
            count = sum(
                int(row["label"].rpartition("(")[2].split()[0]) if "slots)" in row["label"] else 1
                for row in there
            )
            assert count == len(table[-1]) if table else not there


def test_a_record_is_shown_as_it_is_in_the_log(told: Told) -> None:
    by_seq = {it["seq"]: it for it in told.records}
    shown = told.page.data["records"]
    for key, it in shown.items():
        record = by_seq[int(key.split()[1])]
        members = it["members"]
        assert members["hash"] == record["hash"]
        assert members["event"] == record["event"]
        assert members["wall_ns"] == str(record["wall_ns"])
        if record.get("base") is not None:
            assert members["base"] == hex(record["base"])

        assert it["line"].startswith(f"{record['seq']} ")
        changed = record.get("slots") if "after_base" in record else None
        assert bool(it["slots"]) == bool(changed)

    marks = [mark for figure in told.page.data["figures"] for mark in figure["marks"]]
    assert {key for mark in marks for key in mark["records"]} == shown.keys()


def test_what_a_long_log_has_too_many_of_is_summed_up(long: Long) -> None:
    page = read_page(collect(long.log, "long", Limits(marks=20, rows=2, records=60)))
    due = stood(long.records, "amd64-mtrr")
    refused = [it for it in long.records if it.get("errno") and it["event"].startswith("request.")]
    rows = page.rows("timeline-0", "ranges")
    sums = page.rows("timeline-0", "sums")
    signs = page.rows("timeline-0", "refused")
    slots = Counter(key[0] for key in due)
    own = {int(it["row"].split()[1]) for it in rows}

    assert len(rows) == 20
    assert len(rows) + sum(int(it["label"]) for it in sums) == len(due)
    assert len(own) == 2 < len(slots)
    further = sum(int(it["label"]) for it in sums if it["row"] == "further slots")
    assert further == sum(count for slot, count in slots.items() if slot not in own)
    assert f"20 of {len(due):,} ranges are drawn one by one" in page.text
    assert sum(int(it["say"].split()[0]) for it in signs) >= len(refused) > len(signs)
    assert len(page.data["records"]) == 60
    assert "records behind marks are in this page" in page.text
    check_longest(page, long.records, due)


def check_longest(page: Page, records: list[Record], due: dict[Stood, int]) -> None:
    """No range that is summed up stood longer than one that is drawn in its machine."""
    times = {it["seq"]: it["mono_ns"] for it in records}
    last = max(it["mono_ns"] for it in records if not it["event"].startswith("log."))
    own = {key[0] for key in drawn(page, 0)}

    def length(key: Stood) -> int:
        end: int = last if key[2] is None else times[key[2]]

        return end - int(times[key[1]])

    lengths = sorted((length(key) for key in due if key[0] in own), reverse=True)

    assert sorted((length(key) for key in drawn(page, 0)), reverse=True) == lengths[:20]
