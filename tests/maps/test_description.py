"""The pieces of a map are all addresses, each with what the machine answers for it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maps.map_strategies import address_maps, few, map_of, shipped
from memhub import Hub, Region
from memhub.abi import MDF_WRITECOMBINE
from memhub.audit import AuditLog, read_records
from memhub.audit.history.travel import Travel
from memhub.config import load_config
from memhub.core.health.failure import Failure
from memhub.core.machine import Machine
from memhub.core.ranges.slot_extents import extent_of
from memhub.core.spec import MachineSpec
from memhub.device_kinds import DeviceBook
from memhub.machines import load, pc
from memhub.maps import AddressMap, Piece, describe_map, map_at_start
from memhub.maps.address_map import reduce_pieces
from memhub.maps.describe import view_map
from memhub.service.local import LocalClient
from ownership.rig import ARCHES
from pages.page_blocks import ROOT
from value.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path


def check_whole(machine: Machine) -> AddressMap:
    """Every piece against the machine itself, at its ends and in its middle."""
    it = describe_map(machine)
    check_partition(list(it.pieces), machine.memory.top)
    table = machine.table
    for piece in it.pieces:
        for address in {piece.base, (piece.base + piece.end) // 2, piece.end - 1}:
            check_address(machine, piece, address)

    used = set() if table is None else {n for n in range(len(table)) if extent_of(table, n)}
    assert {n for s in it.slots for n in range(s.first, s.last + 1)} == used
    assert AddressMap.of_facts(json.loads(json.dumps(it.facts()))) == it
    view = {k: list(v) if isinstance(v, map) else v for k, v in view_map(machine).items()}
    assert view.items() <= it.facts().items()

    return it


def check_partition(pieces: list[Piece], end: int) -> None:
    assert (pieces[0].base, pieces[-1].end) == (0, end)
    assert all(one.end == other.base for one, other in pairwise(pieces))
    assert all(piece.length > 0 for piece in pieces)


def check_address(machine: Machine, piece: Piece, address: int) -> None:
    table = machine.table
    if table is None:
        assert piece.type is None
    else:
        assert table.types.at(address) in piece.types
        covering = {n for n in range(len(table)) if address in extent_of(table, n)}
        assert covering <= set(piece.slots)
        if not piece.also:
            assert piece.implementation_defined == table.types.implementation_defined(address)

    kinds = [it.kind for it in machine.spec.memory if it.base <= address < it.base + it.length]
    places = [(it.base, it.end) for it in machine.memory.windows]
    places += [(it.base, it.end) for it in machine.devices]
    answering = [place for place in places if place[0] <= address < place[1]]
    beside = "hole" if machine.spec.memory else "untold"
    assert piece.kind == ("device" if answering else kinds[0] if kinds else beside)


@pytest.mark.parametrize("spec", shipped(), ids=lambda it: it.name)
def test_the_map_of_a_shipped_machine_says_what_the_machine_does(spec: MachineSpec) -> None:
    machine = Machine.make(spec, ARCHES[spec.arch])
    check_whole(machine)
    machine.close()


@pytest.mark.parametrize("arch", ["amd64", "amd64-mtrr", "i386", "k6", "powerpc"])
def test_the_map_of_a_machine_in_use_says_what_it_holds(arch: str) -> None:
    traffic = Traffic(arch, 11, latency=1.0)
    for _ in range(40):
        traffic.step()
        machine = traffic.machine
        it = check_whole(machine)
        held = {slot for claim in machine.claims.claims.values() for slot in claim.slots}
        held |= {slot for commit in machine.commits for slot in commit.wrote}
        busy = {n for s in it.slots if s.busy for n in range(s.first, s.last + 1)}
        assert busy == held & {n for s in it.slots for n in range(s.first, s.last + 1)}
        assert busy <= {n for piece in it.pieces if piece.busy for n in piece.slots}


class Card:
    name = "vga"

    async def read(self, offset: int, size: int) -> bytes:
        return bytes(size)

    async def write(self, offset: int, data: bytes) -> None:
        pass


def test_a_device_stands_over_the_hole_and_is_named() -> None:
    machine = Machine.make(pc(), ARCHES["i386"])
    machine.memory.map_mmio(0xA0000, 0x10000, Card())
    it = check_whole(machine)
    found = [(p.base, p.end, p.kind, p.device) for p in it.pieces if 0x90000 < p.end <= 0xC0000]

    assert found == [
        (0, 0xA0000, "ram", ""),
        (0xA0000, 0xB0000, "device", "vga"),
        (0xB0000, 0xC0000, "hole", ""),
    ]
    machine.close()


def test_declared_devices_are_named_also_where_a_log_makes_the_machine_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = load_config(ROOT / "configs" / "devices.toml").machines["pc"]
    first = map_at_start(spec)
    with AuditLog.open(tmp_path / "a.jsonl") as log, LocalClient([spec], log=log) as client:
        check_whole(client.machines["pc"])
        begun = log.seq

    with Travel(tmp_path / "a.jsonl").rebuilder() as rebuilder:
        for record in read_records(tmp_path / "a.jsonl"):
            if record["seq"] <= begun:
                rebuilder.read(record)

        again = describe_map(rebuilder.machines["pc"])
        monkeypatch.setattr("memhub.device_kinds.load_device_kinds", lambda: DeviceBook({}))
        unknown = describe_map(rebuilder.machines["pc"])

    assert [it.device for it in first.pieces if it.device] == ["vga", "card", "com1"]
    assert again.pieces == first.pieces
    assert unknown.notes[0].startswith("devices are not shown: devices.vga")


async def test_a_range_that_is_set_has_its_owner_and_its_holder() -> None:
    async with Hub([pc()]) as hub, hub.process("rig-a") as rig:
        handle = await rig.open("/dev/mem", "r+")
        await handle.set_range(0xD0000000, 32 << 20, MDF_WRITECOMBINE, owner="Xorg")
        it = describe_map(hub.machines["pc"])

    (piece,) = (p for p in it.pieces if p.base == 0xD0000000)
    assert (piece.type, piece.length, piece.busy, it.owners(piece)) == (
        "WC", 32 << 20, ("rig-a",), ("Xorg",),
    )  # fmt: skip


def test_masks_with_holes_are_one_piece_with_all_their_types() -> None:
    """A mask whose lowest bit alone counts makes half a million stretches of 4 KiB in 4 GiB."""
    msrs = {0x2FF: 0xC06, 0x200: 0x0, 0x201: 0x800 | 0x1000, 0xFE: 0x508}
    spec = MachineSpec(
        arch="amd64-mtrr", cpu=load("acer").cpu, msrs=msrs, memory=(Region(base=0, length=1 << 20),)
    )
    pieces = map_of(spec).pieces

    assert len(pieces) < 10
    assert {frozenset(p.types) for p in pieces if p.also} == {frozenset({"WB", "UC"})}


def test_another_kernel_has_its_own_ranges_and_no_slots_of_page_attributes() -> None:
    it = map_at_start(MachineSpec(name="lin", arch="amd64", kernel="linux-6.18"))
    assert [(slot.first, slot.base, slot.end, slot.type) for slot in it.slots] == [
        (0, 0, 1 << 30, "WB")
    ]
    alike = map_at_start(MachineSpec(name="lin", arch="amd64-mtrr", kernel="linux-6.18"))
    assert it.slot_count == alike.slot_count == 8


def test_a_driver_that_fails_leaves_a_map_without_types(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine.make(load("acer"), ARCHES["amd64-mtrr"])
    assert machine.table is not None

    def fail(*_: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(type(machine.table.driver.raw), "types", fail)
    it = describe_map(machine, ["seen"])

    assert [piece.type for piece in it.pieces] == [None]
    assert it.notes[0] == "seen"
    assert "types and slots are not known" in it.notes[1]
    failures = machine.table.driver.failures
    machine.failed = Failure("too often", failures, 0)
    assert describe_map(machine).notes == ("types and slots are not known: too often",)
    assert machine.table.driver.failures == failures
    machine.close()


@few
@given(address_maps(), st.integers(1, 30))
def test_a_map_is_reduced_without_losing_an_address_a_type_or_a_holder(
    it: AddressMap, most: int
) -> None:
    pieces, summed = reduce_pieces(it.pieces, most)

    assert len(pieces) == min(most, len(it.pieces))
    assert summed == len(it.pieces) - sum(piece in it.pieces for piece in pieces)
    check_partition(pieces, it.end)
    for piece in pieces:
        within = [p for p in it.pieces if piece.base <= p.base < piece.end]
        assert set(piece.types) == {name for p in within for name in p.types}
        assert set(piece.slots) == {slot for p in within for slot in p.slots}
        assert set(piece.busy) == {who for p in within for who in p.busy}


@few
@given(address_maps())
def test_a_map_is_the_same_after_json(it: AddressMap) -> None:
    assert AddressMap.of_facts(json.loads(json.dumps(it.facts()))) == it
