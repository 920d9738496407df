"""A driver that fails where no SET of its own is decided: types, bounds, commits, the start."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import Hub, MachineSpec
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITEBACK
from memhub.audit import read_records
from memhub.config import ConfigError, load_config
from memhub.errors import DeviceError, DriverFailed, NoSpace
from memhub.plugin import RangeDesc, RangeState
from memhub.plugin.types import TypeMap
from shell.careless import (
    NONSENSE,
    PAGE,
    SLOTS,
    SOUND,
    Careless,
    Endless,
    answering,
    careless,
    lab,
    names,
    raising,
    rows_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

# Another's claim, another's commit


class OwnMap(TypeMap):
    """What it overrides would run where nothing guards it."""


BAD_TYPES = {
    "raises": (raising(KeyError(7)), "failed with KeyError: 7"),
    "None": (answering(None), "answered None, which is not a TypeMap"),
    "a class of its own": (
        lambda _: OwnMap.from_ranges("WB", []),
        "answered <.*OwnMap object at .*, which is not a TypeMap",
    ),
    "no type": (
        lambda _: TypeMap.from_ranges("XX", []),
        "failed with ValueError: default type 'XX' is not one of UC, WC",
    ),
    "no code": (
        lambda _: TypeMap([0], [9], explain=str),
        "failed with KeyError: 9",
    ),
    "not up": (
        lambda _: TypeMap([0, 8, 4], [0, 6, 0], explain=str),
        "failed with ValueError: a stretch starts at 0x4: stretches ascend from 0",
    ),
    "not from 0": (
        lambda _: TypeMap([8], [0], explain=str),
        "failed with ValueError: a stretch starts at 0x8: stretches ascend from 0",
    ),
}


@pytest.mark.parametrize("kind", BAD_TYPES)
async def test_types_that_are_none_refuse_what_needs_them(tmp_path: Path, kind: str) -> None:
    fault, words = BAD_TYPES[kind]
    async with lab(tmp_path, {"types": fault}) as hub:
        handle, other = await hub.open("/dev/mem", "r+"), await hub.open("/dev/mem", "r+")
        await other.claim(0, 4 * PAGE)
        questions: tuple[Callable[[], Awaitable[Any]], ...] = (
            lambda: handle.explain(0),
            lambda: handle.explain_array([0, PAGE]),
            lambda: handle.pwrite(b"x", 0),
            lambda: handle.set_range(PAGE, PAGE, MDF_UNCACHEABLE),
        )
        for question in questions:
            with pytest.raises(DriverFailed, match=names("types") + words):
                await question()

        assert await handle.ranges() == (RangeDesc(0, 0),) * SLOTS

    rows = [it for it in read_records(tmp_path / "a.jsonl") if it["event"].startswith("request.")]
    assert [it["errno"] for it in rows if it["event"] == "request.set"] == ["EIO"]
    assert [it["errno"] for it in rows if it["event"] == "request.write"] == ["EIO"]


@pytest.mark.parametrize("explain", [lambda _: 1 / 0, lambda _: None, lambda _: "\ud800"])
async def test_a_reason_that_is_none_refuses_the_question(
    tmp_path: Path, explain: Callable[[int], str]
) -> None:
    async with lab(tmp_path, {"types": lambda _: TypeMap([0], [0], explain=explain)}) as hub:
        handle = await hub.open("/dev/mem")
        with pytest.raises(DriverFailed, match=names("types")):
            await handle.explain(0)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "answered None, which is not a pair of bounds"),
        ((0, 1, 2), r"answered \(0, 1, 2\), which is not a pair of bounds"),
        ((-1, 5), r"answered \(-1, 5\), which are not addresses"),
        ((0, 1.5), r"answered \(0, 1.5\), which are not addresses"),
        ((0, 1 << 70), r"answered \(0, 1180591620717411303424\), which are not addresses"),
    ],
)
async def test_bounds_that_are_none_refuse_a_change_beside_anothers_claim(
    tmp_path: Path, answer: object, words: str
) -> None:
    async with lab(tmp_path, {"extent": answering(answer)}) as hub:
        handle, other = await hub.open("/dev/mem", "r+"), await hub.open("/dev/mem", "r+")
        await other.claim(0, PAGE)
        with pytest.raises(DriverFailed, match=names("extent") + words):
            await handle.set_range(PAGE, PAGE, MDF_UNCACHEABLE)

    (row,) = rows_of(tmp_path, "request.set")
    assert row["errno"] == "EIO"


@pytest.mark.parametrize("kind", ["raises", "None", "slot -1"])
async def test_a_driver_that_fails_while_a_commit_is_checked(tmp_path: Path, kind: str) -> None:
    fault, words = NONSENSE[kind]
    faults: dict[str, Callable[[Any], Any]] = {}
    async with lab(tmp_path, faults, latency=0.2) as hub, anyio.create_task_group() as tasks:
        first, handle = await hub.open("/dev/mem", "r+"), await hub.open("/dev/mem", "r+")
        await first.set_range(0, PAGE, MDF_WRITEBACK)
        begun = anyio.Event()
        hub.engine.listen(lambda _: begun.set())
        tasks.start_soon(first.remove_range, 0, PAGE)
        await begun.wait()
        faults["remove"] = fault
        with pytest.raises(DriverFailed, match=names("remove") + words):
            await handle.set_range(8 * PAGE, PAGE, MDF_WRITEBACK)

        faults.clear()

    rows = [(it["base"], it["errno"]) for it in rows_of(tmp_path, "request.set")]
    assert rows == [(0, None), (8 * PAGE, "EIO"), (0, None)]


# The start


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (raising(ZeroDivisionError("x")), "failed with ZeroDivisionError: x"),
        (raising(NoSpace("x")), "raised NoSpace: x"),
        (answering(None), "answered None, which is not a RangeState"),
        (answering(RangeState([])), r"slots \[\] are not a tuple"),  # type: ignore[arg-type]
        (answering(RangeState((None,))), "slot 0 holds None, which is not a RangeDesc"),  # type: ignore[arg-type]
        (answering(RangeState((SOUND,), {"x": 1})), "register 'x' is not an integer"),  # type: ignore[dict-item]
        (answering(RangeState((SOUND,), {1: -1})), "register 0x1: -1 is not an unsigned"),
        (answering(RangeState((SOUND,), Endless(1))), "`msrs` has more than 4096 entries"),
        (answering(RangeState((SOUND,) * 65537)), "has 65537 slots, which is more than 65536"),
        (answering(RangeState((RangeDesc(0, 0, 1 << 20),))), "slot 0: flags 0x100000"),
        (answering(RangeState((SOUND,), {}, 1)), "`settled` 1 is not True or False"),  # type: ignore[arg-type]
    ],
)
def test_a_driver_that_cannot_start_names_itself(fault: Callable[[Any], Any], words: str) -> None:
    spec = MachineSpec(name="one", arch="careless")
    with pytest.raises(DriverFailed, match=names("attach") + words):
        Hub([spec], arches=careless({"attach": fault}))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda _cpu, _options: None, "made None, which is not a RangeDriver"),
        (lambda _cpu, _options: Careless, "made <class .*Careless'>, which is not a RangeDriver"),
        (lambda: None, r"failed with TypeError: .*takes 0 positional arguments"),
        (lambda _cpu, options: options["x"], "failed with KeyError: 'x'"),
        (lambda _cpu, _options: sys.exit(1), "failed with SystemExit: 1"),
    ],
)
def test_a_driver_that_cannot_be_made_names_itself(
    tmp_path: Path, make: Callable[..., Any], words: str
) -> None:
    arches = {"careless": replace(careless({})["careless"], driver=make)}
    match = f"plugin 'lab' of the caller: .*, the driver of careless on one, {words}"
    with pytest.raises(DriverFailed, match=match):
        Hub([MachineSpec(name="one", arch="careless")], arches=arches)

    config = tmp_path / "lab.toml"
    config.write_text('[machines.one]\narch = "careless"\n')
    with pytest.raises(ConfigError, match=match):
        load_config(config, arches=arches)


def test_a_machine_without_slots_says_what_its_driver_says() -> None:
    arches = careless({"attach": answering(RangeState(()))})
    machine = Hub([MachineSpec(name="one", arch="careless")], arches=arches).machines["one"]

    with pytest.raises(DeviceError, match="found no descriptors: the hardware has none"):
        machine.require_table()

    assert machine.table is not None
    machine.table.driver.raw.unfound = "no_slots"  # type: ignore[attr-defined]
    with pytest.raises(DriverFailed, match=names("no_slots") + "failed with SystemExit: 9"):
        machine.require_table()


def test_a_reason_of_a_type_is_cut() -> None:
    fault = lambda _: TypeMap([0], [0], explain=lambda _: "x" * 1_000_000)  # noqa: E731
    machine = Hub(
        [MachineSpec(name="one", arch="careless")], arches=careless({"types": fault})
    ).machines["one"]
    assert machine.table is not None
    answer = machine.table.driver.explain(machine.table.types, 0)

    assert answer.why == "x" * 4096 + "… (1000000 characters)"
