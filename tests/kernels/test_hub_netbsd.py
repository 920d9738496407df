"""A hub's machine with NetBSD: its system calls, private ranges, and what dies with a process."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import FaultRule, Hub
from memhub.arches import load_arches
from memhub.audit import AuditLog, read_records
from memhub.audit.history.rebuild import rebuild
from memhub.core.spec import MachineSpec
from memhub.errors import (
    DeviceError,
    InvalidArgument,
    NotPermitted,
    NotSupported,
    RangeBusy,
    UnknownIoctl,
)
from memhub.kernels import load_kernels
from memhub.plugin import Cpu
from memhub.plugin.kernels import KernelCall, KernelMachine
from memhub.rig import trace_lines
from memhub.service import wire
from memhub.service.client import connect
from memhub.service.remote_file import RemoteFile
from memhub.service.remote_kernel import call_request
from memhub.service.server import Server
from memhub.service.settings import RightsRule, ServiceConfig
from service.service_rig import RawClient, lab

if TYPE_CHECKING:
    from memhub.core.drivers.served_kernel import KernelState
    from memhub.service.settings import Right

DATA = Path(__file__).parents[1] / "data" / "kernels"
MSRS = {0xFE: 0x508, 0x2FF: 0x800}
NETBSD = MachineSpec(name="pc", arch="amd64", msrs=MSRS, kernel="netbsd-7")
SCREEN = 0xD0000000
PRIVATE, VALID = 1, 4
MINE = [SCREEN, 1 << 24, 1, PRIVATE | VALID, 0]
OURS = [SCREEN, 1 << 24, 1, VALID, 0]
EVERY = 6


def changed(state: KernelState, before: KernelState) -> list[list[int]]:
    pairs = zip(state.own["table"], before.own["table"], strict=True)

    return [
        [index, int(now[0], 16), int(now[1], 16), *now[2:]]
        for index, (now, was) in enumerate(pairs)
        if now != was
    ]


@pytest.mark.parametrize("name", ["netbsd-i686", "netbsd-k6"])
def test_calls_of_values_answer_as_recorded(name: str) -> None:
    kernel = load_kernels().find("netbsd-7").served
    assert kernel is not None
    wrong, steps = [], 0
    for raw in [*map(json.loads, trace_lines(DATA / f"{name}.open.jsonl.gz"))][::EVERY]:
        cpu = raw["cpu"]
        if raw["driver"] is None or raw.get("panic"):
            continue

        machine = KernelMachine(
            cpu=Cpu(
                vendor="AMD" if raw["driver"] == "k6" else "Intel",
                signature=0x588 if raw["driver"] == "k6" else 0x6F0,
                phys_bits=cpu["phys_bits"],
                count=1,
            ),
            bits=64,
            msrs={int(number, 16): value for number, value in raw["msr"].items()},
            options={"strict": cpu["strict"]},
        )
        state = kernel.boot(machine).state
        for number, step in enumerate(raw["steps"]):
            args = {key: step[key] for key in ("n", "entries", "null", "root") if key in step}
            args["abi"] = 32 if step.get("abi") == 32 and not step.get("native") else 64
            process = step["pid"] or 0
            if step["op"] == "kernel_set":
                args["process"] = step["pid"] or None

            if step["op"] in ("get", "set") and step.get("null") and "entries" not in args:
                args["entries"] = []

            answer = kernel.call(machine, state, KernelCall(step["op"], args, process=process))
            steps += 1
            if "panic" in step:
                assert answer.log == (("panic", step["panic"]),)
                break

            msrs = {
                f"{it:#x}": v for it, v in answer.state.msrs.items() if state.msrs.get(it, 0) != v
            }
            pairs: list[tuple[Any, Any]] = [
                (step.get("errno") or None, answer.errno),
                (step.get("changed", []), changed(answer.state, state)),
                (step.get("msr", {}), dict(sorted(msrs.items()))),
            ]
            if "done" in step:
                pairs.append((step["done"], answer.value["done"]))

            if "cleaned" in step:
                pairs.append((step["cleaned"], answer.value))

            wrong += [(raw["id"], number, *it) for it in pairs if it[0] != it[1]]
            state = answer.state

    assert wrong[:5] == []
    assert steps > 300


@pytest.mark.anyio
async def test_a_private_range_is_its_processs_until_that_ends() -> None:
    async with Hub([NETBSD], arches=load_arches()) as hub, hub.process("b") as two:
        theirs = await two.open("pc:/dev/mem")
        async with hub.process("a") as one:
            mine = await one.open("pc:/dev/mem")
            assert await mine.call_kernel("set", entries=[MINE]) == {"done": 1}
            assert (await mine.explain(SCREEN)).type == "WC"
            with pytest.raises(RangeBusy) as refused:
                await theirs.call_kernel("set", entries=[OURS])

            number = one.principal.id
            assert refused.value.reason == (
                "NetBSD answers EBUSY to set: entry 0, 0xd0000000/0x1000000 WC: it is range 95, "
                f"0xd0000000/0x1000000 WC, private to process {number}"
            )

        assert (await theirs.explain(SCREEN)).type == "UC"
        assert await theirs.call_kernel("set", entries=[OURS]) == {"done": 1}
        found = await theirs.call_kernel("get", n=104)
        assert [SCREEN, 1 << 24, 1, VALID, 0] in found["entries"]


@pytest.mark.anyio
@pytest.mark.parametrize("arch", ["amd64", "i386"])
async def test_a_claimed_range_stays_where_no_type_would_change(arch: str) -> None:
    quiet, gone = [SCREEN, 1 << 24, 0, VALID, 0], [SCREEN, 1 << 24, 0, 0, 0]
    taken = [SCREEN, 1 << 24, 0, PRIVATE | VALID, 0]
    async with Hub([replace(NETBSD, arch=arch)]) as hub, hub.process("b") as two:
        mine, theirs = await hub.open("pc:/dev/mem"), await two.open("pc:/dev/mem")
        assert await mine.call_kernel("set", entries=[quiet]) == {"done": 1}
        await mine.claim(SCREEN, 1 << 24)
        before = hub.kernels.call("table")
        for entry, abi in ((gone, 64), (taken, 64), (gone, 32)):
            with pytest.raises(RangeBusy, match="slot 95 0xd0000000/0x1000000 is claimed by "):
                await theirs.call_kernel("set", entries=[entry], abi=abi)

        assert hub.kernels.call("table") == before
        assert await mine.call_kernel("set", entries=[gone]) == {"done": 1}


@pytest.mark.anyio
async def test_a_restore_brings_private_ranges_back_of_those_who_are_there() -> None:
    theirs = [SCREEN + (1 << 24), *MINE[1:]]
    async with Hub([NETBSD], arches=load_arches()) as hub, hub.process("b") as two:
        stays = await two.open("pc:/dev/mem")
        await stays.call_kernel("set", entries=[theirs])
        async with hub.process("a") as one:
            leaves = await one.open("pc:/dev/mem")
            await leaves.call_kernel("set", entries=[MINE])
            taken = hub.snapshot()

        await stays.call_kernel("set", entries=[[*theirs[:3], PRIVATE, 0]])
        hub.restore(taken)
        rows = (await stays.call_kernel("get", n=104))["entries"]
        assert [it[0] for it in rows if it[3] & PRIVATE] == [theirs[0]]
        assert (await stays.explain(theirs[0])).type == "WC"
        assert (await stays.explain(SCREEN)).type == "UC"
        assert await stays.call_kernel("set", entries=[OURS]) == {"done": 1}


@pytest.mark.anyio
async def test_what_was_set_before_an_error_stays() -> None:
    async with Hub([NETBSD], arches=load_arches()) as hub, await hub.open("pc:/dev/mem") as memory:
        with pytest.raises(DeviceError) as refused:
            await memory.call_kernel("set", entries=[OURS, [1, 2, 3, VALID, 0]])

        assert (refused.value.code.name, refused.value.moved) == ("EINVAL", 1)
        assert refused.value.reason == (
            "NetBSD answers EINVAL to set: entry 1, 0x1/0x2 type 3: base and length are multiples "
            "of 0x1000, and length is not 0; 1 set before"
        )
        assert (await memory.explain(SCREEN)).type == "WC"


@pytest.mark.anyio
async def test_fault_rules_that_name_no_operation_meet_its_calls() -> None:
    async with Hub([NETBSD], arches=load_arches()) as hub, await hub.open("pc:/dev/mem") as memory:
        with hub.faults.add(FaultRule("hang", op=("set",))) as hanging:
            assert await memory.call_kernel("set", entries=[OURS]) == {"done": 1}
            assert hanging.seen == 0

        with (
            hub.faults.add(FaultRule("errno", errno="ENOSPC")),
            pytest.raises(DeviceError) as refused,
        ):
            await memory.call_kernel("get")

        assert refused.value.code.name == "ENOSPC"


@pytest.mark.anyio
async def test_calls_that_netbsd_does_not_have_are_refused() -> None:
    bsd = MachineSpec(name="bsd", arch="amd64")
    async with Hub([NETBSD, bsd], arches=load_arches()) as hub:
        async with await hub.open("pc:/dev/mem") as memory:
            for op, args, why in (
                ("add", {}, "'add' is no call through pc:/dev/mem"),
                ("set", {}, "set needs an argument 'entries'"),
                ("set", {"entries": 5}, "entries 5 is no list of ranges"),
                ("set", {"entries": [[0, 1]]}, "is no .base, length"),
                ("set", {"entries": [[-1, 1, 1, 4]]}, "-1 of"),
                ("get", {"null": "x"}, "null 'x' is none of None, 'args', 'count', 'table'"),
                ("get", {"abi": 16}, "abi 16 is none of 64, 32"),
                ("set", {"entries": [OURS], "n": 2}, "n 2 is more than the 1 ranges"),
            ):
                with pytest.raises(InvalidArgument, match=why):
                    await memory.call_kernel(op, **args)

            with pytest.raises(UnknownIoctl):
                await memory.ranges()

        async with await hub.open("bsd:/dev/mem") as memory:
            with pytest.raises(NotSupported, match="the kernel of bsd is FreeBSD"):
                await memory.call_kernel("set", entries=[OURS])


@pytest.mark.anyio
async def test_the_log_alone_makes_the_machine_again(tmp_path: Path) -> None:
    path, arches = tmp_path / "a.jsonl", load_arches()
    with AuditLog.open(path) as log:
        async with Hub([NETBSD], arches=arches, log=log) as hub:
            async with hub.process("a") as one, await one.open("pc:/dev/mem") as mine:
                await mine.call_kernel("set", entries=[MINE])
                again = rebuild(read_records(path), arches)["pc"]
                assert again.served == hub.machines["pc"].served
                assert again.table == hub.machines["pc"].table

            again = rebuild(read_records(path), arches)["pc"]
            assert again.served == hub.machines["pc"].served
            then = hub.snapshot()
            hub.kernels.call("kernel_set", entries=[OURS])
            hub.restore(then)
            assert hub.snapshot() == then


@pytest.mark.anyio
async def test_the_private_ranges_of_a_connection_end_with_it(tmp_path: Path) -> None:
    async with lab(tmp_path, NETBSD) as it, it.connect() as other:
        theirs = await other.open("pc:/dev/mem")
        async with it.connect() as one:
            mine = await one.open("pc:/dev/mem")
            assert await mine.call_kernel("set", entries=[MINE]) == {"done": 1}
            with pytest.raises(RangeBusy) as refused:
                await theirs.call_kernel("set", entries=[OURS])

            assert refused.value.moved == 0
            assert (await theirs.explain(SCREEN)).type == "WC"

        # the service ends a connection when it has seen its end
        with anyio.fail_after(20):
            while (await theirs.explain(SCREEN)).type == "WC":
                await anyio.lowlevel.checkpoint()

        assert await theirs.call_kernel("set", entries=[OURS]) == {"done": 1}
        found = await theirs.call_kernel("get", n=104)
        assert [SCREEN, 1 << 24, 1, VALID, 0] in found["entries"]


@pytest.mark.anyio
async def test_a_connection_that_breaks_takes_its_private_ranges_along(tmp_path: Path) -> None:
    async with lab(tmp_path, NETBSD) as it, it.connect() as other:
        theirs = await other.open("pc:/dev/mem")
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        handle = await client.open()
        answer = await client.ask(
            wire.Call(0, handle, "set", json.dumps({"entries": [MINE]}).encode())
        )
        assert isinstance(answer, wire.Data)
        assert answer.data == b'{"done":1}'
        client.close()
        with anyio.fail_after(20):
            while (await theirs.explain(SCREEN)).type == "WC":
                await anyio.lowlevel.checkpoint()


@pytest.mark.anyio
@pytest.mark.parametrize("may", [["read-ranges"], ["set-ranges"], ["read-ranges", "set-ranges"]])
async def test_a_client_needs_the_rights_of_a_call(tmp_path: Path, may: list[Right]) -> None:
    rules = (RightsRule(uid=os.getuid(), allow=frozenset(may)),)
    settings = ServiceConfig(socket=tmp_path / "a", rights=rules)
    async with (
        Hub([NETBSD]) as hub,
        Server(hub, settings),
        connect(tmp_path / "a") as client,
        await client.open("pc:/dev/mem") as memory,
    ):
        for call, needed in (
            (partial(memory.call_kernel, "get", n=104), {"read-ranges"}),
            (partial(memory.call_kernel, "set", entries=[OURS]), {"read-ranges", "set-ranges"}),
        ):
            if needed <= set(may):
                assert await call()
            else:
                with pytest.raises(NotPermitted, match="has no right to"):
                    await call()


@pytest.mark.anyio
async def test_a_client_of_an_earlier_service_is_told(tmp_path: Path) -> None:
    """A client that does not ask for the feature may not send the frame either."""
    async with lab(tmp_path, NETBSD) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES & ~wire.FEATURE_KERNELS)
        handle = await client.open()
        client.send(wire.Call(9, handle, "get", b"").encode())
        with anyio.fail_after(20):
            (ended,) = await client.receive()

        assert isinstance(ended, wire.Abort)
        assert "unknown-frame" in ended.reason
        client.close()

    file = RemoteFile(
        wire.Opened(1, 1, wire.MODEL_LP64, 0, "amd64", "pc"), "/dev/mem", wire.Limits()
    )
    with pytest.raises(NotSupported, match="the service is of a version without CALL"):
        call_request(file, wire.FEATURES & ~wire.FEATURE_KERNELS, "get", {})
