"""A hub's machine whose NetBSD panics: what it answers then, and who is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kernels.test_hub_netbsd import NETBSD, VALID
from memhub import Hub
from memhub.arches import load_arches
from memhub.audit import AuditLog
from memhub.cli import main
from memhub.cli.top_strips import health_marks
from memhub.cli.top_view import sheets
from memhub.errors import DeviceError
from memhub.maps.describe import describe_map

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.anyio
async def test_a_kernel_that_panics_answers_nothing_more() -> None:
    screwed = [0x1000, 0x3000, 0, VALID, 0]
    async with Hub([NETBSD], arches=load_arches()) as hub, await hub.open("pc:/dev/mem") as memory:
        for _ in range(2):
            with pytest.raises(DeviceError, match="mtrr: fixed register screwup") as dead:
                await memory.call_kernel("set", entries=[screwed])

            assert dead.value.code.name == "EIO"


@pytest.mark.anyio
async def test_a_kernel_that_has_died_is_told_until_a_reset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, arches = tmp_path / "a.jsonl", load_arches()
    said = "NetBSD has died: mtrr: fixed register screwup; reset or restore the machine to go on"
    with AuditLog.open(path) as log:
        async with (
            Hub([NETBSD], arches=arches, log=log) as hub,
            await hub.open("pc:/dev/mem") as memory,
        ):
            assert (hub.report()["machines"][0]["dead"], describe_notes(hub)) == (None, ())
            with pytest.raises(DeviceError) as refused:
                await memory.call_kernel("set", entries=[[0x1000, 0x3000, 0, VALID, 0]])

            (row,) = hub.report()["machines"]
            assert (refused.value.reason, row["dead"], describe_notes(hub)) == (said, said, (said,))
            (dead,) = (it for it in sheets({"machines": [row]}) if "died" in it.title)
            assert dead.rows == [("pc", said)]
            assert ("DEAD", "bold white on red") in health_marks(row, [])
            main(["audit", "state", str(path)])
            assert said in " ".join(capsys.readouterr().out.split())
            main(["audit", "state", "--json", str(path)])
            assert json.loads(capsys.readouterr().out)["machines"][0]["wrong"] == {"dead": said}

            hub.reset()
            assert (hub.report()["machines"][0]["dead"], describe_notes(hub)) == (None, ())


def describe_notes(hub: Hub) -> tuple[str, ...]:
    return describe_map(hub.machines["pc"]).notes
