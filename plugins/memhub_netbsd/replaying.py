"""Replay answers that were recorded from NetBSD's MTRR system calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub_netbsd.i686 import I686Mtrrs
from memhub_netbsd.k6 import K6Mtrrs
from memhub_netbsd.registers import Registers
from memhub_netbsd.system_calls import MtrrCalls
from memhub_netbsd.table import Driver, Mtrr, Panicked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.plugin.kernels import Comparison

    Json = Mapping[str, Any]
    Answer = dict[str, object]

_DRIVERS: Final[Mapping[str, Callable[[Registers], Driver]]] = {"i686": I686Mtrrs, "k6": K6Mtrrs}


def replay(raw: Json, done: Comparison) -> None:
    """Replay one scenario; see `KernelProfile.replay`."""
    cpu = raw["cpu"]
    msrs = {int(number, 16): value for number, value in raw["msr"].items()}
    registers = Registers(msrs, cpu["phys_bits"], strict=cpu["strict"])
    try:
        driver = None if raw["driver"] is None else _DRIVERS[raw["driver"]](registers)
    except Panicked as panic:
        done.differ(None, "panic", raw.get("panic"), str(panic))
        return

    done.differ(None, "panic", raw.get("panic"), None)
    done.differ(None, "after", raw["after"], _differing(msrs, registers.values))
    done.differ(None, "table", raw["table"], _rows(driver))
    calls = MtrrCalls(driver)
    for number, step in enumerate(raw["steps"]):
        done.steps += 1
        _replay_step(number, step, calls, registers, done)


def _replay_step(
    number: int, step: Json, calls: MtrrCalls, registers: Registers, done: Comparison
) -> None:
    table, msrs = _rows(calls.driver), dict(registers.values)
    try:
        answer = _do(step, calls)
    except Panicked as panic:
        done.differ(number, "panic", step.get("panic"), str(panic))
        return

    done.differ(number, "panic", step.get("panic"), None)
    for what in ("errno", "done", "cleaned"):
        if what in step:
            done.differ(number, what, step[what], answer.get(what))

    now = _rows(calls.driver)
    changed = [[index, *row] for index, row in enumerate(now) if row != table[index]]
    done.differ(number, "changed", step.get("changed", []), changed)
    done.differ(number, "msr", step.get("msr", {}), _differing(msrs, registers.values))


def _do(step: Json, calls: MtrrCalls) -> Answer:
    op = step["op"]
    if op == "exit":
        return {"cleaned": calls.exit(step["pid"])}

    entries = [Mtrr(*row) for row in step.get("entries", ())]
    if op == "kernel_set":
        told = calls.kernel_set(entries, step["pid"] or None)
        return {"errno": told.errno or 0, "done": told.many}

    call = calls.set if op == "set" else calls.get
    told = call(
        step["pid"],
        step["n"],
        entries,
        null=step.get("null"),
        root=step.get("root", True),
        translated=step["abi"] == 32 and not step.get("native", False),
    )

    return {"errno": told.errno or 0, "done": told.many}


def _rows(driver: Driver | None) -> list[list[int]]:
    return [] if driver is None else [it.row() for it in driver.table]


def _differing(before: Mapping[int, int], now: Mapping[int, int]) -> dict[str, int]:
    return {
        f"{number:#x}": now.get(number, 0)
        for number in sorted({*before, *now})
        if before.get(number, 0) != now.get(number, 0)
    }
