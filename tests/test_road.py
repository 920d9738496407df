"""The way of a request stays short: it is what a stranger reads to follow one."""

from __future__ import annotations

import anyio
import pytest

from benchmarks.road import measure


@pytest.mark.parametrize(
    ("request_", "calls", "files", "jumps"),
    [("set", 40, 12, 18), ("read of 8 bytes", 18, 8, 9)],
)
def test_the_road_of_a_request(request_: str, calls: int, files: int, jumps: int) -> None:
    # Now and then a write looks first whether its file is still there: that is not its road.
    roads = [anyio.run(measure)[request_] for _ in range(5)]
    road = min(roads, key=lambda it: (it.files, len(it.calls)))

    assert len(road.calls) <= calls, road.calls
    assert road.files <= files, road.calls
    assert road.jumps <= jumps, road.calls
