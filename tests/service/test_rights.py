"""What a client may do, machine by machine; each refusal has a reason and is logged."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub import FaultRule
from memhub.abi import MDF_WRITECOMBINE
from memhub.core.requests import ClaimRange
from memhub.errors import DeviceError, NoSuchDevice, NotPermitted
from memhub.service.server.rights import EVERYTHING, Grants, Peer
from memhub.service.settings import RIGHTS, RightsRule
from memhub.service.subject import parse_subject
from service.service_rig import MIB, WINDOW, lab, machine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from memhub.service.client import RemoteHub
    from memhub.service.client.handle import RemoteHandle

ME = os.getuid()


def allowing(*rights: Any, machine: str = "*", uid: int = ME) -> tuple[RightsRule, ...]:
    return (RightsRule(uid=uid, machine=machine, allow=frozenset(rights)),)


CALLS: dict[str, Callable[[RemoteHandle], Awaitable[object]]] = {
    "read-memory": lambda h: h.pread(4, 0),
    "write-memory": lambda h: h.pwrite(b"x", 0),
    "read-ranges": lambda h: h.ranges(),
    "set-ranges": lambda h: h.set_range(WINDOW, MIB, MDF_WRITECOMBINE),
    "break-claims": lambda h: h.break_claims(0, 4096, "to see"),
}


@pytest.mark.parametrize("right", RIGHTS)
async def test_each_right_lets_through_its_own_requests_alone(tmp_path: Path, right: str) -> None:
    rules = allowing(right, "write-memory")
    async with lab(tmp_path, rights=rules) as it, it.connect() as hub:
        other = await it.hub.open("/dev/mem")
        await other.claim(0, 4096)
        handle = await hub.open("/dev/mem", "r+")
        file = it.hub.snapshot().to_bytes()
        rule = FaultRule("errno", machine="pc", nth=1000)
        calls: dict[str, Callable[[RemoteHandle], Awaitable[object]]] = {
            **CALLS,
            "inject-faults": lambda _: hub.add_fault(rule),
            "restore-machines": lambda _: hub.restore_snapshot(file, "pc"),
        }
        for name, call in calls.items():
            if name in (right, "write-memory"):
                await call(handle)
            else:
                with pytest.raises(NotPermitted, match=f"uid {ME} has no right to {name} on pc"):
                    await call(handle)

        refused = {record["reason"].split()[6] for record in it.records("service.reject")}
        assert refused == set(RIGHTS) - {right, "write-memory"}
        other.close()


async def test_opening_beyond_ones_rights_is_refused(tmp_path: Path) -> None:
    rules = allowing("read-memory", "read-ranges")
    async with lab(tmp_path, rights=rules) as it, it.connect() as hub:
        with pytest.raises(NotPermitted, match="no right to write-memory on pc"):
            await hub.open("/dev/mem", "r+")

        assert await (await hub.open("/dev/mem")).pread(1, 0) == b"\0"


async def test_rights_are_of_one_machine(tmp_path: Path) -> None:
    rules = allowing("read-memory", "read-ranges", machine="one")
    specs = machine("one"), machine("two")
    async with lab(tmp_path, *specs, rights=rules) as it, it.connect() as hub:
        await hub.open("one:/dev/mem")
        with pytest.raises(NotPermitted, match="no right to anything on two"):
            await hub.open("two:/dev/mem")

        assert [row["machine"] for row in (await hub.report())["machines"]] == ["one"]


async def test_events_of_machines_out_of_reach_are_not_sent(tmp_path: Path) -> None:
    rules = allowing("read-ranges", machine="one")
    specs = machine("one"), machine("two")
    async with lab(tmp_path, *specs, rights=rules) as it, it.connect() as hub:
        news = hub.subscribe()
        await hub.ping()
        for name in ("two", "one"):
            handle = await it.hub.open(f"{name}:/dev/mem")
            await handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
            handle.close()

        assert (await news.receive())["machine"] == "one"


async def test_reports_say_no_more_than_one_asked_for(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem")
        await handle.claim(0, MIB)
        (row,) = (await hub.report("claims"))["machines"]

        assert (len(row["claims"]), "waits" in row, "processes" in row) == (1, False, False)


LOOKS: dict[str, Callable[[RemoteHub, str], Awaitable[object]]] = {
    "open": lambda hub, name: hub.open(f"{name}:/dev/mem"),
    "report": lambda hub, name: hub.report(machine=name),
    "subscribe": lambda hub, name: hub.subscribe(machine=name).receive(),
}


async def refusal(look: Awaitable[object]) -> DeviceError:
    with anyio.fail_after(20), pytest.raises(DeviceError) as caught:
        await look

    return caught.value


@pytest.mark.parametrize("op", LOOKS)
@pytest.mark.parametrize("rights", [(), ("read-memory", "read-ranges")])
async def test_a_machine_out_of_reach_is_like_one_that_is_not_there(
    tmp_path: Path, op: str, rights: tuple[str, ...]
) -> None:
    """Neither the error nor its words say whether it exists, or name another."""
    rules = allowing(*rights, machine="one")
    specs = machine("one"), machine("hidden")
    async with lab(tmp_path, *specs, rights=rules) as it, it.connect() as hub:
        there, absent = [await refusal(LOOKS[op](hub, name)) for name in ("hidden", "absent")]

        assert (there.code, str(there)) == (absent.code, str(absent).replace("absent", "hidden"))
        assert isinstance(there, NotPermitted)
        assert "one" not in str(absent)
        logged = [(r["op"], r["errno"]) for r in it.records("service.reject")]
        assert logged == [(op, "EPERM")] * 2


@pytest.mark.parametrize("op", LOOKS)
async def test_a_rule_for_a_machine_that_is_not_there_brings_no_list_of_the_others(
    tmp_path: Path, op: str
) -> None:
    rules = allowing("read-memory", "read-ranges", machine="absent")
    async with lab(tmp_path, machine("hidden"), rights=rules) as it, it.connect() as hub:
        error = await refusal(LOOKS[op](hub, "absent"))

        assert isinstance(error, NotPermitted)
        assert "hidden" not in str(error)


@pytest.mark.parametrize("op", LOOKS)
async def test_whoever_may_look_at_every_machine_is_told_which_there_are(
    tmp_path: Path, op: str
) -> None:
    async with (
        lab(tmp_path, machine("one"), rights=allowing("read-ranges")) as it,
        it.connect() as hub,
    ):
        error = await refusal(LOOKS[op](hub, "absent"))

        assert isinstance(error, NoSuchDevice)
        assert "there is no machine 'absent' (machines: one)" in str(error)


async def test_the_default_machine_is_not_named_to_whoever_has_no_right_to_it(
    tmp_path: Path,
) -> None:
    rules = allowing("read-memory", machine="one")
    specs = machine("hidden"), machine("one")
    async with lab(tmp_path, *specs, rights=rules) as it, it.connect() as hub:
        error = await refusal(hub.open("/dev/mem"))

        assert str(error).endswith("no right to anything on the default machine")
        assert "hidden" not in json.dumps(await hub.report())


async def test_a_right_of_another_kind_does_not_show_a_machine(tmp_path: Path) -> None:
    async with lab(tmp_path, rights=allowing("read-memory")) as it, it.connect() as hub:
        assert (await hub.report())["machines"] == []
        error = await refusal(hub.report(machine="pc"))

        assert str(error).endswith("no right to read-ranges on pc")


async def test_machines_out_of_reach_take_no_room_in_a_subscription(tmp_path: Path) -> None:
    """Their events push none out, and how many there were is not told as missed."""
    rules = allowing("read-ranges", machine="one")
    specs = machine("one"), machine("two")
    async with lab(tmp_path, *specs, rights=rules) as it, it.connect() as hub:
        news = hub.subscribe(size=1)
        await hub.ping()
        one, two = [await it.hub.open(f"{name}:/dev/mem") for name in ("one", "two")]
        submit = it.hub.engine.submit
        submit(ClaimRange(one.number, 0, MIB))
        for step in range(4):
            submit(ClaimRange(two.number, step * MIB, MIB))

        with anyio.fail_after(20):
            found = await news.receive()

        one.close()
        two.close()

        assert (found["event"], found["machine"]) == ("claim.take", "one")


peers = st.builds(
    Peer,
    uid=st.none() | st.integers(0, 2),
    subject=st.sampled_from([None, *map(parse_subject, ("CN=a", "CN=b"))]),
    token=st.sampled_from([None, "ci", "lab"]),
)
whose: Any = st.sampled_from([{"uid": 1}, {"subject": "CN=a"}, {"token": "ci"}])
rules = st.builds(
    lambda who, machine, allow: RightsRule(machine=machine, allow=allow, **who),
    whose,
    st.sampled_from(["*", "one", "two"]),
    st.frozensets(st.sampled_from(RIGHTS)),
)


@given(peers, st.lists(rules, max_size=5), st.sampled_from(["one", "two"]))
def test_rights_are_the_sum_of_the_rules_that_fit(
    peer: Peer, found: list[RightsRule], name: str
) -> None:
    expected: set[str] = set()
    for rule in found:
        mine = (rule.uid, rule.subject, rule.token) in {
            (peer.uid, None, None),
            (None, None if peer.subject is None else str(peer.subject), None),
            (None, None, peer.token),
        }
        if mine and rule.machine in ("*", name):
            expected |= rule.allow

    bits = sum([1 << RIGHTS.index(right) for right in RIGHTS if right in expected])
    assert Grants(found, peer).on(name) == (bits if found else EVERYTHING)
