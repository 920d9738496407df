"""`memhub audit state`, `diff` and `blame` say what was at a moment of a log, and why."""

from __future__ import annotations

import gzip
import json
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import orjson

from memhub import AuditLog
from memhub.audit import AuditError, read_records, state_at
from memhub.audit.history.blame import blame
from memhub.audit.history.travel import Travel
from memhub.cli import terminal
from ownership.rig import ARCHES
from value.test_state_of_files import rotated_traffic, write_as_before
from value.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from clirun import Run

FRAME = 0xE0000000


# State


def test_the_state_is_json_as_documented(run: Run, demo: Path, end: int) -> None:
    facts = json.loads(run("audit", "state", demo, "--at", end, "--json").out)
    (mac,) = [it for it in facts["machines"] if it["machine"] == "mac"]

    assert set(facts) == {"seq", "time", "machines"}
    assert facts == state_at(demo, end).facts()
    assert mac["slots"][0] == {
        "slot": 0, "base": 0x81234000, "length": 200 << 20, "flags": mac["slots"][0]["flags"],
        "owner": "MacOS",
    }  # fmt: skip
    assert len(mac["slots"]) == 8
    assert mac["msrs"] == {}


def test_the_moment_is_a_record_or_a_time(run: Run, demo: Path) -> None:
    record = next(it for it in read_records(demo) if it["event"] == "claim.take")
    at = run("audit", "state", demo, "--at", record["seq"], "--json")
    time = json.loads(at.out)["time"]

    assert time.startswith("2026-01-01T00:00:00.")
    assert time.endswith("Z")
    assert json.loads(run("audit", "state", demo, "--at", time, "--json").out)["time"] == time
    assert run("audit", "state", demo, "--at", "noon").code == 2


def test_people_see_what_is_in_use(run: Run, demo: Path, end: int) -> None:
    out = run("audit", "state", demo, "--at", end, "--machine", "legacy").out

    assert out.startswith(f"record {end} at 2026-01-01T00:00:00.")
    assert "slots 0-15 0x0+640K write-back fixed-base" in out, "alike fixed ranges are one line"
    assert "desk" not in out


def test_an_unknown_machine_is_refused_with_those_that_are_there(
    run: Run, demo: Path, end: int
) -> None:
    there = "there is no machine 'nix' at record"
    for words in (["state", demo, "--at", end], ["blame", demo, "0", "--at", end]):
        done = run("audit", *words, "--machine", "nix")
        text = " ".join(done.err.split())
        assert done.code == 2
        assert there in text
        assert "(machines: desk, legacy, server, k6, mac, board)" in text


def test_a_machine_that_was_detached_is_refused_with_the_last_record_that_has_it(
    run: Run, demo: Path, end: int
) -> None:
    done = run("audit", "blame", demo, "0", "--machine", "desk")

    assert done.code == 2
    said = f"it was detached by record {end + 1}: ask for what was at {end}"
    assert said in " ".join(done.err.split())
    assert run("audit", "blame", demo, "0", "--machine", "desk", "--at", end).code == 0


def test_a_broken_chain_answers_nothing_behind_the_break(
    run: Run, demo: Path, tmp_path: Path
) -> None:
    lines = demo.read_bytes().splitlines(keepends=True)
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(b"".join((*lines[:60], lines[60].replace(b'"wall_ns":1', b'"wall_ns":2'),
                                 *lines[61:])))  # fmt: skip
    for words in (
        ["state", broken], ["blame", broken, hex(FRAME), "--at", "90"], ["diff", broken, "3", "70"],
        ["diff", demo, broken],
    ):  # fmt: skip
        done = run("audit", *words)
        assert (done.code, done.out) == (1, "")
        text = " ".join(done.err.split())
        assert "broken after 60 records: line 61, " in text
        assert "the record's bytes were altered" in text

    assert run("audit", "state", broken, "--at", "60").code == 0
    assert run("audit", "state", broken, "--at", "90", "--unverified").code == 0


# Diff


def test_a_diff_is_what_changed_between_two_moments(run: Run, demo: Path, end: int) -> None:
    begin = next(it["seq"] for it in read_records(demo) if it["event"] == "request.open")
    facts = json.loads(run("audit", "diff", demo, begin, end, "--json").out)
    desk = next(it for it in facts["machines"] if it["machine"] == "desk")
    states = [state_at(demo, at).facts() for at in (begin, end)]
    before, after = (
        next(it for it in state["machines"] if it["machine"] == "desk") for state in states
    )

    assert [facts[it]["seq"] for it in ("before", "after")] == [begin, end]
    for it in desk["slots"]:
        assert {"slot": it["slot"], **it["before"]} == before["slots"][it["slot"]]
        assert {"slot": it["slot"], **it["after"]} == after["slots"][it["slot"]]

    changed = {it["slot"] for it in desk["slots"]}
    assert changed == {
        n for n in range(len(before["slots"])) if before["slots"][n] != after["slots"][n]
    }
    assert [it["fence"] for it in desk["claims"] if it["before"] is None] == [
        it["fence"] for it in after["claims"]
    ]
    assert desk["generation"] == {"before": 0, "after": after["generation"]}
    assert "board" not in {it["machine"] for it in facts["machines"]}, "nothing changed there"


def test_a_diff_backwards_is_the_opposite(run: Run, demo: Path, end: int) -> None:
    there, back = (
        json.loads(run("audit", "diff", demo, *moments, "--json", "--machine", "desk").out)
        for moments in ((40, end), (end, 40))
    )

    (one,), (two,) = there["machines"], back["machines"]
    assert [(it["before"], it["after"]) for it in one["slots"]] == [
        (it["after"], it["before"]) for it in two["slots"]
    ]


def test_two_logs_are_compared_at_their_ends(run: Run, tmp_path: Path) -> None:
    logs = [tmp_path / name for name in ("one.jsonl", "two.jsonl", "three.jsonl.gz")]
    for path, steps in zip(logs, (60, 80, 60), strict=True):
        with AuditLog.open(tmp_path / "it.jsonl") as log:
            traffic = Traffic("amd64", 3, log=log)
            for _ in range(steps):
                traffic.step()

        text = (tmp_path / "it.jsonl").read_bytes()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
        (tmp_path / "it.jsonl").unlink()

    facts = json.loads(run("audit", "diff", *logs[:2], "--json").out)
    assert [it["machine"] for it in facts["machines"]] == ["amd64"]
    assert "nothing differs" in run("audit", "diff", logs[0], logs[2]).out
    assert run("audit", "diff", logs[0], "1", "2", "3").code == 2
    assert run("audit", "diff", "-", "-").code == 2


# Foreign logs


def test_an_earlier_versions_rotated_file_says_that_it_begins_in_the_middle(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    for _ in rotated_traffic(tmp_path / "new.jsonl", 8):
        pass

    write_as_before(tmp_path / "new.jsonl", path)

    state, why, changes = (
        run("audit", *words).out
        for words in (
            ["state", path],
            ["blame", path, "0x4000"],
            ["diff", path, "2", str(len(path.read_bytes().splitlines()))],
        )
    )
    for out in (state, why, changes):
        text = " ".join(out.split())
        assert "machine amd64-mtrr: the log begins in the middle (the file before ends in" in text
        assert "its claims, waits and commits are not known" in text

    assert "  claim " not in state + changes
    (machine,) = json.loads(run("audit", "state", path, "--json").out)["machines"]
    assert (machine["claims"], machine["waits"]) == (None, None)


def test_records_with_foreign_values_are_refused_or_read(tmp_path: Path) -> None:
    """Whatever a log says that is not checked, the answer is a state or an AuditError."""
    path, rng = tmp_path / "a.jsonl", Random(4)
    with AuditLog.open(path) as log:
        traffic = Traffic("i386", 5, log=log)
        for _ in range(40):
            traffic.step()

    records, refused = list(read_records(path)), 0
    values = [0, -1, 1, 1 << 63, (1 << 64) - 1, None, "", "x", [], [0], [1 << 40], True]
    for _ in range(120):
        changed = [dict(it) for it in records]
        one = rng.choice(changed[1:])
        name = rng.choice([*one])
        if rng.random() < 0.2:
            del one[name]
        else:
            one[name] = rng.choice(values)

        path.write_bytes(b"".join(orjson.dumps(it) + b"\n" for it in changed))
        try:
            blame(Travel(path=path, arches=ARCHES, verified=False), 0x4000)
            json.dumps(state_at(path, arches=ARCHES, verified=False).facts())
        except AuditError:
            refused += 1

    assert 20 < refused < 120


# Progress


def test_progress_is_shown_only_of_what_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now, shown = [0.0], list[tuple[int, int]]()

    @contextmanager
    def bar(label: str) -> Iterator[Any]:
        assert label == "read"
        yield lambda done, total: shown.append((done, total))

    monkeypatch.setattr(terminal, "monotonic", lambda: now[0])
    monkeypatch.setattr(terminal, "progress", bar)
    with terminal.late_progress("read") as tell:
        for done, moment in enumerate((0.5, 0.9, 1.1, 1.2)):
            now[0] = moment
            tell(done, 4)

    assert shown == [(2, 4), (3, 4)]
