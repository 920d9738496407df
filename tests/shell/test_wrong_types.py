"""What is not an integer is refused before anything changes; numpy's integers are integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from memhub import Hub
from memhub.abi import MDF_UNCACHEABLE
from shell.kit import PAT, lab

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 0x1000


@pytest.mark.parametrize("method", ["claim", "set_range", "release", "wait_free"])
@pytest.mark.parametrize("span", [(0.0, PAGE), (0, float(PAGE)), ("0", PAGE)])
async def test_a_range_that_is_not_made_of_integers_changes_nothing(
    tmp_path: Path, method: str, span: tuple[Any, Any]
) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem") as handle:
        more = {"set_range": (MDF_UNCACHEABLE,), "wait_free": (1.0,)}.get(method, ())
        with pytest.raises(TypeError, match="is not an integer"):
            await getattr(handle, method)(*span, *more)

        assert rig.hub.claims("pat") == []
        await handle.set_range(0, PAGE, MDF_UNCACHEABLE)


async def test_integers_of_numpy_are_integers(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem") as handle:
        base, length = np.uint64(8 * PAGE), np.uint64(PAGE)
        claim = await handle.claim(base, length)  # type: ignore[arg-type]
        await handle.set_range(base, length, np.int32(MDF_UNCACHEABLE))  # type: ignore[arg-type]
        assert (claim.base, claim.end) == (8 * PAGE, 9 * PAGE)
        assert type(claim.base) is int


async def test_a_hub_that_has_ended_opens_nothing() -> None:
    async with Hub([PAT]) as hub:
        pass

    with pytest.raises(RuntimeError, match="the hub is closed"):
        await hub.open("/dev/mem")
