"""A machine whose driver fails again and again is marked failed: refused with EIO, and recorded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from memhub import Hub, MachineSpec
from memhub.abi import MDF_WRITEBACK
from memhub.audit import read_records
from memhub.audit.history.rebuild import rebuild
from memhub.audit.rows import held_rows, holdings_in
from memhub.cli.top_view import sheets, text
from memhub.core.health.failure import Failure
from memhub.core.holdings import holdings_of
from memhub.errors import DeviceError, DriverFailed, LogFailed
from shell.careless import PAGE, careless, lab, raising, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from memhub.handles.handle import Handle

LIMIT = 3
FAULT = raising(ZeroDivisionError("a divisor"))


async def fail(handle: Handle, times: int = LIMIT, base: int = 0) -> None:
    """Meet a driver that fails, so many times."""
    for _ in range(times):
        with pytest.raises(DriverFailed, match="a divisor"):
            await handle.set_range(base, PAGE, MDF_WRITEBACK)


def marked(hub: Hub) -> int:
    """After how many failures the machine is marked failed; 0 if it is not."""
    failed = hub.machines["one"].failed

    return 0 if failed is None else failed.failures


async def test_after_the_limit_every_request_is_refused_with_the_reason(tmp_path: Path) -> None:
    faults: dict[str, Callable[[Any], Any]] = {"update": FAULT}
    async with lab(tmp_path, faults, driver_failures=LIMIT) as hub:
        handle = await hub.open("/dev/mem", "r+")
        await fail(handle)
        faults.clear()
        words = r"^EIO: machine one is marked failed, after 3 failures of its driver; the last: .*"
        for ask in (
            lambda: handle.set_range(0, PAGE, MDF_WRITEBACK),
            lambda: handle.remove_range(0, PAGE),
            handle.ranges,
            lambda: handle.claim(0, PAGE),
            lambda: handle.wait_free(0, PAGE, wait=1),
            lambda: handle.pread(1, 0),
            lambda: handle.read(1),
            lambda: handle.pwrite(b"x", 0),
            lambda: handle.write(b"x"),
            lambda: handle.explain(0),
            lambda: hub.open("/dev/mem"),
        ):
            with pytest.raises(DriverFailed, match=words + "failed with ZeroDivisionError: a div"):
                await ask()

        await handle.aclose()

    rows = list(read_records(tmp_path / "a.jsonl"))
    (mark,) = rows_of(tmp_path, "device.fail")
    assert (mark["machine"], mark["count"], mark["errno"]) == ("one", LIMIT, "EIO")
    assert mark["reason"].startswith("plugin 'lab' of the caller: ")
    later = [it for it in rows if it["seq"] > mark["seq"] and "errno" in it]
    assert {it["errno"] for it in later if it["event"] != "request.close"} == {"EIO"}
    assert len(later) == 11


async def test_the_others_go_on(tmp_path: Path) -> None:
    faults: dict[str, Callable[[Any], Any]] = {"update": FAULT}
    async with lab(tmp_path, faults, driver_failures=LIMIT) as hub:
        handle, other = await hub.open("/dev/mem", "r+"), await hub.open("two:/dev/mem", "r+")
        await fail(handle)
        faults.clear()
        await other.set_range(0, PAGE, MDF_WRITEBACK)
        assert (await other.ranges())[0].mr_len == PAGE


@pytest.mark.parametrize(("limit", "times"), [(0, 200), (LIMIT, LIMIT - 1)])
async def test_below_the_limit_nothing_is_marked(tmp_path: Path, limit: int, times: int) -> None:
    faults: dict[str, Callable[[Any], Any]] = {"update": FAULT}
    async with lab(tmp_path, faults, driver_failures=limit) as hub:
        handle = await hub.open("/dev/mem", "r+")
        await fail(handle, times)
        faults.clear()
        await handle.set_range(0, PAGE, MDF_WRITEBACK)

    assert rows_of(tmp_path, "device.fail") == []


async def test_refusals_are_no_failures(tmp_path: Path) -> None:
    async with lab(tmp_path, {}, driver_failures=1) as hub:
        handle = await hub.open("/dev/mem", "r+")
        for _ in range(4):
            with pytest.raises(DeviceError, match="ENOENT"):
                await handle.remove_range(8 * PAGE, PAGE)


async def test_what_a_client_holds_is_given_back_without_asking_the_driver(tmp_path: Path) -> None:
    faults: dict[str, Callable[[Any], Any]] = {}
    async with lab(tmp_path, faults, driver_failures=1) as hub:
        handle = await hub.open("/dev/mem", "r+", undo=True)
        await handle.set_range(0, PAGE, MDF_WRITEBACK)
        faults["update"] = FAULT
        await fail(handle, 1, 8 * PAGE)
        asked: list[object] = []
        faults["restore"] = asked.append
        await handle.aclose()
        machine = hub.machines["one"]
        assert (asked, list(machine.claims.claims)) == ([], [])

    (undone,) = rows_of(tmp_path, "undo")
    assert (undone["errno"], "is marked failed" in undone["reason"]) == ("EIO", True)


async def test_an_undo_that_fails_counts_too(tmp_path: Path) -> None:
    faults: dict[str, Callable[[Any], Any]] = {}
    async with lab(tmp_path, faults, driver_failures=1) as hub:
        handle = await hub.open("/dev/mem", "r+", undo=True)
        await handle.set_range(0, PAGE, MDF_WRITEBACK)
        faults["restore"] = FAULT
        await handle.aclose()
        assert hub.machines["one"].failed is not None

    (mark,) = rows_of(tmp_path, "device.fail")
    assert "Careless.restore, the driver of careless on one, failed" in mark["reason"]


async def test_a_log_rebuilds_the_mark_and_a_snapshot_keeps_it(tmp_path: Path) -> None:
    faults: dict[str, Callable[[Any], Any]] = {"update": FAULT}
    async with lab(tmp_path, faults, driver_failures=LIMIT) as hub:
        handle = await hub.open("/dev/mem", "r+")
        await fail(handle)
        live, now = hub.machines["one"], hub.engine.now()
        rows = [it for it in read_records(tmp_path / "a.jsonl") if it["event"] != "log.open"]
        built = rebuild(rows, careless({}))["one"]
        assert live.failed is not None
        assert built.failed == live.failed
        (part,) = [it for it in held_rows(live, now) if it.get("part") == "failed"]
        assert holdings_in(part, live).failed == holdings_of(live).failed
        built.close()


async def test_a_log_that_fails_marks_it_at_the_next_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: dict[str, Callable[[Any], Any]] = {"update": FAULT}
    async with lab(tmp_path, faults, driver_failures=LIMIT) as hub:
        handle = await hub.open("/dev/mem", "r+")
        await fail(handle, LIMIT - 1)
        engine = hub.engine
        make_true = engine._make_true

        def refuse(*_: Any) -> None:
            raise LogFailed("the disk")

        monkeypatch.setattr(engine, "_make_true", refuse)
        await fail(handle, 1)
        assert not marked(hub)
        monkeypatch.setattr(engine, "_make_true", make_true)
        await fail(handle, 1)
        assert marked(hub) == LIMIT + 1


async def test_the_report_and_top_show_it(tmp_path: Path) -> None:
    async with lab(tmp_path, {"update": FAULT}, driver_failures=LIMIT) as hub:
        handle = await hub.open("/dev/mem", "r+")
        await fail(handle)
        report = hub.report()

    one, two = report["machines"]
    assert (one["failed"]["failures"], two["failed"]) == (LIMIT, None)
    shown = text("", list(sheets(report)))
    assert re.search(r"marked failed\nMACHINE +FAILURES +FOR +LAST\none +3 .*a divisor", shown)


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (1.5, TypeError)])
def test_a_limit_that_is_none_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="driver_failures"):
        Hub([MachineSpec(name="a", arch="careless")], arches=careless({}), driver_failures=value)


def test_a_failure_is_a_value() -> None:
    assert Failure("x", 1, 2) == Failure("x", 1, 2)
