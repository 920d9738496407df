"""Fault rules and sicknesses of machines out of reach: a client learns nothing of them by names."""

from __future__ import annotations

import json
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

EVERY_RIGHT: Any = (
    "read-memory",
    "write-memory",
    "read-ranges",
    "set-ranges",
    "inject-faults",
    "restore-machines",
)
RULE = {"action": "drop", "op": ["seek"], "machine": "mine"}
SICKNESS = {"action": "stuck_slot", "slot": 1, "machine": "mine"}


def mine_alone() -> tuple[RightsRule, ...]:
    return (RightsRule(uid=os.getuid(), machine="mine", allow=frozenset(EVERY_RIGHT)),)


async def ask(client: RawClient, request: wire.Message) -> Any:
    """The JSON of the answer, or the error's name and reason."""
    answer: Any = await client.ask(request)
    if isinstance(answer, wire.Error):
        return answer.name, answer.reason

    return json.loads(answer.data)


async def add(client: RawClient, rule: dict[str, Any], **more: Any) -> Any:
    return await ask(client, wire.Faults(0, "add", json.dumps({**rule, **more})))


async def test_numbers_in_names_count_what_the_client_sees(tmp_path: Path) -> None:
    async with lab(tmp_path, machine("secret"), machine("mine"), rights=mine_alone()) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        for number in (1, 2):
            it.hub.faults.add(FaultRule("drop", op="seek", machine="secret"))
            it.hub.faults.add(FaultRule("drop", op="seek"))
            it.hub.hardware.add(Sickness(action="stuck_slot", slot=number, machine="secret"))
            (rule,) = await add(client, RULE)
            (sick,) = await add(client, SICKNESS, slot=number)
            assert rule["name"] == f"mine-fault-{number}"
            assert sick["name"] == f"mine-sick-{number}"

        client.close()


@pytest.mark.parametrize("given", [RULE, SICKNESS])
async def test_a_name_that_is_hidden_is_in_use_and_no_more_is_said(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    async with lab(tmp_path, machine("secret"), machine("mine"), rights=mine_alone()) as it:
        it.hub.faults.add(FaultRule("drop", "a", op="seek", machine="secret"))
        it.hub.faults.add(FaultRule("drop", "b", op="seek"))
        it.hub.hardware.add(Sickness(action="stuck_slot", slot=1, machine="secret", name="c"))
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        for name in "abc":
            assert await add(client, given, name=name) == (
                "EINVAL",
                f"the name {name!r} is in use",
            )

        assert await add(client, RULE, name="d")
        found = await add(client, given, name="d")
        assert found == ("EINVAL", "there is a fault rule 'd' already")
        client.close()


async def put_back(client: RawClient, file: bytes) -> Any:
    await ask(client, wire.Snapshot(0, "put", "", file))

    return await ask(client, wire.Snapshot(0, "restore", "mine", b""))


async def test_a_snapshot_comes_back_whatever_hidden_sicknesses_are_called(tmp_path: Path) -> None:
    """By the names that are made; a name that somebody chose clashes, and nothing is told."""
    async with lab(tmp_path, machine("secret"), machine("mine"), rights=mine_alone()) as it:
        hardware = it.hub.hardware
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        refused = ("EINVAL", "mine cannot have a sickness 'late', since the name is in use")
        for name, answer in (("", {"machines": ["mine"]}), ("late", refused)):
            (sick,) = await add(client, SICKNESS, name=name)
            then = it.hub.snapshot("mine")
            hardware.remove(sick["name"])
            hardware.add(Sickness(action="stuck_slot", slot=1, machine="secret", name=name))
            assert await put_back(client, then.to_bytes()) == answer
            for active in tuple(hardware):
                hardware.remove(active.sickness.name)

        client.close()
