"""A whole rig: a frame buffer that two drivers want, embedded and over a service.

Run it with `pytest examples/test_rig.py`; the fixtures come with memhub.
"""

import pytest

from memhub import DeviceError
from memhub.abi import MDF_BUSY

WINDOW, SIZE, MIB = 0xD0000000, 16 << 20, 1 << 20

pytestmark = pytest.mark.memhub(over="each")


@pytest.fixture
def xorg(memhub_client):
    """An X server that holds its frame buffer write-combining."""
    client = memhub_client("Xorg")
    client.open().set_range(WINDOW, SIZE, "write-combine", owner="Xorg")
    return client


@pytest.fixture
def device(memhub_client):
    """What another driver has opened."""
    return memhub_client("driver").open()


def test_the_range_is_effective_and_busy_for_others(xorg, device):
    (row,) = [row for row in device.ranges() if row.mr_base == WINDOW]
    assert (row.owner, row.mr_flags & MDF_BUSY) == ("Xorg", MDF_BUSY)
    assert [device.explain(WINDOW + it).type for it in (0, SIZE - 1, SIZE)] == ["WC", "WC", "UC"]


def test_a_second_client_collides(xorg, device, memhub_log):
    with pytest.raises(DeviceError, match=r"EBUSY: slot 89 .* is claimed by Xorg"):
        device.set_range(WINDOW, SIZE, "uncacheable")
    refused = memhub_log.expect("request.set", errno="EBUSY", process="driver", holder="Xorg")
    refused.never("claim.release", process="Xorg")


def test_slots_run_out(xorg, device, memhub_log):
    for number in range(1, 7):
        device.set_range(WINDOW + number * SIZE, MIB, "write-combine")
    with pytest.raises(DeviceError, match="ENOSPC"):
        device.set_range(WINDOW + 7 * SIZE, MIB, "write-combine")
    memhub_log.expect("request.set", times=6, process="driver", errno=None)


def test_a_crash_frees_the_range(xorg, device, memhub_log):
    xorg.crash()
    memhub_log.expect("claim.release", process="Xorg", cause="disconnect", within=5)
    device.set_range(WINDOW, SIZE, "uncacheable", owner="driver")
    assert device.explain(WINDOW).type == "UC"
