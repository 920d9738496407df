"""What stood in the slots at every record: as views tell it, and as the machines are rebuilt."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from analysis import logs
from analysis.logs import EMPTY, WC, attach
from kernels.linux_traffic import SPEC as LINUX
from kernels.linux_traffic import LinuxTraffic
from memhub.abi import MDF_ACTIVE, MDF_BUSY, MEMRANGE_SET_UPDATE, RangeDesc, owner_bytes
from memhub.analysis import Analysis, pack
from memhub.analysis.answer import Answer
from memhub.analysis.views import CONTENT, changes_of
from memhub.audit import AuditLog, read_records
from memhub.audit.history.rebuild import Rebuilder
from memhub.audit.rows.columns import label_of
from memhub.audit.writing.keeping import Keeping
from memhub.core.files import Principal
from memhub.core.requests import Open, ReleaseRange, SetRange
from memhub.engine.lifecycle import close_file, open_file
from ownership.rig import ARCHES, SPECS
from value.sick_traffic import SickTraffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from memhub.core.machine import Machine

    #: A slot and what stands in it: base, length, flags without BUSY, label.
    Standing = set[tuple[int, int, int, int, str]]

KERNELS = ("linux-6.18", "linux-2.6.32")


def make_history(folder: Path, arch: str, seed: int, steps: int) -> None:
    """Traffic with sick hardware, snapshots that are gone back to, a fork, and a second start."""
    name = f"{arch}-{seed}"
    for start in range(2):
        with AuditLog.open(folder / f"{name}.jsonl", log_id=name) as log:
            traffic = SickTraffic(arch, seed + start, log=log)
            kept = [traffic.hub.snapshot()]
            for number in range(steps):
                traffic.step()
                if number % 30 == 10:
                    kept.append(traffic.hub.snapshot())
                elif number % 30 == 25:
                    traffic.hub.restore(traffic.rng.choice(kept))
                elif number % 70 == 60:
                    traffic.hub.reset()

            if start:
                fork(traffic, folder / f"{name}-fork.jsonl")


def fork(traffic: Any, path: Path) -> None:
    """Let a hub go on with a log of its own, then go back to where it began."""
    with AuditLog.open(path, log_id=path.stem) as log:
        twin = traffic.hub.fork(log=log)
        twin.begin()
        then = twin.snapshot()
        traffic.hub, traffic.engine = twin, twin.engine
        traffic.machine = twin.machines[traffic.machine.name]
        for _ in range(40):
            traffic.step()

        twin.restore(then)
        twin.end()


def make_kernel_history(folder: Path, kernel: str, seed: int, steps: int) -> None:
    """Traffic on a machine of another kernel, with snapshots that are gone back to."""
    name = f"{kernel}-{seed}"
    with AuditLog.open(folder / f"{name}.jsonl", log_id=name) as log:
        traffic = LinuxTraffic(
            seed, log, replace(LINUX, arch="amd64-mtrr", kernel=kernel), claims=0.0
        )
        kept = [traffic.hub.snapshot()]
        for number in range(steps):
            traffic.step()
            if number % 30 == 10:
                kept.append(traffic.hub.snapshot())
            elif number % 30 == 25:
                traffic.hub.restore(traffic.rng.choice(kept))

        traffic.hub.end()


def make_segments(folder: Path, seed: int, steps: int) -> None:
    """A log that is a folder, with snapshots in it: tables that are told again change nothing."""
    often = Keeping(max_bytes=1 << 16, snapshot_every=20)
    with AuditLog.open(f"{folder}/segments/", log_id="segments", keeping=often) as log:
        traffic = SickTraffic("amd64-mtrr", seed, log=log)
        kept = [traffic.hub.snapshot()]
        keeper = traffic.hub.log_keeper
        assert keeper is not None
        for number in range(steps):
            traffic.step()
            keeper.keep()
            if number % 50 == 10:
                kept.append(traffic.hub.snapshot())
            elif number % 50 == 25:
                traffic.hub.restore(traffic.rng.choice(kept))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables")
    for arch in SPECS:
        make_history(path, arch, 3, 80)

    for kernel in KERNELS:
        make_kernel_history(path, kernel, 5, 80)

    make_segments(path, 2, 100)

    return path


def logs_in(folder: Path) -> list[Path]:
    return sorted(it for it in folder.iterdir() if it.name != "packed")


@pytest.fixture(scope="module", params=["logs", "packed"])
def asked(folder: Path, request: pytest.FixtureRequest) -> Iterator[Analysis]:
    """The logs themselves, and a set that is packed of them."""
    paths = logs_in(folder)
    if request.param == "packed":
        pack_beginnings(paths, folder / "packed")
        pack(paths, folder / "packed")
        paths = [folder / "packed"]

    with Analysis(paths) as log:
        yield log


def pack_beginnings(paths: list[Path], out: Path) -> None:
    """Pack each log up to the first return to a snapshot, without what the machine then holds."""
    for path in paths:
        if path.is_file():
            lines = path.read_bytes().splitlines(keepends=True)
            events = [json.loads(line)["event"] for line in lines]
            whole = path.read_bytes()
            path.write_bytes(b"".join(lines[: events.index("device.restore") + 1]))
            pack([path], out)
            path.write_bytes(whole)


def standing(machine: Machine) -> Standing:
    """What stands in the slots of a machine, as the log's facts leave it."""
    table = machine.table
    assert table is not None
    never_active = machine.arch.name in ("k6", "openbsd-k6")

    return {
        (slot, it.mr_base, it.mr_len, it.mr_flags & ~MDF_BUSY, label_of(it.mr_owner))
        for slot, it in enumerate(table.state.slots)
        if (it.mr_len if never_active else it.mr_flags & MDF_ACTIVE)
    }


def told(tenures: list[dict[str, Any]], n: int, start: int) -> Standing:
    """What stands in the slots of a start after a record, as the view has it."""
    return {
        (it["slot"], it["base"], it["length"], it["flags"], it["owner"])
        for it in tenures
        if it["since_n"] <= n < (it["until_n"] or 1 << 62) and it["start"] == start
    }


def check_log(path: Path, tenures: list[dict[str, Any]], used: list[dict[str, Any]]) -> set[str]:
    """Compare at every record; the events that changed what stands there."""
    rebuilder, events = Rebuilder(ARCHES), set[str]()
    before: Standing | None = None
    for n, record in enumerate(read_records(path), 1):
        rebuilder.read(record)
        for machine in rebuilder.machines.values():
            now = standing(machine)
            point = max((it for it in used if it["n"] <= n), key=lambda it: it["n"])
            assert told(tenures, n, point["start"]) == now, (path.name, n, record["event"])
            assert (point["used"], point["slots"]) == (len(now), len(machine.require_table()))
            if now != before:
                events.add(record["event"])

            before = now

    return events


def test_views_have_in_every_slot_what_the_machine_had(asked: Analysis, folder: Path) -> None:
    tenures, used = asked.view("tenures").to_pylist(), asked.occupancy("time").to_pylist()
    events = set[str]()
    for path in logs_in(folder):
        mine = [[it for it in rows if it["log"] == path.stem] for rows in (tenures, used)]
        events |= check_log(path, *mine)

    assert events >= {"device.attach", "device.restore", "request.set", "undo", "kernel.call"}


def test_slots_at_a_record_are_those_of_the_machine(asked: Analysis, folder: Path) -> None:
    changes = asked.view("changes").to_pylist()
    for path in logs_in(folder):
        rebuilder = Rebuilder(ARCHES)
        mine = {(it["n"], it["slot"]): it for it in changes if it["log"] == path.stem}
        assert mine
        for n, record in enumerate(read_records(path), 1):
            old = {it.name: it.require_table().state.slots for it in rebuilder.machines.values()}
            rebuilder.read(record)
            for machine in rebuilder.machines.values():
                pairs = zip(
                    old.get(machine.name, ()), machine.require_table().state.slots, strict=False
                )
                for slot, (one, other) in enumerate(pairs):
                    row = mine.get((n, slot))
                    if row is None or row["begins"]:
                        assert one == other or row is not None, (path.name, n, slot)
                        continue

                    for side, it in (("before", one), ("after", other)):
                        assert (row[f"{side}_base"], row[f"{side}_length"]) == (
                            it.mr_base,
                            it.mr_len,
                        )


def there(rows: list[dict[str, Any]], n: int, start: int) -> list[dict[str, Any]]:
    return [
        it
        for it in rows
        if it["since_n"] <= n < (it["until_n"] or 1 << 62) and it["start"] == start
    ]


def test_views_have_every_claim_that_the_machine_had(asked: Analysis, folder: Path) -> None:
    claims, holdings = asked.view("claims").to_pylist(), asked.view("holdings").to_pylist()
    leaks = asked.leaks().to_pylist()
    of = ("log", "machine", "start", "fence", "process", "since_n", "held_ns")
    for how in ("held", "expire", "disconnect", "error"):
        open_ = [it for it in claims if (it["how"] if it["until_n"] else "held") == how]
        found = [[it[name] for name in of] for it in leaks if it["how"] == how]
        assert sorted(found) == sorted([it[name] for name in of] for it in open_)
        assert found or how == "error"
    starts = [it for it in asked.view("changes").to_pylist() if it["begins"]]
    came_back = 0
    for path in logs_in(folder):
        rebuilder = Rebuilder(ARCHES)
        held, slots, begun = (
            [it for it in rows if it["log"] == path.stem] for rows in (claims, holdings, starts)
        )
        assert len({(it["start"], it["fence"], it["since_n"]) for it in held}) == len(held)
        came_back += len(held) - len({(it["start"], it["fence"]) for it in held})
        for n, record in enumerate(read_records(path), 1):
            rebuilder.read(record)
            if rebuilder.partial:
                continue

            start = max((it["start"] for it in begun if it["n"] <= n), default=0)
            for machine in rebuilder.machines.values():
                where = path.name, n, record["event"]
                live = machine.claims.claims.values()
                told = [(it["fence"], it["process"], it["kind"]) for it in there(held, n, start)]
                due = [(it.fence, it.process.name, it.kind) for it in live]
                assert sorted(told) == sorted(due), where
                mine = [(it["slot"], it["fence"]) for it in there(slots, n, start)]
                assert sorted(mine) == sorted(
                    (slot, it.fence) for it in live for slot in it.slots
                ), where

    assert came_back > 10


def test_a_range_that_a_fork_left_behind_is_a_leak(tmp_path: Path) -> None:
    hub = SickTraffic("amd64-mtrr", 1).hub
    handle = open_file(hub.engine, Open(Principal(1, "p1"), "/dev/mem", "r+"))
    with AuditLog.open(tmp_path / "fork.jsonl") as log:
        twin = hub.fork(log=log)
        twin.begin()
        wanted = RangeDesc(0x1000, 0x1000, WC, owner_bytes("p1"))
        twin.engine.submit(SetRange(handle, MEMRANGE_SET_UPDATE, wanted))
        twin.engine.submit(ReleaseRange(handle, 0x1000, 0x1000))
        close_file(twin.engine, handle)
        twin.end()

    with Analysis([tmp_path / "fork.jsonl"]) as asked:
        found = asked.leaks().to_pylist()
        assert [(it["how"], it["process"], it["base"]) for it in found] == [("left", "p1", 0x1000)]


def test_a_start_with_empty_slots_has_none_of_the_start_before(
    written: Callable[[Iterable[dict[str, Any]]], Path],
) -> None:
    twice = (0x1000, 0x1000, WC, "a")
    path = written([attach(0, [twice, twice]), attach(1, [EMPTY, EMPTY])])
    with Analysis([path]) as log:
        seq = next(it["seq"] for it in log.view("changes").to_pylist())
        assert [it["why"] for it in log.slots(at=seq).to_pylist()] == ["duplicate"]
        assert log.slots().to_pylist() == []


def test_a_restore_that_does_not_have_the_table_before_ends_old_ranges(
    written: Callable[[Iterable[dict[str, Any]]], Path],
) -> None:
    """Records were written so before they had it."""
    old, new = (0x1000, 0x1000, WC, "old"), (0x4000, 0x1000, WC, "new")
    after = {"slots": [0, 1], **logs.table("after", [EMPTY, new]), "count": 0, "cause": "restore"}
    path = written([attach(0, [old, EMPTY]), logs.record("device.restore", 1, **after)])
    with Analysis([path]) as log:
        found = [(it["slot"], it["owner"], it["until_n"]) for it in log.view("tenures").to_pylist()]
        assert sorted(found) == [(0, "old", 3), (1, "new", None)]


def test_the_lists_of_a_record_are_read_in_one_pass(tmp_path: Path) -> None:
    logs.write_log(tmp_path / "a.jsonl", [attach(0, [EMPTY])], "a")
    with Analysis([tmp_path / "a.jsonl"]) as log:
        changes = Answer(changes_of(log.views.records, CONTENT)).sql
        slots = log.slots().sql

    # each mention is a pass over all files, which is what most of a question's time goes to
    assert changes.count('"records"') == 1
    # the other pass finds where tables begin, and reads no list
    assert slots.count('"records"') == 2
