"""MEM_EXTRACT_PADDR: the physical address behind a kernel virtual one, on every face."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest

from kvm.kernel_rig import APART, BASE, MAPPINGS, NOTHING
from memhub import AuditLog, Hub, KernelMapping, MachineSpec, Region
from memhub.abi import (
    ME_STATE_INVALID,
    ME_STATE_MAPPED,
    ME_STATE_VALID,
    MEM_EXTRACT,
    MEM_EXTRACT_PADDR,
)
from memhub.audit import read_records
from memhub.core.spec import KernelEntry
from memhub.errors import BadAddress, UnknownIoctl
from memhub.service.blocking import BlockingClient
from memhub.service.local import LocalClient
from service.served import served
from service.service_rig import lab

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

DIRECT = 0xFFFFF80000000000
ZERO = NOTHING + 0x10000


def machine(name: str = "pc", **more: Any) -> MachineSpec:
    given = {
        "options": {"release": "14"},
        "kmem": (*MAPPINGS, KernelMapping(virtual=ZERO, physical=0, length=0x1000)),
        "memory": (Region(base=0, length=16 << 20),),
        "msrs": {},
        **more,
    }

    return MachineSpec(name=name, arch="amd64", **given)


PAD = bytes(range(40))


def asked(address: int) -> bytes:
    return MEM_EXTRACT.pack(address, 0x1111, 22, 33, PAD)


#: Address to state, physical address and domain; what stays as it was is what was asked with.
ANSWERS = {
    BASE: (ME_STATE_MAPPED, 0x200000, 0),
    APART + 0x123: (ME_STATE_MAPPED, 0x300123, 0),
    DIRECT + 0x5008: (ME_STATE_MAPPED, 0x5008, 0),
    ZERO: (ME_STATE_VALID, 0, 22),
    ZERO + 1: (ME_STATE_MAPPED, 1, 0),
    NOTHING: (ME_STATE_INVALID, 0x1111, 22),
    0x1000: (ME_STATE_INVALID, 0x1111, 22),
    (1 << 64) - 1: (ME_STATE_INVALID, 0x1111, 22),
}


def told(address: int) -> bytes:
    state, physical, domain = ANSWERS[address]

    return MEM_EXTRACT.pack(address, physical, domain, state, PAD)


def test_the_number_is_what_the_macro_makes() -> None:
    assert MEM_EXTRACT.size == struct.calcsize("QQii5Q") == 64
    assert 0xC0000000 | 64 << 16 | ord("m") << 8 | 52 == MEM_EXTRACT_PADDR


@pytest.mark.parametrize("device", ["mem", "kmem"])
async def test_an_address_is_invalid_valid_or_mapped(device: str) -> None:
    async with Hub([machine()]) as hub, await hub.open(f"/dev/{device}") as file:
        for address in ANSWERS:
            reply = await file.ioctl(MEM_EXTRACT_PADDR, asked(address))
            assert (reply.op, reply.descs) == (told(address), b"")
            assert file.ioctl_nowait(MEM_EXTRACT_PADDR, asked(address)) == reply


async def test_a_map_entry_without_a_page_is_valid_and_a_page_without_one_invalid() -> None:
    spec = machine(
        kmem_entries=(
            KernelEntry(virtual=BASE, length=0x1000),
            KernelEntry(virtual=NOTHING, length=0x1000),
        )
    )
    async with Hub([spec]) as hub, await hub.open("/dev/mem") as mem:
        states = []
        for address in (BASE, NOTHING, APART):
            reply = await mem.ioctl(MEM_EXTRACT_PADDR, asked(address))
            states.append(MEM_EXTRACT.unpack(reply.op)[1:4])

    assert states == [
        (0x200000, 0, ME_STATE_MAPPED),
        (0, 22, ME_STATE_VALID),
        (0x1111, 22, ME_STATE_INVALID),
    ]


async def test_the_per_process_area_of_i386_is_valid_and_has_no_address() -> None:
    spec = MachineSpec(
        name="old",
        arch="i386",
        msrs={},
        options={"release": "14"},
        memory=(Region(base=0, length=16 << 20),),
    )
    async with Hub([spec]) as hub, await hub.open("/dev/mem") as mem:
        reply = await mem.ioctl(MEM_EXTRACT_PADDR, asked(0xEFFFF000))

    assert MEM_EXTRACT.unpack(reply.op)[1:4] == (0, 22, ME_STATE_VALID)


@pytest.mark.parametrize("arch", ["amd64", "i386", "arm64", "powerpc", "openbsd-amd64"])
async def test_a_kernel_older_than_13_does_not_know_it(arch: str, tmp_path: Path) -> None:
    spec = MachineSpec(name="old", arch=arch)
    with AuditLog.open(tmp_path / "log") as log:
        async with Hub([spec], log=log) as hub, await hub.open("/dev/mem") as mem:
            with pytest.raises(UnknownIoctl, match="is of FreeBSD 13 and later, and old is"):
                await mem.ioctl(MEM_EXTRACT_PADDR, asked(0))

    (record,) = (it for it in read_records(tmp_path / "log") if it["event"] == "request.ioctl")
    assert (record["ioctl"], record["errno"]) == (MEM_EXTRACT_PADDR, "ENOTTY")


async def test_a_buffer_of_another_size_is_efault() -> None:
    async with Hub([machine()]) as hub, await hub.open("/dev/mem") as mem:
        with pytest.raises(BadAddress, match="a mem_extract is 64 bytes, not 16"):
            await mem.ioctl(MEM_EXTRACT_PADDR, bytes(16))


async def test_the_log_has_what_was_asked_and_found(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "log") as log:
        async with Hub([machine()], log=log) as hub, await hub.open("/dev/mem") as mem:
            for address in (APART, ZERO, NOTHING):
                await mem.ioctl(MEM_EXTRACT_PADDR, asked(address))

    found = [it for it in read_records(tmp_path / "log") if it["event"] == "request.extract"]
    assert [(it["base"], it["state"], it["physical"]) for it in found] == [
        (APART, "mapped", 0x300000),
        (ZERO, "valid", None),
        (NOTHING, "invalid", None),
    ]
    assert found[0]["device"] == "/dev/mem"


async def test_clients_of_a_service_ask_by_the_raw_ioctl(tmp_path: Path) -> None:
    async with lab(tmp_path, machine()) as it, it.connect("dpdk") as client:
        mem = await client.open("/dev/mem")
        for address in ANSWERS:
            reply = await mem.ioctl(MEM_EXTRACT_PADDR, asked(address))
            assert (reply.op, reply.descs) == (told(address), b"")


def test_callers_that_block_ask_too(tmp_path: Path) -> None:
    with LocalClient([machine()]) as local, local.open("/dev/mem") as mem:
        assert mem.ioctl(MEM_EXTRACT_PADDR, asked(APART + 0x123)).op == told(APART + 0x123)

    path = tmp_path / "s"
    with (
        served(path, machine()),
        BlockingClient(path) as client,
        client.open("/dev/mem") as other,
    ):
        for address in ANSWERS:
            assert other.ioctl(MEM_EXTRACT_PADDR, asked(address)).op == told(address)
