"""A driver that fails: the request answers EIO and is recorded, and nothing else is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import AuditLog, Hub, MachineSpec
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITEBACK, Errno
from memhub.audit import read_records
from memhub.errors import DeviceError
from memhub.plugin import Arch, KernelLayout, RangeDesc
from memhub.plugin.software import SoftwareRangeDriver

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 0x1000


class Careless(SoftwareRangeDriver):
    """Fails on any range at address 0, and answers None for one at address 0x1000."""

    def stored(self, desc: RangeDesc) -> RangeDesc:
        if desc.mr_base == 0:
            raise ZeroDivisionError("a divisor is zero")

        return desc

    def type_of(self, desc: RangeDesc) -> str:
        return "WB"

    def update(self, state: Any, desc: RangeDesc) -> Any:
        return None if desc.mr_base == PAGE else super().update(state, desc)


CARELESS = Arch(
    name="careless",
    summary="fails",
    kernel=KernelLayout(kernel_base=0xF0000000),
    driver=lambda _cpu, _options: Careless(slots=4),
    attributes=MDF_UNCACHEABLE | MDF_WRITEBACK,
    slots="4 ranges",
)


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (0, "Careless.update, the driver of careless on one, failed with ZeroDivisionError: a div"),
        (PAGE, "Careless.update, the driver of careless on one, failed with AttributeError"),
    ],
    ids=["raises", "answers None"],
)
@pytest.mark.parametrize("latency", [0, 0.01], ids=["at once", "in time"])
async def test_a_driver_that_fails_refuses_the_request(
    tmp_path: Path, base: int, words: str, latency: float
) -> None:
    spec = MachineSpec(name="one", arch="careless", commit_latency=latency)
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        async with Hub([spec], arches={"careless": CARELESS}, log=log) as hub:
            with anyio.fail_after(10):
                handle = await hub.open("/dev/mem", "r+")
                before = await handle.ranges()
                with pytest.raises(DeviceError, match=words) as refused:
                    await handle.set_range(base, PAGE, MDF_WRITEBACK)

                assert refused.value.code is Errno.EIO
                assert await handle.ranges() == before
                await handle.set_range(8 * PAGE, PAGE, MDF_WRITEBACK)
                await handle.aclose()

    first, second = [it for it in read_records(path) if it["event"] == "request.set"]
    assert (first["errno"], first["base"]) == ("EIO", base)
    assert words in first["reason"]
    assert second["errno"] is None
