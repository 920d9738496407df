"""`memhub audit state`, `diff` and `blame` say what was at a moment of a log, and why."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from memhub import AuditLog, DeviceError, Hub
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITEBACK, MDF_WRITECOMBINE
from memhub.audit import read_records, state_at
from memhub.audit.blame import STEPS_MAX, blame
from memhub.audit.travel import Travel
from memhub.cli.demo.run import run_demo
from memhub.clock import ManualClock
from ownership.rig import ARCHES, SPECS
from ownership.rig import spec as made
from value.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run

FRAME = 0xE0000000


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "a.jsonl"
    run_demo(3, path)

    return path


@pytest.fixture(scope="module")
def end(demo: Path) -> int:
    """The last record before the machines are taken away."""
    detached = (it for it in read_records(demo) if it["event"] == "device.detach")

    return int(next(detached)["seq"]) - 1


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


# Blame


def _answers(run: Run, *words: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("audit", "blame", *words, "--json").out)

    return found


def test_blame_lists_each_change_and_each_refusal(run: Run, demo: Path, end: int) -> None:
    (answer,) = _answers(run, demo, hex(FRAME), "--at", end, "--machine", "desk")
    records = {it["seq"]: it for it in read_records(demo)}
    steps = answer["steps"]

    assert steps[0]["event"] == "device.attach"
    assert steps[1]["process"] == "Xorg"
    assert (steps[1]["before"], steps[1]["after"]) == ("WB", "WC")
    assert steps[1]["slots"][0]["after"]["owner"] == "Xorg"
    refused = [it for it in steps if it["errno"]]
    assert [it["seq"] for it in refused] == [
        seq for seq, it in records.items()
        if it["event"] == "request.set" and it["machine"] == "desk" and it["errno"]
        and it["base"] <= FRAME < it["base"] + it["length"] and seq <= end
    ]  # fmt: skip
    assert all(it["reason"] == records[it["seq"]]["reason"] for it in refused)
    assert answer["type"] == [it["after"] for it in steps if it["after"]][-1]


async def test_blame_ends_in_the_type_and_the_reason_of_explain(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for arch in sorted(SPECS):
        path.unlink(missing_ok=True)
        with AuditLog.open(path) as log:
            hub = Hub([made(arch)], arches=ARCHES, clock=ManualClock(), log=log)
            async with hub, hub.process("one") as one:
                handle = await one.open("/dev/mem", "r+")
                for flags in (MDF_WRITECOMBINE, MDF_UNCACHEABLE, MDF_WRITEBACK):
                    with suppress(DeviceError):
                        await handle.set_range(1 << 24, 1 << 24, flags, owner="me")

                live = await handle.explain(1 << 24)

        end = next(it["seq"] for it in read_records(path) if it["event"] == "request.close") - 1
        (told,) = blame(Travel(path=path, arches=ARCHES), 1 << 24, end)
        assert (told.type, told.why) == (live.type, live.why)
        assert len(told.steps) == 4


@pytest.mark.parametrize("arch", sorted(SPECS))
def test_the_steps_lead_to_the_type_in_random_histories(tmp_path: Path, arch: str) -> None:
    """Each change begins where the one before it ended, and the last one ends in the type."""
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = Traffic(arch, 9, log=log)
        seen: dict[int, list[str]] = {}
        pages = traffic.kind.pages[:3]
        table = traffic.machine.table
        assert table is not None
        for _ in range(200):
            traffic.step()
            seen[log.seq] = [table.types.at(page) for page in pages]

    for index, page in enumerate(pages):
        (answer,) = blame(Travel(path=path, arches=ARCHES), page)
        changes = [it for it in answer.steps if it.types[1] is not None]
        for before, after in pairwise(changes):
            assert before.types[1] == after.types[0]

        for seq, types in seen.items():
            now = [it.types[1] for it in changes if it.record["seq"] <= seq][-1]
            assert now == types[index], (hex(page), seq)


def test_a_machine_without_types_says_why(run: Run, demo: Path, end: int) -> None:
    done = run("audit", "blame", demo, "0", "--at", end, "--machine", "board")

    assert done.code == 1
    assert "board 0x0 no type board has no range operations" in " ".join(done.out.split())


def test_an_address_beyond_the_machine_has_no_type(run: Run, demo: Path, end: int) -> None:
    (answer,) = _answers(run, demo, hex(1 << 60), "--at", end, "--machine", "desk")

    assert answer["type"] is None
    assert "outside the" in answer["why"]


def test_only_the_latest_steps_are_kept_and_the_others_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = Traffic("amd64", 9, log=log)
        for _ in range(300):
            traffic.step()

    page = traffic.kind.pages[0]
    (whole,) = blame(Travel(path=path, arches=ARCHES), page)
    monkeypatch.setattr("memhub.audit.blame.STEPS_MAX", 5)
    (short,) = blame(Travel(path=path, arches=ARCHES), page)

    assert STEPS_MAX == 1000
    assert len(whole.steps) > 5
    assert list(short.steps) == list(whole.steps)[-5:]
    assert short.omitted == len(whole.steps) - 5
