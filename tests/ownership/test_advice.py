"""ENOSPC says what would free a slot: doing it frees one, and every address keeps its type."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memhub import AuditLog, Cpu, DeviceError, Hub, MachineSpec, connect
from memhub.core.drivers.driver import RangeState
from memhub.errors import NoSpace
from memhub.service.server import Server
from memhub.service.settings import ServiceConfig
from memhub_amd64_mtrr import AMD64_MTRR
from mtrrcases import GIB, MIB, UC, WB, WC, WT, driver, firmware, pair

if TYPE_CHECKING:
    from pathlib import Path

    from memhub import Handle

BLOCK = 16 * MIB
START = 3 * GIB
TYPES = {"uncacheable": UC, "write-combine": WC, "write-through": WT, "write-back": WB}
FREES = re.compile(
    r"; slots? (?P<slots>[\d, and]+?) (?:can be (?P<count>\w+)(?P<put>, .*)?: frees \w+"
    r"|decides no address's type: removing it frees one)(?P<but>, but .*)?$"
)
PUT = re.compile(r"(0x[0-9a-f]+)/(0x[0-9a-f]+) \(([a-z-]+)\)")


def machine(arch: str = "amd64-mtrr", count: int = 4, default: int = 0) -> MachineSpec:
    return MachineSpec(
        name="pc", arch=arch, cpu=Cpu(phys_bits=36), msrs=firmware(count=count, default=default)
    )


async def refusal(handle: Handle, base: int, length: int, type_: int) -> str:
    with pytest.raises(NoSpace) as refused:
        await handle.set_range(base, length, type_)

    return refused.value.reason


async def types_of(handle: Handle) -> list[int]:
    """The type of each block of the first 4 GiB."""
    found: list[int] = (await handle.explain_array(range(0, 4 * GIB, BLOCK))).tolist()

    return found


async def follow(handle: Handle, reason: str) -> bool:
    """Do what a refusal advises; False where it advises nothing."""
    found = FREES.search(reason)
    if found is None:
        assert reason.endswith(("no fewer ranges give these types", "no way to save one was found"))
        return False

    rows = await handle.ranges()
    slots = [int(it) for it in re.findall(r"\d+", found["slots"])]
    put = PUT.findall(found["put"] or "")
    assert len(put) < len(slots)
    for slot in slots:
        await handle.remove_range(rows[slot].mr_base, rows[slot].mr_len)

    for base, length, words in put:
        await handle.set_range(int(base, 16), int(length, 16), TYPES[words])

    return True


async def test_two_neighbours_can_be_one() -> None:
    async with Hub([machine(count=3)]) as hub:
        handle = await hub.open("/dev/mem")
        for base in (START, START + 4 * BLOCK, START + BLOCK):
            await handle.set_range(base, BLOCK, WC, owner="screen")

        reason = await refusal(handle, 0, GIB, WB)
        assert reason.endswith(
            "remove one first; slots 0 and 2 can be one, 0xc0000000/0x2000000 (write-combine): "
            "frees one"
        )
        assert await follow(handle, reason)
        await handle.set_range(0, GIB, WB)


async def test_a_range_that_decides_nothing_can_go() -> None:
    async with Hub([machine(count=2)]) as hub:
        handle = await hub.open("/dev/mem")
        await handle.set_range(0, GIB, WB)
        await handle.set_range(256 * MIB, BLOCK, WB)

        reason = await refusal(handle, START, BLOCK, WC)
        assert reason.endswith("; slot 1 decides no address's type: removing it frees one")


async def test_a_map_that_needs_all_its_ranges_is_told_so() -> None:
    async with Hub([machine(count=2)]) as hub:
        handle = await hub.open("/dev/mem")
        await handle.set_range(0, GIB, WB)
        await handle.set_range(START, BLOCK, WC)

        reason = await refusal(handle, 2 * GIB, BLOCK, WC)
        assert reason.endswith("; nothing can be saved: no fewer ranges give these types")


async def test_ranges_that_no_pair_saves_are_planned_anew() -> None:
    """Three write-back ranges of four quarters are one, with a hole."""
    async with Hub([machine(count=3)]) as hub:
        handle = await hub.open("/dev/mem")
        for base in (0, 1, 3):
            await handle.set_range(base * BLOCK + GIB, BLOCK, WB)

        reason = await refusal(handle, START, BLOCK, WC)
        assert "can be one" in reason
        for base in (0,):
            await handle.remove_range(base * BLOCK + GIB, BLOCK)

        await handle.set_range(GIB + 4 * BLOCK, 4 * BLOCK, WB)
        reason = await refusal(handle, START, BLOCK, WC)
        assert reason.endswith("no fewer ranges give these types")


async def test_what_another_holds_is_named_with_its_holder() -> None:
    async with Hub([machine(count=2)]) as hub:
        one = await hub.process("viewer").open("/dev/mem")
        other = await hub.process("driver").open("/dev/mem")
        await one.set_range(START, BLOCK, WC)
        await other.set_range(START + BLOCK, BLOCK, WC)

        reason = await refusal(one, 0, GIB, WB)
        assert reason.endswith(": frees one, but slot 1 is held by driver")
        other.close()
        assert (await refusal(one, 0, GIB, WB)).endswith(": frees one")


async def test_a_way_over_bytes_that_another_has_claimed_is_not_advised() -> None:
    """Without its range, the claimed bytes would have another type for a moment."""
    async with Hub([machine(count=3)]) as hub:
        one = await hub.process("viewer").open("/dev/mem")
        other = await hub.process("driver").open("/dev/mem")
        for base in (START, START + BLOCK):
            await one.set_range(base, BLOCK, WC)

        await other.set_range(2 * GIB, BLOCK, WC)
        await one.release(START, BLOCK)
        await other.claim(START, 4096)
        reason = await refusal(one, 0, GIB, WB)
        assert reason.endswith("; no way to save one was found")


async def test_what_is_not_the_matter_of_a_slot_says_nothing_of_it() -> None:
    async with Hub([machine(count=1)]) as hub:
        handle = await hub.open("/dev/mem")
        await handle.set_range(0, GIB, WB)
        with pytest.raises(DeviceError) as refused:
            await handle.set_range(0, 3, WB)

        assert "save" not in refused.value.reason


@pytest.mark.parametrize(
    ("apart", "told"),
    [
        (2, ": remove one first"),
        (1, "; slots 0 and 1 can be one, 0xc0000000/0x1000000 (write-combine): frees one"),
    ],
)
async def test_many_slots_are_searched_for_neighbours_only(apart: int, told: str) -> None:
    size = BLOCK // 2
    pairs = [pair(START + it * apart * size, size, 1) for it in range(40)]
    spec = MachineSpec(
        name="pc", arch="i386", cpu=Cpu(phys_bits=36), msrs=firmware(*pairs, count=40)
    )
    async with Hub([spec]) as hub:
        handle = await hub.open("/dev/mem")
        assert (await refusal(handle, 0, BLOCK, WB)).endswith(told)


async def test_ranges_of_any_size_are_joined() -> None:
    """The page attributes of amd64 need no powers of two, and nothing is proved of them."""
    spec = MachineSpec(name="pc", arch="amd64", cpu=Cpu(phys_bits=36), options={"slots": 3})
    async with Hub([spec]) as hub:
        handle = await hub.open("/dev/mem")
        for base, length in ((START, 3), (START + 3 * 4096, 4), (START + GIB // 2, 1)):
            await handle.set_range(base, length * 4096, WC)

        reason = await refusal(handle, 0, BLOCK, UC)
        assert reason.endswith(
            "; slots 0 and 1 can be one, 0xc0000000/0x7000 (write-combine): frees one"
        )
        assert await follow(handle, reason)
        await handle.set_range(0, BLOCK, UC)
        reason = await refusal(handle, BLOCK, BLOCK, WC)
        assert reason.endswith("; no way to save one was found")


async def test_the_log_and_a_client_of_the_service_see_the_advice(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path / "audit.jsonl")
    path = tmp_path / "socket"
    async with (
        Hub([machine(count=1)], log=log) as hub,
        Server(hub, ServiceConfig(), socket_path=path, grace=0.1),
        connect(path) as client,
    ):
        handle = await client.open("/dev/mem")
        await handle.set_range(START, BLOCK, WC)
        with pytest.raises(NoSpace) as refused:
            await handle.set_range(0, GIB, WB)

    told = refused.value.reason
    assert told.endswith("; nothing can be saved: no fewer ranges give these types")
    rows = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert told in [row.get("reason") for row in rows]


REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(0, 3),
        st.integers(0, 15),
        st.sampled_from([UC, WC, WB, WB, WT]),
    ),
    min_size=6,
    max_size=24,
)
ARCHES = ["i386", "amd64", "amd64-mtrr", "openbsd-amd64", "openbsd-i386", "dragonfly"]


@pytest.mark.parametrize("arch", ARCHES)
@given(requests=REQUESTS, count=st.integers(2, 6), default=st.sampled_from([0, 0, 6]))
@settings(max_examples=25, deadline=None)
def test_doing_what_is_advised_frees_a_slot_and_keeps_every_type(
    arch: str, requests: list[tuple[int, int, int, int]], count: int, default: int
) -> None:
    async def run() -> None:
        async with Hub([machine(arch, count, default)]) as hub:
            files = [await hub.process(name).open("/dev/mem") for name in ("one", "other")]
            for who, bits, at, type_ in requests:
                length = BLOCK << bits
                base = START + at * BLOCK // length * length
                try:
                    await files[who].set_range(base, length, type_)
                except NoSpace as error:
                    before = await types_of(files[who])
                    if "held by" in error.reason or not await follow(files[who], error.reason):
                        continue

                    assert await types_of(files[who]) == before
                    await files[who].set_range(base, length, type_)
                except DeviceError:
                    continue

    anyio.run(run)


@pytest.mark.parametrize("arch", ["k6", "powerpc", "openbsd-k6"])
@given(requests=REQUESTS)
@settings(max_examples=25, deadline=None)
def test_other_hardware_gets_advice_that_holds(
    arch: str, requests: list[tuple[int, int, int, int]]
) -> None:
    async def run() -> None:
        async with Hub([MachineSpec(name="old", arch=arch)]) as hub:
            handle = await hub.open("/dev/mem")
            for _, bits, at, type_ in requests:
                length = BLOCK << bits
                base = START + at * BLOCK // length * length
                try:
                    await handle.set_range(base, length, type_)
                except NoSpace as error:
                    before = await types_of(handle)
                    if await follow(handle, error.reason):
                        assert await types_of(handle) == before
                        await handle.set_range(base, length, type_)
                except DeviceError:
                    continue

    anyio.run(run)


def map_of(ranges: tuple[tuple[int, int, int], ...]) -> list[Any]:
    """The types of four blocks under some ranges, by the driver."""
    bytes_of = {UC: 0, WC: 1, WB: 6}
    pairs = [pair(START + at * BLOCK, size * BLOCK, bytes_of[it]) for at, size, it in ranges]
    state = RangeState((), firmware(*pairs, count=4))
    types = driver(AMD64_MTRR).types(state)

    return [types.at(START + it * BLOCK) for it in range(-1, 5)]


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([UC, WC, WB])), max_size=8))
@settings(max_examples=25, deadline=None)
def test_nothing_can_be_saved_where_no_fewer_ranges_give_the_map(
    wanted: list[tuple[int, int]],
) -> None:
    """Every set of two ranges is tried against a table of three."""
    blocks = [(0, 1), (1, 1), (2, 1), (3, 1), (0, 2), (2, 2), (0, 4)]

    async def run() -> tuple[str, list[tuple[int, int, int]]]:
        async with Hub([machine(count=3)]) as hub:
            handle = await hub.open("/dev/mem")
            for number, type_ in wanted:
                at, size = blocks[number]
                try:
                    await handle.set_range(START + at * BLOCK, size * BLOCK, type_)
                except NoSpace as error:
                    rows = await handle.ranges()
                    return error.reason, [
                        ((it.mr_base - START) // BLOCK, it.mr_len // BLOCK, it.mr_flags & 0x3F)
                        for it in rows
                    ]
                except DeviceError:
                    continue

            return "", []

    reason, rows = anyio.run(run)
    if reason.endswith("no fewer ranges give these types"):
        singles = [(*it, type_) for it in blocks for type_ in (UC, WC, WB)]
        for fewer in itertools.chain(
            [()], itertools.combinations(singles, 1), itertools.combinations(singles, 2)
        ):
            assert map_of(tuple(fewer)) != map_of(tuple(rows)), fewer
