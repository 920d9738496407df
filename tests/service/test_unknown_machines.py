"""Who has no right on a machine learns from no refusal that it exists, nor what it is called."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from memhub import FaultRule
from memhub.core.health.sickness import Sickness
from memhub.service import wire
from memhub.service.settings import RightsRule
from service.service_rig import RawClient, lab, machine

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ("take", "put", "restore", "reset", "load", "replace")
HARDWARE = ("check", "reinit", "suspend", "resume", "remove")


def naming(name: str) -> dict[str, wire.Message]:
    """What names a machine, or the default one by an empty name."""
    path = f"{name}:/dev/mem" if name else "/dev/mem"
    there = f',"machine":"{name}"' if name else ""

    return {
        "OPEN": wire.Open(0, 1, 0, path),
        "OPEN to write": wire.Open(0, 3, 0, path),
        "REPORT": wire.Report(0, name, ""),
        "SUBSCRIBE": wire.Subscribe(0, 0, 0, 0, name),
        "SHOW list": wire.Show(0, "list", name, ""),
        "SHOW bytes": wire.Show(0, "bytes", name, ""),
        **{f"SNAPSHOT {what}": wire.Snapshot(0, what, name, b"") for what in WORDS},
        **{f"FAULTS {what}": wire.Faults(0, what, name) for what in HARDWARE},
        "FAULTS add": wire.Faults(0, "add", f'{{"action":"drop"{there}}}'),
        "FAULTS a sickness": wire.Faults(0, "add", f'{{"action":"stuck_slot","slot":1{there}}}'),
    }


@pytest.mark.parametrize("asked", naming(""))
async def test_a_refusal_tells_no_machine_without_a_right(tmp_path: Path, asked: str) -> None:
    """The words are the same for a machine that is there and one that is not."""
    rights = (RightsRule(uid=os.getuid(), machine="mine", allow=frozenset({"read-memory"})),)
    specs = machine("secret"), machine("hidden"), machine("mine")
    async with lab(tmp_path, *specs, rights=rights) as it:
        it.hub.faults.add(FaultRule("drop", op="seek", machine="secret", name="secret-rule"))
        it.hub.hardware.add(
            Sickness(action="stuck_slot", slot=1, name="secret-ill", machine="secret")
        )
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        words = {}
        for name in ("secret", "hidden", "nope", "secret-rule", "secret-ill", ""):
            answer: Any = await client.ask(naming(name)[asked])
            if isinstance(answer, wire.Done | wire.Data):
                continue

            words[name] = (answer.name, answer.reason.replace(name or "\0", "NAME"))

        named = {it for name, it in words.items() if name}
        assert len(named) <= 1
        for _, reason in words.values():
            assert not any(it in reason for it in ("secret", "hidden", "nope"))

        client.close()
