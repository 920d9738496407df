"""`memhub audit blame` says why an address has its type: the changes and the refusals."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from memhub import AuditLog, DeviceError, Hub
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITEBACK, MDF_WRITECOMBINE
from memhub.audit import read_records
from memhub.audit.history.blame import blame
from memhub.audit.history.blame_steps import STEPS_MAX
from memhub.audit.history.travel import Travel
from memhub.audit.rows import held_rows
from memhub.clock import ManualClock
from ownership.rig import ARCHES, SPECS
from ownership.rig import spec as made
from value.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run

FRAME = 0xE0000000


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


def test_a_file_that_begins_with_a_snapshot_is_read_from_there(run: Run, tmp_path: Path) -> None:
    traffic, told = Traffic("amd64", 9), list[dict[str, Any]]()
    for _ in range(100):
        traffic.step()

    path, table = tmp_path / "a.jsonl", traffic.machine.require_table()
    before = {page: table.types.at(page) for page in traffic.kind.pages}
    with AuditLog.open(path) as log:
        for row in held_rows(traffic.machine, traffic.engine.now()):
            log.record(row)

        traffic.engine.listen(told.append)
        for _ in range(100):
            traffic.step()

        for record in told:
            log.record(record)

    for page in traffic.kind.pages:
        (answer,) = _answers(run, path, hex(page))
        assert answer["steps"][0]["event"] == "held.machine"
        assert answer["steps"][0]["after"] == before[page]
        assert answer["type"] == table.types.at(page)
        assert "the log begins, with a snapshot" in run("audit", "blame", path, hex(page)).out


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
    monkeypatch.setattr("memhub.audit.history.blame_steps.STEPS_MAX", 5)
    (short,) = blame(Travel(path=path, arches=ARCHES), page)

    assert STEPS_MAX == 1000
    assert len(whole.steps) > 5
    assert list(short.steps) == list(whole.steps)[-5:]
    assert short.omitted == len(whole.steps) - 5
