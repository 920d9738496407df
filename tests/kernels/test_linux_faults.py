"""Fault rules, and kinds that plugins add, on files of another kernel."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from kernels.linux_kit import LINE, LINUX, text_of
from memhub import FaultRule, Hub
from memhub.errors import DeviceError
from memhub.fault_kinds import load_fault_kinds
from memhub.plugin.faults import Alter, FaultKind, hookimpl

if TYPE_CHECKING:
    from memhub.plugin.faults import FaultHit


def _plugin() -> ModuleType:
    def swap(hit: FaultHit) -> Alter:
        old, new = (b"combining", b"combimimg") if hit.op == "read" else (b"0xd", b"0xe")

        return Alter(lambda data: data.replace(old, new))

    @hookimpl
    def memhub_faults() -> list[FaultKind]:
        return [FaultKind(name="acme.swap", summary="", strike=swap)]

    module = ModuleType("acme")
    module.memhub_faults = memhub_faults  # type: ignore[attr-defined]

    return module


async def test_a_kind_alters_what_is_written_to_a_kernels_file_and_read_from_it() -> None:
    kinds = load_fault_kinds(plugins=[("acme", _plugin())], installed=False)
    async with Hub([LINUX], fault_kinds=kinds) as hub:
        async with await hub.open("pc:/proc/mtrr", "w") as file:
            with hub.faults.add(FaultRule("acme.swap", op="write", times=1)):
                assert await file.write(LINE) == len(LINE)

        assert "base=0x0e0000000" in await text_of(hub)
        with hub.faults.add(FaultRule("acme.swap", op="read")):
            assert "write-combimimg" in await text_of(hub)


async def test_a_rule_with_a_window_meets_memory_and_nothing_of_a_kernels_file() -> None:
    async with Hub([LINUX]) as hub:
        with hub.faults.add(FaultRule("errno", base=0, length=1 << 36)) as rule:
            async with await hub.open("pc:/proc/mtrr", "r+") as file:
                assert await file.write(LINE) == len(LINE)
                assert await file.pread(5, 0) == b"reg00"

            assert rule.injected == 0
            async with await hub.open("pc:/dev/mem") as memory:
                with pytest.raises(DeviceError):
                    await memory.pread(1, 0x1000)
