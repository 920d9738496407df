"""A range driver that hangs on the embedded hub of a rig, where the marker sets a limit."""

from __future__ import annotations

import io
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from memhub import MachineSpec, load_arches
from memhub.errors import DeviceError
from memhub.plugin import Arch, Change, KernelLayout, RangeDesc, RangeState, abi
from memhub.plugin.software import SoftwareRangeDriver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.plugin import Cpu
    from memhub.rig import Clients, LogView

WINDOW = (0xD0000000, 1 << 20)


class Hangs(SoftwareRangeDriver):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        return desc

    def type_of(self, desc: RangeDesc) -> str | None:
        return "UC"

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        while True:
            pass


def make_driver(_cpu: Cpu, _options: Mapping[str, object]) -> Hangs:
    return Hangs(slots=2)


@pytest.fixture
def memhub_arches() -> Mapping[str, Arch]:
    layout = KernelLayout(kernel_base=0xF0000000)
    fields = {"kernel": layout, "driver": make_driver, "attributes": abi.MDF_UNCACHEABLE}
    hangs = Arch(name="hangs", summary="hangs", **fields)  # type: ignore[arg-type]
    return {**load_arches(), "hangs": hangs}


@pytest.fixture
def memhub_machine() -> MachineSpec:
    return MachineSpec(name="pc", arch="hangs")


class Told(io.StringIO):
    """Standard error, on which another thread tells; it is known when the place has come."""

    def __init__(self) -> None:
        super().__init__()
        self.has_place = threading.Event()

    def write(self, text: str) -> int:
        count = super().write(text)
        if f'File "{__file__}", line ' in self.getvalue():
            self.has_place.set()

        return count


@pytest.mark.memhub(driver_limit=0.2)
def test_it_is_stopped_and_told_with_its_place(
    memhub_client: Clients, memhub_log: LogView, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    monkeypatch.setattr(sys, "stderr", told)
    with pytest.raises(DeviceError, match=r"EIO: .*Hangs.update.* did not answer within 0.2 s"):
        memhub_client("Xorg").open().set_range(*WINDOW, "uncacheable")

    memhub_log.expect("request.set", errno="EIO", process="Xorg")
    assert told.has_place.wait(30)
    assert "Hangs.update, the driver of hangs on pc, has not answered for 0.2 s" in told.getvalue()


@pytest.mark.memhub(driver_limit=0.2)
@pytest.mark.anyio
async def test_one_of_a_test_that_awaits_is_too(memhub_client: Clients) -> None:
    async with memhub_client("Xorg") as xorg:
        mem = await xorg.open()
        with pytest.raises(DeviceError, match=r"did not answer within 0.2 s"):
            await mem.set_range(*WINDOW, "uncacheable")

        assert len(await mem.ranges()) == 2


def test_without_a_limit_nothing_is_set_up(memhub_client: Clients) -> None:
    memhub_client("Xorg").open()
    assert signal.getsignal(signal.SIGURG) is signal.SIG_DFL
