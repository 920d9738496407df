"""The memory path below the hub, with bounds and rights checked, against Unicorn and memcpy."""

from __future__ import annotations

import importlib
import importlib.util
import mmap
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Goal, Plan, Row, measure_sync, once, skipped
from benchmarks.rig import ARCHES, spec
from memhub.core.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.harness import Work

_AT = 0x200000
_SIZES = {"8 bytes": (8, Goal(1, 2)), "4 KiB": (1 << 12, Goal(1.5, 4)), "1 MiB": (1 << 20, None)}


def _unicorn() -> Callable[[int, int], Any] | None:
    if importlib.util.find_spec("unicorn") is None:
        return None

    unicorn: Any = importlib.import_module("unicorn")
    machine: Any = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_32)
    machine.mem_map(0x100000, 16 << 20)
    read: Callable[[int, int], Any] = machine.mem_read

    return read


def _copying(size: int) -> Callable[[], bytes]:
    source = mmap.mmap(-1, 2 << 20)
    source.write(bytes(2 << 20))

    return lambda: source[:size]


def rows(plan: Plan) -> Iterator[Row]:
    """The rows of three sizes."""
    machine = Machine.make(spec(), ARCHES["i386"])
    machine.transfer.write("mem", _AT, bytes(range(256)) * 4096)
    read = machine.transfer.read
    peer = _unicorn() if plan.peers else None
    for words, (size, goal) in _SIZES.items():
        cases: dict[str, Work] = {
            "memhub": once(lambda size=size: read("mem", _AT, size, 1)),  # type: ignore[misc]
            "memcpy": once(_copying(size)),
        }
        if peer is not None:
            cases["Unicorn"] = once(lambda size=size: peer(_AT, size))  # type: ignore[misc]

        samples = measure_sync(cases, plan)
        question = f"memory path, {words}"
        memcpy = Goal(0.9, 0.97) if size == 1 << 20 else None
        yield samples.row(question, "memhub", "memcpy", memcpy, more=True)
        if peer is not None:
            yield samples.row(question, "memhub", "Unicorn", goal, more=True)
        elif goal:
            yield skipped(question, "--peers, with unicorn installed", against="Unicorn")

    machine.close()
