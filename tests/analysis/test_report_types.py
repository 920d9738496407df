"""The effective types on a report's map against the machines that the log's records make again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from analysis.pages import Page, read_page
from memhub import Hub, Sickness
from memhub.abi import MDF_WRITECOMBINE
from memhub.analysis import Analysis
from memhub.analysis.pictures import memory_map
from memhub.analysis.pictures.limits import Limits
from memhub.analysis.pictures.report import collect
from memhub.audit import AuditLog
from memhub.audit.history.travel import Travel
from memhub.cli.amounts import amount
from memhub.machines import pc
from value.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from memhub.core.effective.typemap import TypeMap

_SAID = re.compile(r"effective type of (0x[0-9a-f]+)\+(\w+): (?:(\d+) changes: )?(.*)")


class Stretch(NamedTuple):
    low: int
    high: int
    types: frozenset[str]
    summed: int


def types_of(path: Path) -> Iterator[tuple[int, dict[str, tuple[TypeMap, int]]]]:
    """Each record's place, and the types and ends of all machines after it."""
    travel = Travel(path)
    with travel.rebuilder() as rebuilder:
        for n, record in enumerate(travel.records_until(None), 1):
            travel.apply(rebuilder, record)
            yield (
                n,
                {
                    name: (it.table.types, it.memory.top)
                    for name, it in rebuilder.machines.items()
                    if it.table is not None
                },
            )


def stretches(page: Page, figure: str, tick: int) -> list[Stretch]:
    """What the map shows at a moment, by address."""
    found = []
    for row in page.rows(figure, "types"):
        if row["since_tick"] <= tick < row["until_tick"]:
            base, length, count, words = _SAID.fullmatch(row["say"]).groups()  # type: ignore[union-attr]
            low = int(base, 16)
            names = frozenset(it.split(" ")[0] for it in words.split(", "))
            found.append(Stretch(low, low + amount(length), names, int(count or 0)))

    return sorted(found)


def check_page(page: Page, path: Path) -> int:
    """Each map at each moment; how many stretches were compared."""
    moments = [int(it["say"].split()[1].rstrip(",")) for it in page.data["moments"]]
    figures = {it["name"]: it for it in page.data["figures"] if it["name"].startswith("map-")}
    machines = {
        name: it["marks"][0]["machine"] for name, it in figures.items() if page.rows(name, "types")
    }
    compared = 0
    for n, machines_then in types_of(path):
        if n not in moments:
            continue

        for figure, machine in machines.items():
            shown = stretches(page, figure, moments.index(n))
            if machine not in machines_then:
                continue

            types, end = machines_then[machine]
            assert [it.low for it in shown] == [0, *(it.high for it in shown[:-1])]
            assert shown[-1].high == end
            for it in shown:
                due = frozenset(seg.type for seg in types.segments(it.low, it.high))
                assert due <= it.types if it.summed else due == it.types
                compared += 1

    return compared


def test_the_map_has_the_effective_types_at_every_moment(page: Page, demo: Path) -> None:
    assert check_page(page, demo) > 1000


@pytest.mark.parametrize("arch", ["amd64-mtrr", "k6"])
def test_what_changes_too_often_is_grey_with_all_its_types(arch: str, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    with AuditLog.open(path, log_id="long") as log:
        traffic = Traffic(arch, 5, latency=1.0, log=log)
        for _ in range(1000):
            traffic.step()

    with Analysis([path]) as asked:
        page = read_page(collect(asked, "long", Limits(marks=8)))

    rows = page.rows("map-0", "types")
    grey = [row for row in rows if row["type"] == "several types" and " changes: " in row["say"]]
    assert grey
    told = re.search(r"(\d+) of (\d+) stretches of one effective type are drawn one", page.text)
    assert told
    assert len(rows) - len(grey) == int(told[1]) >= 8
    counts = (_SAID.fullmatch(row["say"]) for row in grey)
    assert sum(int(it[3]) for it in counts if it) == int(told[2]) - int(told[1])
    last = len(page.data["moments"]) - 1
    assert not any(it.summed for it in stretches(page, "map-0", last))
    assert check_page(page, path) > 100


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # what is tested reads the log that it makes
async def test_sick_registers_and_snapshots_are_moments_of_the_map(tmp_path: Path) -> None:
    path = tmp_path / "jumps.jsonl"
    with AuditLog.open(path, log_id="jumps") as log:
        async with Hub([pc("a"), pc("b")], log=log) as hub, hub.process("rig") as rig:
            snapshot = hub.snapshot()
            handles = [await rig.open(f"{name}:/dev/mem", "r+") for name in ("a", "b")]
            for handle in handles:
                await handle.set_range(0xD0000000, 32 << 20, MDF_WRITECOMBINE, owner="Xorg")

            firmware = {"moment": "now", "registers": {0x2FF: 0xC06}}
            hub.hardware.add(Sickness(action="firmware_rewrite", machine="b", **firmware))  # type: ignore[arg-type]
            hub.restore(snapshot, "a")

    with Analysis([path]) as asked:
        page = read_page(collect(asked, "jumps"))

    shown = [
        [stretches(page, figure, tick) for tick in range(len(page.data["moments"]))]
        for figure in ("map-0", "map-1")
    ]
    combined = [any("WC" in it.types for it in moment) for moment in shown[0]]
    assert (combined[0], True in combined, combined[-1]) == (False, True, False)
    highest = [moment[-1].types for moment in shown[1] if moment]
    assert [*highest[0], *highest[-1]] == ["UC", "WB"]
    assert check_page(page, path) > 20


def test_an_architecture_that_is_not_installed_leaves_the_slots(
    asked: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> dict[str, Any]:
        return {}

    monkeypatch.setattr(memory_map, "load_arches", none)
    page = read_page(collect(asked, "demo"))

    assert "Effective types are not drawn: i386 is not installed." in page.text
    assert page.rows("map-1", "types") == []
    assert page.rows("map-1", "ranges")
