"""One record for each request, in the order of effect, and machines rebuilt from them alone.

Each `lab` ends by rebuilding every machine's table and registers from its log, so the random
traffic here is a test of that too.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub.abi import (
    LP64,
    MDF_ATTRMASK,
    MDF_FORCE,
    MDF_UNCACHEABLE,
    MDF_WRITECOMBINE,
)
from memhub.audit import read_records, verify
from memhub.errors import DeviceError, UnknownIoctl
from shell.kit import MTRR, PAT, SPECS, M, check_log, desc, lab, op, rebuilt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from memhub import Handle

WC = MDF_WRITECOMBINE

#: A request, the events it leaves, and the fields that say what it was.
REQUESTS: dict[str, tuple[Callable[[Handle], Awaitable[Any]], str, dict[str, Any]]] = {
    "read": (lambda h: h.read(5), "request.read", {"op": "read", "base": 0, "moved": 5}),
    "pread": (lambda h: h.pread(5, 7), "request.read", {"op": "pread", "base": 7, "length": 5}),
    "write": (lambda h: h.write(b"ab"), "request.write", {"op": "write", "base": 0, "moved": 2}),
    "pwrite": (lambda h: h.pwrite(b"ab", 7), "request.write", {"op": "pwrite", "base": 7}),
    "count": (
        lambda h: h.ioctl(LP64.get, op(LP64, 0)),
        "request.get",
        {"op": "count", "count": 0},
    ),
    "list": (lambda h: h.ioctl(LP64.get, op(LP64, 3)), "request.get", {"op": "list", "count": 3}),
    "update": (
        lambda h: h.set_range(64 * M, M, WC, owner="xorg"),
        "request.set",
        {
            "op": "update",
            "owner": "xorg",
            "base": 64 * M,
            "length": M,
            "attributes": ["write-combine"],
            "flags": WC,
        },
    ),
    "ioctl": (
        lambda h: h.ioctl(LP64.set[1], op(LP64, 0), desc(LP64, 64 * M, M, WC, b"12345678")),
        "request.set",
        {"op": "update", "owner": "1234567"},
    ),
    "unknown": (lambda h: h.ioctl(7, b""), "request.ioctl", {"ioctl": 7, "errno": "ENOTTY"}),
    "claim": (lambda h: h.claim(1, 2), "claim.take", {"base": 1, "length": 2, "errno": None}),
}


@pytest.mark.parametrize(("request_", "event", "fields"), REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("machine", ["pat", "mtrr"])
async def test_a_request_leaves_one_record_that_says_what_it_was(
    tmp_path: Path,
    machine: str,
    request_: Callable[[Handle], Awaitable[Any]],
    event: str,
    fields: dict[str, Any],
) -> None:
    async with lab(tmp_path, PAT, MTRR) as rig:
        process = rig.hub.process("me", pid=3, uid=4)
        async with await process.open(f"{machine}:/dev/mem", "r+") as handle:
            rig.news()
            with suppress(UnknownIoctl):
                await request_(handle)

            (record,) = rig.news()

    arch = {"pat": "amd64", "mtrr": "amd64-mtrr"}[machine]
    who = {"machine": machine, "arch": arch, "process": "me", "pid": 3, "uid": 4, "handle": 1}
    assert record["event"] == event
    assert record.items() >= {"device": "/dev/mem", **who}.items()
    assert {key: record[key] for key in fields} == fields


async def test_a_set_record_holds_each_slot_before_and_after_and_the_registers(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, MTRR) as rig, await rig.hub.open("/dev/mem") as handle:
        before = await handle.ranges()
        rig.news()
        outcome = await handle.set_range(64 * M, M, WC)
        after = await handle.ranges()
        record = rig.news()[0]

    (slot,) = record["slots"]
    assert outcome.slots == (slot,)
    for side, table in (("before", before), ("after", after)):
        row = [record[f"{side}_{name}"][0] for name in ("base", "length", "flags")]
        assert row == [table[slot].mr_base, table[slot].mr_len, table[slot].mr_flags]

    assert record["claimed"] == [slot]
    assert record["msrs"] == [0x200 + 2 * (slot - 88), 0x201 + 2 * (slot - 88)]
    assert record["after_msr"] == [64 * M | 1, 0xFFFF00800]


async def test_records_stand_in_the_order_of_effect(tmp_path: Path) -> None:
    """Where one request sets another free, its own record comes first."""
    async with lab(tmp_path, PAT) as rig:
        holder = await rig.hub.process("holder").open("/dev/mem")
        waiter = await rig.hub.process("waiter").open("/dev/mem")
        await holder.set_range(0, 4096, WC)
        rig.news()
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: waiter.set_range(0, 4096, MDF_UNCACHEABLE, wait=9))
                await anyio.wait_all_tasks_blocked()
                await holder.remove_range(0, 4096)

        events = [(r["event"], r["process"]) for r in rig.news()]
        assert events == [
            ("wait.begin", "waiter"),
            ("request.set", "holder"),
            ("wait.end", "waiter"),
            ("request.set", "waiter"),
        ]
        holder.close()
        waiter.close()


async def traffic(handle: Handle, dice: random.Random, requests: int) -> int:
    """Random range requests and transfers; how many reached the device."""
    for _ in range(requests):
        unit = dice.choice([0x1000, 0x4000, 0x20000, M])
        base, length = dice.randrange(16) * unit, unit * dice.choice([1, 1, 1, 2, 3])
        attribute = 1 << dice.randrange(5) | dice.choice([0, 0, 0, MDF_FORCE])
        try:
            match dice.randrange(8):
                case 0 | 1 | 2 | 3:
                    await handle.set_range(base, length, attribute, owner=f"o{unit >> 12}")
                case 4 | 5:
                    tables = await handle.ranges()
                    row = dice.choice([d for d in tables if d.mr_flags & MDF_ATTRMASK] or tables)
                    await handle.remove_range(row.mr_base, row.mr_len)
                case 6:
                    await handle.release(base, length)
                case 7:
                    await handle.pread(9, base)
        except DeviceError:
            pass

    return requests


@pytest.mark.parametrize("seed", range(4))
async def test_the_log_alone_rebuilds_every_machine_after_random_traffic(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    async with lab(tmp_path, *SPECS) as rig:
        for _ in range(3):
            processes = [rig.hub.process() for _ in range(3)]
            handles = [
                await process.open(f"{spec.name}:/dev/mem", undo=dice.random() < 0.5)
                for process in processes
                for spec in SPECS
            ]
            async with anyio.create_task_group() as tasks:
                for handle in handles:
                    tasks.start_soon(traffic, handle, dice, 12)

            for process in processes:
                process.close()

        tables = {name: m.table for name, m in rig.hub.machines.items()}
        states = rebuilt(read_records(rig.path))
        for name, table in tables.items():
            slots = list(table.state.slots) if table is not None else []
            assert states[name][0] == slots, name

    events = [record["event"] for record in read_records(rig.path)]
    assert events.count("undo") > 0
    assert events.count("request.set") > 500


async def test_the_chain_continues_over_restarts_and_notices_a_changed_byte(
    tmp_path: Path,
) -> None:
    for run in range(3):
        async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem") as handle:
            await handle.set_range(run << 20, 4096, WC)

    seqs = [record["seq"] for record in read_records(rig.path)]
    assert seqs == list(range(1, len(seqs) + 1))
    text = rig.path.read_bytes()
    rig.path.write_bytes(text.replace(b'"base":1048576', b'"base":1048577', 1))
    verdict = verify(rig.path)
    assert not verdict.ok
    assert verdict.broken is not None
    assert verdict.broken.kind == "hash"


@pytest.mark.parametrize("busy", [False, True], ids=["free", "taken"])
async def test_waiting_for_a_free_range_is_recorded_in_the_schemas_terms(
    tmp_path: Path, busy: bool
) -> None:
    async with lab(tmp_path, PAT) as rig:
        holder = await rig.hub.process("holder").open("/dev/mem")
        waiter = await rig.hub.process("waiter").open("/dev/mem")
        if busy:
            await holder.claim(0, 4096)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(waiter.wait_free, 0, 4096, 9)
                await anyio.wait_all_tasks_blocked()
                holder.close()

        waiter.close()

    check_log(tmp_path / "audit.jsonl")
