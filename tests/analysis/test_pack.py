"""Packing: all or nothing, each record once, in order, and nothing that does not verify."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from analysis.logs import EMPTY, UC, WC, attach, change, opened, record, write_log
from audit.conftest import event
from audit.hostile import HOSTILE, Hostile
from memhub.analysis import Analysis, pack, packing
from memhub.analysis.manifest import read_manifest
from memhub.audit import AuditError, AuditLog, DamagedLog, read_records
from memhub.audit.reading import source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from clirun import Run

    Write = Callable[[Iterable[dict[str, Any]]], Path]


def rows(folder: Path, columns: str = "log, chain, n, seq, event") -> list[tuple[Any, ...]]:
    """What is in a set, in order."""
    files = [str(folder / it.path) for it in read_manifest(folder).files]

    query = f"SELECT {columns} FROM read_parquet({files}, hive_partitioning = false)"

    return duckdb.connect().execute(f"{query} ORDER BY log, n").fetchall()


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_set_has_the_records_of_the_log(demo: Path, tmp_path: Path) -> None:
    done = pack([demo], tmp_path)
    due = list(read_records(demo))
    kept = rows(tmp_path, "seq, event, hash, machine, base, length, after_base, reason, wall_ns")

    assert (done.added, done.already) == (len(due), 0)
    for row, it in zip(kept, due, strict=True):
        names = ("seq", "event", "hash", "machine", "base", "length", "after_base", "reason")
        assert row == (*(it.get(name) for name in names), it["wall_ns"])


def test_machines_and_days_have_folders_of_their_own(tmp_path: Path) -> None:
    day = 86400
    odd = "../a/b ü"
    log = write_log(
        tmp_path / "a.jsonl",
        [attach(0, [EMPTY]), attach(1, [EMPTY], machine=odd), record("service.connect", day)],
    )
    pack([log], tmp_path / "set")
    folders = {it.path.rpartition("/")[0] for it in read_manifest(tmp_path / "set").files}

    assert folders == {
        "day=2023-11-14/pc", "day=2023-11-14/%2E%2E%2Fa%2Fb%20%C3%BC",
        "day=2023-11-14/-", "day=2023-11-15/-",
    }  # fmt: skip
    assert len(rows(tmp_path / "set")) == 5


def test_what_was_packed_is_not_packed_again(demo: Path, tmp_path: Path) -> None:
    pack([demo], tmp_path)
    before = snapshot(tmp_path)
    again = pack([demo, demo], tmp_path)

    assert (again.added, again.files, again.already) == (0, 0, 2 * len(rows(tmp_path)))
    assert snapshot(tmp_path) == before


def test_a_log_that_has_grown_is_appended_to(tmp_path: Path) -> None:
    path, out = tmp_path / "a.jsonl", tmp_path / "set"
    write_log(path, [attach(0, [EMPTY])])
    first = pack([path], out)
    old = gzip.compress(path.read_bytes())
    write_log(path, [attach(1, [EMPTY]), opened(2, ("a", 1))])
    second = pack([path], out)
    (tmp_path / "old.jsonl.gz").write_bytes(old)
    third = pack([tmp_path / "old.jsonl.gz"], out)

    assert (first.added, second.added, second.already, third.added) == (3, 4, 3, 0)
    assert [row[2] for row in rows(out)] == list(range(1, 8))
    assert rows(out, "run, start, begins")[1:6] == [
        (1, 1, True), (1, None, False), (1, None, False), (2, 2, True), (2, 2, False),
    ]  # fmt: skip


def test_a_log_that_was_rewritten_is_refused(tmp_path: Path) -> None:
    path, out = tmp_path / "a.jsonl", tmp_path / "set"
    write_log(path, [attach(0, [EMPTY])])
    kept = path.read_bytes().splitlines(keepends=True)
    write_log(path, [opened(1, ("a", 1))])
    pack([path], out)
    before = snapshot(out)
    path.write_bytes(b"".join(kept[:2]))
    write_log(path, [opened(1, ("b", 2)), opened(1, ("b", 2))])
    with pytest.raises(AuditError, match="is not the one that is packed"):
        pack([path], out)

    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    with pytest.raises(AuditError, match="record 4 is not the one that is packed"):
        pack([path], out)

    assert snapshot(out) == before


def test_damage_is_named_by_its_line_and_nothing_is_packed(demo: Path, tmp_path: Path) -> None:
    lines = demo.read_bytes().splitlines(keepends=True)
    broken, out = tmp_path / "b.jsonl", tmp_path / "set"
    pack([demo], out)
    before = snapshot(out)
    broken.write_bytes(b"".join([*lines[:40], lines[40].replace(b'"pid"', b'"pud"'), *lines[41:]]))
    for target in (out, tmp_path / "other"):
        with pytest.raises(DamagedLog, match="line 41"):
            pack([demo, broken], target)

    assert snapshot(out) == before
    assert snapshot(tmp_path / "other") == {}


def test_an_unfinished_line_is_left_out_and_told(demo: Path, tmp_path: Path) -> None:
    lines = demo.read_bytes().splitlines(keepends=True)
    torn = tmp_path / "t.jsonl"
    torn.write_bytes(b"".join(lines[:50]) + lines[50][:30])
    done = pack([torn], tmp_path / "set")

    assert done.added == 50
    assert "it is left out" in done.notes[0]


@pytest.mark.parametrize("case", HOSTILE.values(), ids=lambda it: it.name)
def test_a_hostile_line_is_refused_by_its_number(tmp_path: Path, case: Hostile) -> None:
    path = write_log(tmp_path / "h.jsonl", [event(number) for number in range(4)])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + case.make(lines[3]))
    with pytest.raises(AuditError, match=r"line 4\b"):
        pack([path], tmp_path / "set")

    with pytest.raises(AuditError, match=r"line 4 is not a record") as refused:
        pack([path], tmp_path / "set", verified=False)

    assert case.rule in str(refused.value)


def test_a_number_beyond_its_column_is_refused_by_its_line(tmp_path: Path) -> None:
    fitting = {**opened(1, ("a", 1)), "pid": (1 << 63) - 1}
    path = write_log(tmp_path / "a.jsonl", [fitting, {**fitting, "pid": 1 << 63}])
    with pytest.raises(AuditError, match="line 3 is not a record: pid is beyond int"):
        pack([path], tmp_path / "set")

    assert snapshot(tmp_path / "set") == {}


def test_addresses_above_2_63_are_kept(written: Write, tmp_path: Path) -> None:
    last = ((1 << 64) - 0x2000, 0x2000, WC, "top")
    log = written([attach(0, [EMPTY]), change(1, ("a", 1), 0, EMPTY, last)])
    pack([log], tmp_path / "set")
    with Analysis([tmp_path / "set"]) as analysis:
        changed = max(analysis.view("changes").to_pylist(), key=lambda it: it["n"])
        tenure = analysis.view("tenures").to_pylist()[0]

    assert rows(tmp_path / "set", "base, after_base")[2] == (last[0], [last[0]])
    assert (changed["after_base"], tenure["base"], tenure["length"]) == (last[0], last[0], 0x2000)


def test_memory_is_bounded_by_files_that_are_converted_on_the_way(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_BLOCK", 8192)
    monkeypatch.setattr(packing, "SPOOL_SIZE", 8192)
    monkeypatch.setattr(packing, "MAX_SPOOLS", 2)
    done = pack([demo], tmp_path)

    assert done.files > 10
    assert [row[3] for row in rows(tmp_path)] == list(range(1, done.added + 1))


def test_only_one_packs_into_a_set(demo: Path, tmp_path: Path) -> None:
    calls = []

    def progress(done: int, total: int) -> None:
        calls.append((done, total))
        with pytest.raises(AuditError, match="another process packs into it"):
            pack([demo], tmp_path)

    pack([demo], tmp_path, progress=progress)
    assert calls[-1] == (demo.stat().st_size,) * 2


def test_what_a_killed_one_left_is_cleared_away(demo: Path, tmp_path: Path) -> None:
    (tmp_path / ".packing-x").mkdir()
    (tmp_path / ".packing-x" / "1.jsonl").write_bytes(b"half")
    pack([demo], tmp_path)

    assert list(tmp_path.glob(".packing-*")) == []


# Logs of several files


def segments(folder: Path) -> list[Path]:
    """A log of three segments: a range is set in the first, the last two go on."""
    wc, uc = ((0x10000, 0x1000, kind, "a") for kind in (WC, UC))
    with AuditLog.open(f"{folder}/", log_id="segmented") as log:
        log.record(attach(0, [EMPTY]))
        log.record(change(1, ("a", 1), 0, EMPTY, wc))
        log.rotate([{**attach(1, [wc]), "event": "held.machine", "count": 0}])
        log.record(change(2, ("a", 1), 0, wc, uc))
        log.rotate([{**attach(2, [uc]), "event": "held.machine", "count": 0}])
        log.record(change(3, ("a", 1), 0, uc, EMPTY))

    return sorted(folder.iterdir())


def test_segments_are_packed_as_a_folder_or_one_by_one(tmp_path: Path) -> None:
    files = segments(tmp_path / "log")
    whole = pack([tmp_path / "log"], tmp_path / "whole")
    added = [pack([file], tmp_path / "single").added for file in files]
    again = [pack([file], tmp_path / "single").already for file in files]

    assert len(files) == 3
    assert sum(added) == whole.added
    assert again == added
    names = "n, seq, event, run, start, begins"
    assert rows(tmp_path / "whole", names) == rows(tmp_path / "single", names)
    assert {row[3:5] for row in rows(tmp_path / "whole", names) if row[4]} == {(1, 1)}
    with Analysis([tmp_path / "single"]) as log:
        assert [it["held_ns"] for it in log.view("tenures").to_pylist()] == [10**9, 10**9]


def test_a_segment_that_does_not_follow_is_refused(tmp_path: Path) -> None:
    one, two, three = segments(tmp_path / "log")
    pack([one], tmp_path / "set")
    with pytest.raises(AuditError, match="pack the files of a log in order"):
        pack([three], tmp_path / "set")

    pack([two, three], tmp_path / "set")
    later = pack([two, three], tmp_path / "later")
    with Analysis([tmp_path / "later"]) as log:
        assert len(log.view("tenures").to_pylist()) == 2, "the table that the segment begins with"

    assert later.added == len(rows(tmp_path / "later"))


def test_a_folder_of_logs_is_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for number, name in enumerate(("b.jsonl", "a.jsonl")):
        path = write_log(folder / name, [opened(number * 100, (name, 1))], name)
        path.write_bytes(path.read_bytes())

    (folder / "a.jsonl.gz").write_bytes(gzip.compress((folder / "a.jsonl").read_bytes()))
    (folder / "a.jsonl").unlink()
    (folder / "notes.txt").write_text("no log")
    pack([folder], tmp_path / "set")

    assert {row[0] for row in rows(tmp_path / "set")} == {"a.jsonl", "b.jsonl"}
    with pytest.raises(AuditError, match="no audit log is in it"):
        pack([tmp_path / "set" / "day=2023-11-14"], tmp_path / "other")


def test_the_command_says_what_it_did(run: Run, demo: Path, tmp_path: Path) -> None:
    done = run("audit", "pack", demo, "--out", tmp_path / "set", "--json")
    said = run("audit", "pack", demo, "--out", tmp_path / "set")
    facts = json.loads(done.out)

    assert facts["added"] == len(list(read_records(demo)))
    assert said.out == f"{tmp_path}/set: 0 records added in 0 files, {facts['added']} were there\n"
    lines = demo.read_bytes().splitlines(keepends=True)
    (tmp_path / "b.jsonl").write_bytes(b"".join(lines[:5] + lines[6:]))
    broken = run("audit", "pack", tmp_path / "b.jsonl", "--out", tmp_path / "other")
    assert broken.code == 1
    assert "line 6" in broken.err
    assert run("audit", "pack", tmp_path / "none", "--out", tmp_path / "other").code == 2
