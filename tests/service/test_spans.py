"""One mapping over whatever lies at a stretch of addresses: RAM, ROM, holes."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.test_memory import Silent
from memhub.abi import MDF_WRITEPROTECT, Errno
from memhub.core.drivers.driver import Cpu
from memhub.core.kernel import TransferRules
from memhub.core.memory.physical import PhysicalMemory
from memhub.core.spec import MachineSpec, Region
from memhub.errors import DeviceError, InvalidArgument, NotPermitted, NotSupported
from memhub.service import wire
from memhub.service.blocking import BlockingClient
from memhub.service.local import LocalClient
from memhub.service.mapped import MappedMemory
from memhub.service.server.mapping import ram_table, rom_table
from memhub.service.spans import lay_out, map_pieces, within
from service.served import served
from service.service_rig import lab
from shell.kit import ARCHES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    AnyClient = LocalClient | BlockingClient

MIB = 1 << 20
K = 1 << 10
PAGE = 4096
BIOS = b"\x55\xaa BIOS"
#: A PC: a page that is RAM only at its start, a BIOS, an empty ROM, and memory above 1 MiB.
PC = MachineSpec(
    name="pc",
    arch="amd64",
    cpu=Cpu(vendor="GenuineIntel", phys_bits=36),
    msrs={0x2FF: 0x806},
    memory=(
        Region(base=0, length=0x9FC00),
        Region(base=0x9FC00, length=0x400, kind="reserved"),
        Region(base=0xE0000, length=0x10000, kind="rom"),
        Region(base=0xF0000, length=0x10000, kind="rom", data=BIOS),
        Region(base=MIB, length=MIB),
        Region(base=4 * MIB, length=MIB),
        Region(base=5 * MIB, length=PAGE, kind="acpi", data=b"RSD PTR "),
    ),
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory files are Linux's")


@pytest.fixture(params=["local", "service"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyClient]:
    """The same machine in this process, and behind a socket."""
    with ExitStack() as stack:
        if request.param == "local":
            yield stack.enter_context(LocalClient((PC,), arches=ARCHES))
        else:
            stack.enter_context(served(tmp_path / "s", PC))
            yield stack.enter_context(BlockingClient(tmp_path / "s"))


def test_ram_is_shared_on_a_machine_with_rom_elsewhere(client: AnyClient) -> None:
    with client.open("/dev/mem", "r+") as handle, handle.map_span(MIB, 2 * PAGE, write=True) as it:
        handle.pwrite(b"by write", MIB + PAGE - 4)
        assert it[PAGE - 4 : PAGE + 4] == b"by write"
        it[PAGE - 4 : PAGE + 4] = b"by map  "
        assert handle.pread(8, MIB + PAGE - 4) == b"by map  "


def test_a_hole_between_two_pieces_of_ram_reads_ff(client: AnyClient) -> None:
    with client.open("/dev/mem", "r+") as handle:
        handle.pwrite(b"low", 2 * MIB - 3)
        handle.pwrite(b"high", 4 * MIB)
        with handle.map_span(MIB, 4 * MIB, write=True) as span:
            assert len(span) == 4 * MIB
            assert span[MIB - 3 : 3 * MIB + 4] == b"low" + b"\xff" * 2 * MIB + b"high"
            span[MIB : MIB + 4] = b"lost"
            span[3 * MIB : 3 * MIB + 4] = b"kept"

        assert handle.pread(4, 2 * MIB) == b"\xff" * 4
        assert handle.pread(4, 4 * MIB) == b"kept"


def test_the_bios_area_is_mapped_with_its_holes(client: AnyClient) -> None:
    """As acpidump, dmidecode and lshw map it."""
    with client.open("/dev/mem") as handle, handle.map_span(0xC0000, 0x40000) as span:
        assert span[:] == handle.pread(0x40000, 0xC0000)
        assert span.find(BIOS) == 0x30000
        with pytest.raises(TypeError):
            span[0:1] = b"x"


def test_writes_to_rom_stay_with_the_writer(client: AnyClient) -> None:
    with client.open("/dev/mem", "r+") as handle:
        one, two = (handle.map_span(0xF0000, PAGE, write=True) for _ in range(2))
        with one, two:
            one[:4] = b"mine"
            assert (one[:6], two[:6]) == (b"mine" + BIOS[4:6], BIOS[:6])

        assert handle.pread(6, 0xF0000) == BIOS[:6]


def test_a_page_that_is_ram_in_part_shows_the_rest_of_it(client: AnyClient) -> None:
    with client.open("/dev/mem", "r+") as handle:
        handle.pwrite(b"\x01" * 0xC00, 0x9F000)
        with handle.map_span(0x9E000, 4 * PAGE) as span:
            assert span[:] == handle.pread(4 * PAGE, 0x9E000)


@pytest.mark.parametrize(
    ("base", "length"), [(1 << 36, PAGE), ((1 << 36) - PAGE, 2 * PAGE), (0x1001, 8), (PAGE, 0)]
)
def test_what_no_mapping_can_be_is_einval(client: AnyClient, base: int, length: int) -> None:
    with client.open("/dev/mem") as handle:
        with pytest.raises(InvalidArgument):
            handle.map_span(base, length)

        with handle.map_span((1 << 36) - PAGE, PAGE) as last:
            assert last[:] == b"\xff" * PAGE


@pytest.mark.parametrize("options", [{}, {"pae": True}], ids=["4 GiB", "PAE"])
def test_i386_without_pae_maps_4_gib(options: dict[str, Any]) -> None:
    """Its kernel refuses every page above, by the recorded answers of mmap(2)."""
    memory = (Region(base=0, length=MIB), Region(base=1 << 32, length=MIB))
    cpu = Cpu(vendor="GenuineIntel", phys_bits=36)
    spec = MachineSpec(name="old", arch="i386", cpu=cpu, memory=memory, options=options)
    with LocalClient((spec,), arches=ARCHES) as client, client.open("/dev/mem", "r+") as handle:
        handle.map_span((1 << 32) - PAGE, PAGE, write=True).close()
        if options:
            handle.map_span((1 << 32) - PAGE, 2 * PAGE, write=True).close()
            return

        for base in ((1 << 32) - PAGE, 1 << 32):
            with pytest.raises(InvalidArgument, match="past the last physical address 0xffffffff"):
                handle.map_span(base, 2 * PAGE, write=True)


def test_a_hole_with_too_many_pieces_is_enomem(client: AnyClient) -> None:
    with client.open("/dev/mem") as handle, pytest.raises(DeviceError) as refused:
        handle.map_span(0, 1 << 35)

    assert refused.value.code is Errno.ENOMEM


def test_a_span_outlives_its_handle(client: AnyClient) -> None:
    with client.open("/dev/mem") as handle:
        span = handle.map_span(0xE0000, 0x20000)

    assert span.find(BIOS) == 0x10000
    span.close()


def test_ram_that_is_write_protected_is_only_read(client: AnyClient) -> None:
    """Write-protected ROM and holes stand in nobody's way."""
    with client.open("/dev/mem", "r+") as handle:
        handle.set_range(0xC0000, 0x40000, MDF_WRITEPROTECT)
        handle.map_span(0xC0000, 0x40000, write=True).close()
        handle.map_span(MIB, PAGE, write=True).close()

    with client.open("/dev/mem", "r+") as handle:
        handle.set_range(4 * MIB, MIB, MDF_WRITEPROTECT)
        with pytest.raises(NotPermitted, match="write-protected RAM at 0x400000"):
            handle.map_span(MIB, PAGE, write=True)

        handle.map_span(4 * MIB, PAGE).close()


def test_a_file_for_reading_gives_no_shared_mapping_for_writing(client: AnyClient) -> None:
    with client.open("/dev/mem") as handle:
        with pytest.raises(NotPermitted):
            handle.map_span(MIB, PAGE, write=True)

        with pytest.raises(NotPermitted):
            handle.map_span(0xFF000, 2 * PAGE, write=True)


async def test_an_awaiting_client_maps_a_span(tmp_path: Path) -> None:
    async with lab(tmp_path, PC) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem", "r+")
        with await handle.map_span(0xC0000, 0x41000, write=True) as span:
            await handle.pwrite(b"ours", MIB)
            assert span[0x30000:] == BIOS.ljust(0x10000, b"\xff") + b"ours" + bytes(PAGE - 4)
            span[0x40000:0x40004] = b"text"
            assert await handle.pread(4, MIB) == b"text"

        assert [r["flags"] for r in it.records("memory.map")] == [4, 3]


async def test_a_device_model_is_not_mapped(tmp_path: Path) -> None:
    async with lab(tmp_path, PC) as it, it.connect() as hub:
        it.hub.machines["pc"].memory.map_mmio(MIB + PAGE, 8, Silent())
        handle = await hub.open("/dev/mem")
        for base, length in ((MIB + PAGE, PAGE), (MIB, 3 * PAGE)):
            with pytest.raises(DeviceError, match="device model answers at 0x101000") as refused:
                await handle.map_span(base, length)

            assert refused.value.code is Errno.ENODEV

        (await handle.map_span(MIB, PAGE)).close()


async def test_a_service_without_the_feature_maps_ram_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of an older service does not send what that would not understand."""
    monkeypatch.setattr(wire, "MAP_FEATURES", wire.FEATURE_MAP)
    async with lab(tmp_path, PC) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem")
        (await handle.map_span(MIB, PAGE)).close()
        with pytest.raises(DeviceError, match="does not say what lies at 0xc0000"):
            await handle.map_span(0xC0000, PAGE)

        with pytest.raises(NotSupported):
            await handle.map_rom()

        assert [r["flags"] for r in it.records("memory.map")] == [1, 1]


# Any memory map, against a byte-by-byte model

BORDERS = st.lists(st.integers(0, 8 * PAGE), max_size=9, unique=True).map(sorted)


class Board:
    """What the tables are made of."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self.memory = memory
        self.transfer = SimpleNamespace(rules=TransferRules())


@st.composite
def memory_maps(draw: st.DrawFn) -> list[Region]:
    borders, regions = draw(BORDERS), []
    for base, end in pairwise(borders):
        kind: Any = draw(st.sampled_from(["ram", "rom", "reserved", "nvs", None]))
        if kind is not None:
            most = 0 if kind == "reserved" else end - base
            data = bytes([draw(st.integers(1, 9))]) * draw(st.sampled_from([0, 1, most // 2, most]))
            regions.append(Region(base=base, length=end - base, kind=kind, data=data[:most]))

    return regions


@settings(deadline=None)
@given(memory_maps(), st.integers(0, 7), st.integers(1, 8))
def test_a_mapping_shows_what_a_read_does(regions: list[Region], first: int, count: int) -> None:
    memory: Any = PhysicalMemory(15, regions)
    base, length = first * PAGE, min(count, 8 - first) * PAGE
    with ExitStack() as files:
        files.callback(memory.close)
        board: Any = Board(memory)
        rom = files.enter_context(
            MappedMemory(memory.files.open_rom(), tuple(rom_table(board)), writable=False)
        )
        ram = None
        if not within(rom, base, length):
            fd = memory.open_ram(writable=True)
            ram = files.enter_context(MappedMemory(fd, tuple(ram_table(board)), writable=True))

        span = map_pieces(lay_out(ram, rom, base, length), length, writable=True)
        assert span[:] == memory.read(base, length)
        span[:] = b"\xee" * length
        kept = [memory.segment(at).kind == "ram" for at in range(base, base + length)]
        seen = memory.read(base, length)
        assert [byte == 0xEE for byte in seen] == kept
        span.close()
