"""A driver that fails or answers nonsense: EIO with its names, recorded, nothing else touched."""

from __future__ import annotations

import re
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from memhub.abi import MDF_BUSY, MDF_WRITEBACK, Errno
from memhub.errors import DeviceError, DriverFailed, LogFailed, NoSpace, Obstacle
from memhub.plugin import RangeDesc
from shell.careless import (
    NONSENSE,
    PAGE,
    SOUND,
    InterruptsInWords,
    holding,
    lab,
    names,
    raising,
    rows_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

every_nonsense = pytest.mark.parametrize("kind", NONSENSE)


@every_nonsense
@pytest.mark.parametrize(
    "latency",
    [pytest.param(0, id="at once"), pytest.param(0.01, id="in time", marks=pytest.mark.campaign)],
)
@pytest.mark.parametrize("method", ["update", "remove"])
async def test_nonsense_refuses_the_request_and_nothing_else(
    tmp_path: Path, method: str, kind: str, latency: float
) -> None:
    faults: dict[str, Callable[[Any], Any]] = {}
    fault, words = NONSENSE[kind]
    async with lab(tmp_path, faults, latency) as hub:
        handle, other = await hub.open("/dev/mem", "r+"), await hub.open("two:/dev/mem", "r+")
        if method == "remove":
            await handle.set_range(0, PAGE, MDF_WRITEBACK)

        before = await handle.ranges()
        faults[method] = fault
        with pytest.raises(DriverFailed, match=names(method) + words) as refused:
            await (
                handle.set_range(0, PAGE, MDF_WRITEBACK)
                if method == "update"
                else handle.remove_range(0, PAGE)
            )

        assert refused.value.code is Errno.EIO
        assert await handle.ranges() == before
        faults.clear()
        await other.set_range(PAGE, PAGE, MDF_WRITEBACK)
        await handle.set_range(8 * PAGE, PAGE, MDF_WRITEBACK)

    rows = rows_of(tmp_path, "request.set")
    first, second, third = rows[-3:]
    assert (first["errno"], first["base"]) == ("EIO", 0)
    assert f"EIO: {first['reason']}" == str(refused.value)
    assert (second["errno"], third["errno"]) == (None, None)


@every_nonsense
async def test_nonsense_when_a_slot_is_put_back_leaves_it_and_is_recorded(
    tmp_path: Path, kind: str
) -> None:
    faults: dict[str, Callable[[Any], Any]] = {}
    fault, words = NONSENSE[kind]
    async with lab(tmp_path, faults) as hub:
        leaving, table = await hub.open("/dev/mem", "r+", undo=True), hub.machines["one"].table
        await leaving.set_range(0, PAGE, MDF_WRITEBACK)
        assert table is not None
        before = table.state
        faults["restore"] = fault
        await leaving.aclose()
        assert table.state == before

    (undone,) = rows_of(tmp_path, "undo")
    assert undone["errno"] == "EIO"
    assert re.match(names("restore") + words, f"EIO: {undone['reason']}")


async def test_only_the_slot_that_is_put_back_may_be_written_then(tmp_path: Path) -> None:
    faults: dict[str, Callable[[Any], Any]] = {}
    async with lab(tmp_path, faults) as hub:
        leaving, keeper = await hub.open("/dev/mem", "r+", undo=True), await hub.open("/dev/mem")
        await leaving.set_range(0, PAGE, MDF_WRITEBACK)
        faults["restore"] = holding(2, SOUND)
        await leaving.aclose()
        assert (await keeper.ranges())[2] == RangeDesc(0, 0)

    (undone,) = rows_of(tmp_path, "undo")
    assert undone["reason"].endswith("writes slot 2; it was to put back (0,)")


async def test_what_was_asked_for_may_be_odd_in_an_answer(tmp_path: Path) -> None:
    """FreeBSD's powerpc keeps any flags, and a range that wraps, as they come."""
    odd = RangeDesc((1 << 64) - PAGE, 2 * PAGE, 1 << 20 | MDF_BUSY)
    async with lab(tmp_path, {}) as hub:
        handle = await hub.open("/dev/mem", "r+")
        await handle.set_range(odd.mr_base, odd.mr_len, odd.mr_flags, owner="")
        assert (await handle.ranges())[0] == odd


async def test_mappings_of_any_kind_are_answers(tmp_path: Path) -> None:
    faults = {"update": lambda it: replace(it, slots=MappingProxyType(dict(it.slots)))}
    async with lab(tmp_path, faults) as hub:
        handle = await hub.open("/dev/mem", "r+")
        await handle.set_range(0, PAGE, MDF_WRITEBACK, owner="")
        assert (await handle.ranges())[0] == RangeDesc(0, PAGE, MDF_WRITEBACK)


# Refusals


def refusal(**fields: Any) -> NoSpace:
    """A refusal with these attributes, whatever they are."""
    error = NoSpace("x")
    vars(error).update(fields)

    return error


def in_the_way(**fields: Any) -> NoSpace:
    """A refusal with one obstacle."""
    return NoSpace("x", obstacles=(Obstacle(**fields),))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (LogFailed("the disk"), "raised LogFailed, which is not for a driver to raise: the disk"),
        (DriverFailed("me"), "raised DriverFailed, which is not for a driver to raise: me"),
        (NoSpace("\ud800"), "the reason of NoSpace, .*, is not a text that UTF-8 can hold"),
        (refusal(code=22), "raised NoSpace with the code 22, which is not an Errno"),
        (refusal(reason=None), "the reason of NoSpace, None, is not a text"),
        (refusal(obstacles=[]), r"raised NoSpace with obstacles \[\], which are not a tuple"),
        (refusal(obstacles=("slot 1",)), "named 'slot 1' as an obstacle, which is not an Obstacle"),
        (refusal(moved=5), "raised NoSpace with `moved` 5, which is not 0"),
        (in_the_way(kind="slot", slot=-1), "slot -1 is not an integer from 0 to 3"),
        (in_the_way(kind="slot", slot=9), "slot 9 is not an integer from 0 to 3"),
        (in_the_way(kind="slot", base="0"), "base of an obstacle, '0', is not a number"),
        (in_the_way(kind=None), "kind of an obstacle, None, is not a text"),
        (in_the_way(kind="slot", since=float("nan")), "since of an obstacle, nan, is not a num"),
    ],
)
async def test_a_refusal_that_is_none_is_told_as_a_failure(
    tmp_path: Path, error: DeviceError, words: str
) -> None:
    async with lab(tmp_path, {"update": raising(error)}) as hub:
        handle = await hub.open("/dev/mem", "r+")
        with pytest.raises(DriverFailed, match=names("update") + words):
            await handle.set_range(0, PAGE, MDF_WRITEBACK)

    rows = rows_of(tmp_path, "request.set")
    assert [it["errno"] for it in rows] == ["EIO"]


class OwnRefusal(NoSpace):
    """A plugin's own refusal, whose text and name run the plugin's code."""

    def __str__(self) -> str:
        raise SystemExit(9)


class UnreadableRefusal(NoSpace):
    @property
    def reason(self) -> str:
        raise SystemExit(9)

    @reason.setter
    def reason(self, _: str) -> None:
        pass


MANY = tuple(Obstacle(kind="slot", slot=it) for it in range(4)) * 25_000


@pytest.mark.parametrize(
    ("error", "reason", "kept"),
    [
        (OwnRefusal("x"), "x", 0),
        (NoSpace("y" * 20_000_000), "y" * 4096 + "… (20000000 characters)", 0),
        (NoSpace("x", obstacles=MANY), "x (99744 of 100000 obstacles are left out)", 256),
    ],
    ids=["a class of its own", "a long reason", "many obstacles"],
)
async def test_a_refusal_reaches_client_and_log_in_bounds_and_as_a_class_of_memhub(
    tmp_path: Path, error: DeviceError, reason: str, kept: int
) -> None:
    async with lab(tmp_path, {"update": raising(error)}) as hub:
        handle = await hub.open("/dev/mem", "r+")
        with pytest.raises(NoSpace) as refused:
            await handle.set_range(0, PAGE, MDF_WRITEBACK)

    assert type(refused.value) is NoSpace
    assert refused.value.reason == reason
    assert refused.value.obstacles == MANY[:kept]
    (row,) = rows_of(tmp_path, "request.set")
    assert (row["errno"], row["reason"]) == ("ENOSPC", reason)


async def test_a_long_word_of_an_obstacle_is_cut(tmp_path: Path) -> None:
    error = in_the_way(kind="slot", owner="x" * 1_000_000)
    async with lab(tmp_path, {"update": raising(error)}) as hub:
        handle = await hub.open("/dev/mem", "r+")
        with pytest.raises(NoSpace) as refused:
            await handle.set_range(0, PAGE, MDF_WRITEBACK)

    (obstacle,) = refused.value.obstacles
    assert obstacle.owner == "x" * 256 + "… (1000000 characters)"


async def test_a_refusal_whose_fields_exit_is_a_failure(tmp_path: Path) -> None:
    async with lab(tmp_path, {"update": raising(UnreadableRefusal("x"))}) as hub:
        handle = await hub.open("/dev/mem", "r+")
        with pytest.raises(DriverFailed, match=names("update") + "failed with SystemExit: 9"):
            await handle.set_range(0, PAGE, MDF_WRITEBACK)


async def test_a_method_that_cannot_be_looked_up_is_a_failure(tmp_path: Path) -> None:
    faults: dict[str, Callable[[Any], Any]] = {}
    async with lab(tmp_path, faults) as hub:
        handle, table = await hub.open("/dev/mem", "r+"), hub.machines["one"].table
        assert table is not None
        table.driver.raw.unfound = "update"  # type: ignore[attr-defined]
        with pytest.raises(DriverFailed, match=names("update") + "failed with SystemExit: 9"):
            await handle.set_range(0, PAGE, MDF_WRITEBACK)

    (row,) = rows_of(tmp_path, "request.set")
    assert row["errno"] == "EIO"


@pytest.mark.parametrize("fault", [raising(KeyboardInterrupt()), raising(InterruptsInWords())])
async def test_an_interrupt_passes_unless_the_event_loop_waits_for_sigint(
    tmp_path: Path, fault: Callable[[Any], Any]
) -> None:
    faults: dict[str, Callable[[Any], Any]] = {}
    async with lab(tmp_path, faults) as hub:
        handle, table = await hub.open("/dev/mem", "r+"), hub.machines["one"].table
        assert table is not None
        faults["update"] = fault
        with pytest.raises(KeyboardInterrupt):
            await handle.set_range(0, PAGE, MDF_WRITEBACK)

        table.driver.mark.interrupts = False
        with pytest.raises(DriverFailed, match=names("update") + "failed with KeyboardInterrupt"):
            await handle.set_range(0, PAGE, MDF_WRITEBACK)

        assert (await handle.ranges())[0] == RangeDesc(0, 0)
