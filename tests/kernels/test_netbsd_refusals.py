"""Why NetBSD refuses: the entry, its value and the rule, the range in the way and its holder."""

from __future__ import annotations

from typing import Any

import pytest

from kernels.test_hub_netbsd import NETBSD, OURS, PRIVATE, SCREEN, VALID
from memhub import Hub
from memhub.arches import load_arches
from memhub.core.spec import MachineSpec
from memhub.errors import DeviceError, RangeBusy

I686, K6 = "amd64", "k6"
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("op", "args", "errno", "why"),
    [
        ("set", {"entries": [OURS], "root": False}, "EPERM", "only root may ask"),
        ("set", {"entries": [OURS], "null": "args"}, "EFAULT", "the pointer 'args' is null"),
        ("set", {"entries": [OURS], "null": "count"}, "EFAULT", "the pointer 'count' is null"),
        ("set", {"entries": [OURS], "null": "table"}, "EFAULT", "the pointer 'table' is null"),
        ("set", {"entries": [OURS] * 105}, "EINVAL", "n is 105, and one call sets at most 104 "),
        ("set", {"entries": [], "abi": 32}, "EINVAL", "n is 0, and has to be 1 to 104 in a 32-bit"),
        ("get", {"n": 105, "abi": 32}, "EINVAL", "n is 105, and has to be 1 to 104 in a 32-bit"),
        ("get", {"n": 104, "root": False}, "EPERM", "only root may ask"),
    ],
)
async def test_what_is_refused_before_any_entry_has_set_none(
    op: str, args: dict[str, Any], errno: str, why: str
) -> None:
    async with Hub([NETBSD], arches=load_arches()) as hub, await hub.open("pc:/dev/mem") as memory:
        with pytest.raises(DeviceError) as refused:
            await memory.call_kernel(op, **args)

        assert (refused.value.code.name, refused.value.moved) == (errno, 0)
        assert refused.value.reason.startswith(f"NetBSD answers {errno} to {op}: {why}")


async def test_what_a_32_bit_call_has_set_is_told_though_its_count_is_0() -> None:
    async with Hub([NETBSD], arches=load_arches()) as hub, await hub.open("pc:/dev/mem") as memory:
        with pytest.raises(DeviceError, match="; 1 set before") as refused:
            await memory.call_kernel("set", entries=[OURS, [1, 2, 3, VALID, 0]], abi=32)

        assert refused.value.moved == 1
        assert OURS[:4] in [it[:4] for it in (await memory.call_kernel("get", n=104))["entries"]]


@pytest.mark.parametrize(
    ("arch", "entry", "errno", "why"),
    [
        (
            I686,
            [0xD0000000, 0, 1, VALID, 0],
            "EINVAL",
            "0xd0000000/0x0 WC: base and length are mul",
        ),
        (
            I686,
            [SCREEN, 4096, 7, VALID, 0],
            "EINVAL",
            "type 7: the types are 0 (UC), 1 (WC), 4 (WT)",
        ),
        (I686, [1 << 20, 4096, 1, 6, 0], "EINVAL", "to be fixed, and fixed ranges end at 0x100000"),
        (
            I686,
            [0x81000, 4096, 1, 6, 0],
            "EINVAL",
            "0x81000 is amid one: fixed ranges begin there at",
        ),
        (
            K6,
            [0x1000, 1 << 20, 1, VALID, 0],
            "EINVAL",
            "base is a multiple of 0x20000, and length a",
        ),
        (K6, [SCREEN, 1 << 20, 6, VALID, 0], "EINVAL", "WB: the types are 0 (UC), 1 (WC), 4 (WT)"),
    ],
)
async def test_a_refusal_names_the_entry_the_value_and_the_rule(
    arch: str, entry: list[int], errno: str, why: str
) -> None:
    spec = MachineSpec(name="pc", arch=arch, kernel="netbsd-7")
    async with Hub([spec], arches=load_arches()) as hub, await hub.open("pc:/dev/mem") as memory:
        with pytest.raises(DeviceError) as refused:
            await memory.call_kernel("set", entries=[entry])

        assert refused.value.code.name == errno
        assert refused.value.reason.startswith(f"NetBSD answers {errno} to set: entry 0, ")
        assert why in refused.value.reason


async def test_a_busy_refusal_names_the_process_that_holds_a_fixed_range() -> None:
    fixed = [0xA0000, 0x4000, 1, 2 | PRIVATE | VALID, 0]
    async with Hub([NETBSD], arches=load_arches()) as hub, hub.process("a") as one:
        mine = await one.open("pc:/dev/mem")
        await mine.call_kernel("set", entries=[fixed])
        why = f"fixed range 16, 0xa0000/0x4000 WC, is private to process {one.principal.id}"
        async with await hub.open("pc:/dev/mem") as theirs:
            with pytest.raises(RangeBusy, match=why):
                await theirs.call_kernel("set", entries=[fixed])


async def test_a_busy_refusal_names_the_range_in_the_way_or_says_that_none_is_free() -> None:
    async with Hub([NETBSD], arches=load_arches()) as hub, await hub.open("pc:/dev/mem") as memory:
        await memory.call_kernel("set", entries=[OURS])
        inside = [SCREEN, 1 << 20, 6, VALID, 0]
        with pytest.raises(
            RangeBusy, match="it overlaps range 95, 0xd0000000/0x1000000 WC; ranges"
        ):
            await memory.call_kernel("set", entries=[inside])

        await memory.call_kernel(
            "set", entries=[[0x40000000 + (it << 24), 1 << 24, 1, VALID, 0] for it in range(7)]
        )
        with pytest.raises(RangeBusy, match="all 8 ranges that can lie anywhere are in use"):
            await memory.call_kernel("set", entries=[[0x60000000, 1 << 24, 1, VALID, 0]])
