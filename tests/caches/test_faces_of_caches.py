"""Flushes, fences, the bus and hazards on every face: records, refusals, logs that fail."""

from __future__ import annotations

import json
from copy import deepcopy
from pickle import dumps
from typing import TYPE_CHECKING, Any

import pytest

from caches.cache_rig import pc
from cli.conftest import run as run
from memhub import CacheLimits, Hub
from memhub.audit.verifying.verify import verify
from memhub.core.caches.hazards import HAZARDS
from memhub.core.caches.telling import HAZARDS_MOST
from memhub.errors import (
    BadAddress,
    BadHandle,
    DeviceError,
    InvalidArgument,
    LogFailed,
    NoSuchDevice,
    NotSupported,
)
from memhub.service.blocking import BlockingClient
from memhub.service.local import LocalClient
from service.served import served
from shell.kit import PAT, lab

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from clirun import Run
    from memhub.devices.bus import Bus
    from memhub.handles.handle import Handle

AT, TOP = 0x200000, 1 << 36
LOGGED = pc(caches=CacheLimits(lines=4, line_size=16, buffers=2, seed=1, logged=True))


async def test_every_access_leaves_a_record(tmp_path: Path) -> None:
    async with lab(tmp_path, LOGGED) as rig, await rig.hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"dirty", AT + 3)
        await mem.writeback(AT, 16)
        await mem.fence()
        rig.hub.bus().read(AT, 8)
        rig.hub.bus().write(AT, b"dma")
        rig.hub.bus().flush_all()
        events = [(it["event"], it.get("op"), it.get("base")) for it in rig.news()[1:]]
        assert events == [
            ("request.write", "pwrite", AT + 3),
            ("request.flush", "writeback", AT),
            ("request.flush", "fence", 0),
            ("bus.lines", None, None),  # what the fence completes
            ("bus.access", "read", AT),
            ("bus.access", "write", AT),
            ("bus.access", "flush", 0),
        ]

    assert verify(rig.path).ok


async def test_the_order_in_which_lines_reach_the_bus_is_a_stream() -> None:
    async with Hub([LOGGED]) as hub, await hub.open("/dev/mem", "r+") as mem:
        with hub.subscribe(events=["bus.lines"]) as lines:
            await mem.pwrite(b"12345678", AT + 4)
            await mem.flush(AT, 1)
            row = lines.receive_nowait()

    assert (row["line_bases"], row["line_lengths"], row["line_causes"]) == (
        [AT + 4],
        [8],
        ["flushed"],
    )


CALLS: dict[str, Callable[[Handle, Bus], Any]] = {
    "a store": lambda mem, _: mem.pwrite(b"n" * 200, AT),
    "a load": lambda mem, _: mem.pread(200, AT),
    "a read at the offset": lambda mem, _: mem.read(100),
    "a flush": lambda mem, _: mem.flush(AT, 64),
    "a writeback": lambda mem, _: mem.writeback(AT, 64),
    "a fence": lambda mem, _: mem.fence(),
    "a change of type": lambda mem, _: mem.set_range(AT + 0x8000, 4096, "uncacheable"),
    "a read of the bus": lambda _, bus: bus.read(AT, 64),
    "a write of the bus": lambda _, bus: bus.write(AT, b"d" * 64),
    "a flush of all": lambda _, bus: bus.flush_all(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("kind", ["write-back", "write-through", "write-combine", "uncacheable"])
@pytest.mark.parametrize("bus", ["snooping", "blind"])
async def test_a_log_that_fails_takes_both_views_back(
    tmp_path: Path, call: Callable[[Handle, Bus], Any], kind: str, bus: Any
) -> None:
    spec = pc(bus=bus, caches=LOGGED.caches)
    async with lab(tmp_path, spec) as rig, await rig.hub.open("/dev/mem", "r+") as mem:
        with rig.disk.emptied():
            machine = rig.hub.machines["pc"]
            await mem.set_range(AT, 8 * 4096, kind)
            for place in range(0, 300, 28):
                await mem.pwrite(b"before", AT + place)

            caches, memory = deepcopy(machine.caches), dumps(machine.memory)
            rig.disk.full = True
            with pytest.raises(LogFailed):
                await _maybe(call(mem, rig.hub.bus()))

            assert machine.caches == caches
            assert dumps(machine.memory) == memory
            rig.disk.full = False
            await _maybe(call(mem, rig.hub.bus()))


async def _maybe(answer: Any) -> None:
    if hasattr(answer, "__await__"):
        waiting: Awaitable[Any] = answer
        await waiting


async def test_what_no_span_is_is_refused_and_changes_nothing() -> None:
    async with Hub([pc()]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"dirty", AT)
        caches, bus = deepcopy(hub.machines["pc"].caches), hub.bus("pc")
        with pytest.raises(BadAddress, match=r"0xffffffff8/0x10 is not inside .* 36 bits"):
            bus.read(TOP - 8, 16)

        with pytest.raises(BadAddress, match="not inside"):
            bus.write(TOP, b"x")

        with pytest.raises(BadAddress, match="not inside"):
            bus.read(-1, 1)

        with pytest.raises(InvalidArgument, match="length -1 is below 0"):
            bus.read(0, -1)

        with pytest.raises(TypeError, match="address"):
            bus.read("0", 1)  # type: ignore[arg-type]

        for call in (mem.flush, mem.writeback):
            with pytest.raises(BadAddress, match="not inside"):
                await call(TOP - 8, 16)

            with pytest.raises(InvalidArgument, match="below 0"):
                await call(0, -1)

            with pytest.raises(InvalidArgument):
                await call(-1, 1)

            with pytest.raises(TypeError):
                await call(0, "1")  # type: ignore[arg-type]

        for look in (hub.bus, hub.hazards):
            with pytest.raises(NoSuchDevice, match="no machine 'px'"):
                look("px")

        assert hub.machines["pc"].caches == caches

    with pytest.raises(BadHandle):
        await mem.fence()


async def test_on_a_coherent_machine_all_of_it_does_nothing_and_succeeds() -> None:
    async with Hub([PAT]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"bytes", 0x100000)
        await mem.flush(0x100000, 64)
        await mem.writeback(0x100000, 64)
        await mem.fence()
        bus = hub.bus()
        assert bus.read(0x100000, 5) == b"bytes"
        bus.write(0x100001, b"us b")
        bus.flush_all()
        assert await mem.pread(5, 0x100000) == b"bus b"
        assert hub.hazards() == []


async def test_a_flush_of_kernel_memory_means_what_its_pages_are() -> None:
    direct = 0xFFFFF80000000000
    async with Hub([pc()]) as hub, await hub.open("/dev/kmem", "r+") as kmem:
        await kmem.pwrite(b"kernel", direct + AT)
        assert hub.bus().read(AT, 6) == bytes(6)
        await kmem.flush(direct + AT, 6)
        assert hub.bus().read(AT, 6) == b"kernel"
        with pytest.raises(BadAddress):
            await kmem.flush(0x1000, 1)


def test_a_service_has_flushes_hazards_and_no_mappings(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "s"
    with (
        served(path, pc()) as hub,
        BlockingClient(path) as client,
        client.open("pc:/dev/mem", "r+") as mem,
    ):
        mem.set_range(AT, 4096, "write-combine")
        mem.pwrite(b"combined", AT)
        (row,) = client.report("hazards")["machines"]
        (hazard,) = row["hazards"]
        assert (hazard["name"], hazard["address"], hazard["slot"]) == (
            "undrained-buffers",
            AT,
            0,
        )
        done = run("hazards", "--connect", path)
        assert done.code == 1
        assert done.out.startswith("pc: warning undrained-buffers 0x200000+8\n  ")
        assert all(len(line) <= 80 for line in done.out.splitlines())
        (shown,) = json.loads(run("hazards", "--connect", path, "--json").out)
        assert (shown["machine"], shown["cure"]) == ("pc", HAZARDS[hazard["name"]].cure)
        assert run("hazards", "--connect", path, "--errors").code == 0
        mem.fence()
        assert run("hazards", "--connect", path).out == "pc: no hazards\n"
        mem.pwrite(b"cached", AT + 4096)
        assert hub.machines["pc"].memory.read(AT + 4096, 6) == bytes(6)
        mem.writeback(AT + 4096, 6)
        assert hub.machines["pc"].memory.read(AT + 4096, 6) == b"cached"
        with pytest.raises(NotSupported, match="not coherent"):
            mem.map()


def test_the_machines_of_a_file_have_hazards_too(lab_file: Path, run: Run) -> None:
    done = run("hazards", "--config", lab_file)
    assert (done.code, done.out) == (0, "pc: no hazards\nold: memory is coherent\n")
    done = run("hazards", "--config", lab_file, "--machine", "old")
    assert (done.code, done.out) == (0, "old: memory is coherent\n")
    done = run("hazards", "--config", lab_file, "--machine", "none")
    assert (done.code, done.out) == (2, "")


@pytest.fixture
def lab_file(tmp_path: Path) -> Path:
    path = tmp_path / "lab.toml"
    path.write_text(
        'default = "pc"\n[machines.pc]\narch = "amd64"\ncoherent = false\n'
        '[machines.old]\narch = "i386"\n'
    )

    return path


@pytest.mark.parametrize("face", ["hub", "local", "service"])
@pytest.mark.parametrize(
    ("span", "words"),
    [
        (((1 << 64) - 4, 5), "0xfffffffffffffffc/0x5 is not a range of 64-bit addresses"),
        ((-1, 5), "-0x1/0x5 is not a range of 64-bit addresses"),
        ((1 << 64, 5), "0x10000000000000000/0x5 is not a range of 64-bit addresses"),
        ((0, 1 << 70), "0x0/0x400000000000000000 is not a range of 64-bit addresses"),
        ((0, -1), "length -1 is below 0"),
    ],
)
async def test_every_face_names_a_wrong_span_as_it_was_given(
    tmp_path: Path, face: str, span: tuple[int, int], words: str
) -> None:
    with served(tmp_path / "s", pc()), LocalClient([pc()]) as local:
        async with Hub([pc()]) as hub, await hub.open("/dev/mem", "r+") as mem:
            with BlockingClient(tmp_path / "s") as client:
                faces: dict[str, Any] = {
                    "hub": mem,
                    "local": local.open("/dev/mem", "r+"),
                    "service": client.open("pc:/dev/mem", "r+"),
                }
                for call in (faces[face].flush, faces[face].writeback):
                    with pytest.raises(InvalidArgument) as refused:
                        await _maybe(call(*span))

                    assert refused.value.reason == words


def test_a_local_client_acts_on_caches(tmp_path: Path) -> None:
    with LocalClient([pc()]) as client, client.open("/dev/mem", "r+") as mem:
        mem.pwrite(b"cached", AT)
        mem.flush(AT, 6)
        mem.fence()
        assert client.report()["machines"][0]["hazards"] == []


async def test_a_raised_error_of_a_write_has_no_hazard_of_protection() -> None:
    async with Hub([pc(wp_writes="fault")]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.set_range(AT, 4096, "write-protect")
        with pytest.raises(DeviceError):
            await mem.pwrite(b"x", TOP)

        assert hub.hazards() == []
        assert await mem.pwrite(b"12345678", AT - 4) == 4
        (hazard,) = hub.hazards()
        assert (hazard.name, hazard.address) == ("protected-write", AT)


async def test_a_machine_tells_so_many_hazards_apart_and_counts_the_rest() -> None:
    lines = 3 * HAZARDS_MOST // 2
    async with (
        Hub([pc(caches=CacheLimits(lines=4096))]) as hub,
        await hub.open("/dev/mem", "w") as mem,
    ):
        for line in range(lines):
            await mem.pwrite(b"dirty", AT + 64 * line)

        hub.bus().read(AT, 64 * lines)
        found = hub.hazards()
        assert len(found) == HAZARDS_MOST + 1
        assert sum(it.times for it in found) == lines
