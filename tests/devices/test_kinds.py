"""Kinds of devices: found by a hook, checked, and put into the address space of a machine."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from devices.strange import BASE, Good, M, Torn, book, device, kind_of, machine, plugin_of
from memhub import AuditLog, DeviceSpec, Hub, Region, load_arches, load_config
from memhub.audit import read_records
from memhub.audit.rows.description import describe_spec, spec_of
from memhub.config import ConfigError, to_toml
from memhub.device_kinds import load_device_kinds
from memhub.errors import NoSuchDevice
from memhub.plugin.devices import DeviceKind
from memhub.service.local import LocalClient

if TYPE_CHECKING:
    from pathlib import Path

    from memhub import MachineSpec

FB = 0xD0000000
THREE = (
    device("vga-text", None, "vga"),
    device("frame-buffer", FB, "fb", options={"width": 64, "height": 16, "format": "rgb565"}),
    device("uart-16550", BASE, "com1", limit=2.5, options={"shift": 2}),
)


def make(spec: MachineSpec, **options: Any) -> Hub:
    return Hub([spec], device_kinds=book(), **options)


def refusal(*devices: DeviceSpec, **changes: Any) -> str:
    with pytest.raises(ValueError, match="devices") as caught:
        make(machine(*devices, **changes))

    return str(caught.value)


# The hook


def test_what_memhub_ships_is_found() -> None:
    found = load_device_kinds()

    assert list(found.kinds) == ["frame-buffer", "uart-16550", "vga-text"]
    assert {it.source for it in found.kinds.values()} == {"plugin 'shipped' of memhub"}
    assert found.failures == ()


def test_a_plugin_that_does_not_work_costs_the_others_nothing() -> None:
    good = plugin_of(kind_of(Good, step=1))
    found = load_device_kinds(plugins=[("bad", object()), ("good", good)], installed=False)

    assert list(found.kinds) == ["good"]
    assert [str(it) for it in found.failures] == [
        "plugin 'bad' of the caller: TypeError: it has no memhub_devices hook"
    ]


def test_of_two_plugins_that_name_one_kind_neither_is_used() -> None:
    ours = DeviceKind(name="vga-text", summary="", make=Torn)
    found = load_device_kinds(plugins=[("ours", plugin_of(ours))])

    assert "vga-text" not in found.kinds
    assert {it.plugin for it in found.failures} == {"ours", "shipped"}
    assert "'vga-text' is provided twice" in found.failures[0].reason
    with pytest.raises(ValueError, match=r"'vga-text' is not installed .*provided twice"):
        found.find("vga-text")


# Declared


async def test_a_machine_has_the_devices_that_it_declares(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "log.jsonl") as log:
        async with make(machine(*THREE), log=log) as hub:
            spec = hub.machines["pc"].spec
            assert [(it.name, it.base, it.limit) for it in spec.devices] == [
                ("vga", 0xB8000, 10.0),
                ("fb", FB, 10.0),
                ("com1", BASE, 2.5),
            ]
            assert spec.devices[2].options == {
                "shift": 2, "clock": 1843200, "baud": 0, "timed": True,
            }  # fmt: skip
            assert [it.kind for it in spec.memory if it.base in (0xB8000, FB)] == ["device"] * 2
            assert hub.device("com1").length == 32
            with pytest.raises(NoSuchDevice, match=r"no device 'x' \(devices: vga, fb, com1\)"):
                hub.device("x")

            rows = read_records(tmp_path / "log.jsonl")
            (config,) = [it["config"] for it in rows if it["event"] == "device.attach"]
            assert spec_of("pc", "amd64", config, spec.msrs) == replace(
                spec, memory=tuple(replace(it, data=b"") for it in spec.memory)
            )


async def test_a_machine_that_was_made_makes_the_same_again() -> None:
    async with make(machine(*THREE)) as hub:
        spec = hub.machines["pc"].spec

    async with make(spec) as hub:
        assert hub.machines["pc"].spec == spec


async def test_the_memory_of_devices_is_no_ram_of_the_kernel() -> None:
    async with make(machine(*THREE)) as hub, make(machine()) as plain:
        assert hub.machines["pc"].memory.ram_top == plain.machines["pc"].memory.ram_top


def test_a_file_and_python_declare_the_same(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    file.write_text(to_toml(machine(*THREE)))
    found = load_config(file, arches=load_arches()).machines["pc"]

    assert found.devices == machine(*THREE).devices
    assert spec_of("pc", "amd64", describe_spec(found), found.msrs).devices == found.devices


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('kind = "vga"', "devices.it.kind: 'vga' is not installed"),
        ('kind = "frame-buffer"', "devices.it.base: is missing: frame-buffer has no usual"),
        ('kind = "vga-text"\nbase = 4096', "devices.it.base: device 'it' (vga-text) 0x1000/0x8000"),
        ('kind = "vga-text"\noptions = { rows = "x" }', "devices.it.options.rows: is a string"),
        ('kind = "vga-text"\noptions = { row = 1 }', "devices.it.options.row: is no option"),
        ('kind = "vga-text"\nbase = -1', "devices.it.base: -0x1 is not between"),
        ('kind = "vga-text"\nlimit = 0', "devices.it.limit: 0.0 is not above 0"),
        ('kind = "vga-text"\nlimits = 1', "devices.it.limits: is not a key"),
        ("base = 0", "devices.it.kind: is missing"),
    ],
)
def test_a_wrong_device_of_a_file_is_refused_at_its_key(
    tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "m.toml"
    file.write_text(f'[machines.pc]\narch = "amd64"\n[machines.pc.devices.it]\n{text}\n')
    with pytest.raises(ConfigError) as caught:
        load_config(file, arches=load_arches())

    assert problem in str(caught.value)


# Refused


@pytest.mark.parametrize(
    ("base", "other"),
    [(BASE, BASE), (BASE + 4095, BASE), (BASE - 4095, BASE)],
)
def test_devices_that_overlap_are_both_named(base: int, other: int) -> None:
    found = refusal(device("good", base, "one"), device("good", other, "two"))

    assert "device 'one' (good)" in found
    assert "device 'two' (good)" in found
    assert "overlaps" in found


def test_memory_and_a_model_may_not_overlap_either() -> None:
    assert "overlaps" in refusal(device("vga-text", None, "vga"), device("good", 0xBF000))


def test_a_device_needs_a_hole_in_ram() -> None:
    ram = (Region(base=0, length=64 * M),)

    assert refusal(device("vga-text", None), memory=ram) == (
        "machine 'pc': devices.it.base: device 'it' (vga-text) 0xb8000/0x8000 lies on the ram "
        "region 0x0/0x4000000 of the memory map, which has no hole there"
    )


async def test_a_device_may_lie_in_reserved_addresses_and_over_an_empty_rom() -> None:
    memory = (
        Region(base=0, length=0xA0000),
        Region(base=0xC0000, length=0x40000, kind="rom", data=b"\x55\xaa"),
        Region(base=BASE, length=M, kind="reserved"),
    )
    devices = (device("good"), device("vga-text", 0xD0000, "vga"))
    async with make(machine(*devices, memory=memory)) as hub:
        mem = await hub.open("/dev/mem", "r+")
        await mem.pwrite(b"memory", 0xD0000)
        assert await mem.pread(6, 0xD0000) == b"memory"
        assert await mem.pread(2, 0xC0000) == b"\x55\xaa"
        assert await mem.pread(2, 0xD8000) == b"\xff\xff"
        assert await mem.pread(2, BASE + 7) == b"\7\x08"
        mem.close()

    assert "lies on the rom region" in refusal(device("vga-text", 0xC0000), memory=memory)


def test_a_device_may_not_leave_the_address_space() -> None:
    found = refusal(device("good", (1 << 36) - 2048))

    assert "device 'it' (good) 0xffffff800/0x1000 ends at 0x1000000800, past the 36" in found


class Sync(Good):
    def read(self, offset: int, size: int) -> bytes:  # type: ignore[override]
        return bytes(size)


class Empty(Good):
    length = 0


class Broken(Good):
    def __init__(self, options: object) -> None:
        raise RuntimeError("no firmware")


class Overfull(Torn):
    content = bytes(5000)


class Worded(Torn):
    content = "blank"  # type: ignore[assignment]


class Unfilled(Torn):
    content = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (device("good", options={"step": 0}), "devices.it.options.step: 0 is below 1"),
        (device("good", options={"step": True}), "options.step: is a boolean, where an integer"),
        (device("good", options=3), "devices.it.options: is an integer, not a mapping"),
        (device("good", limit=-1), "devices.it.limit: -1"),
        (device("good", limit=float("inf")), "devices.it.limit: inf"),
        (device("good", "0"), "devices.it.base: is a string, not an integer"),  # type: ignore[arg-type]
        (device("god"), "'god' is not installed (installed: "),
        (device("good", name="a b"), "devices.a b: a device's name is letters"),
        (device("sync"), "of its read and write, one is an async function and one is not"),
        (device("empty"), "its length 0 is not a number of bytes above 0"),
        (device("broken"), "broken of plugin 'more' of the caller failed: RuntimeError: no firmw"),
        (device("overfull"), "its content has 5000 bytes, and it holds 4096"),
        (device("worded"), "its content 'blank' is not bytes"),
        (device("unfilled"), "its content None is not bytes"),
        (device("good", name=""), "devices.'': a device's name is letters, digits, '-',"),
        (
            device("good", name="-."),
            "devices.-.: a device's name is letters, digits, '-', '_' and '.', with at",
        ),
        (device("object"), "has made no device: AttributeError"),
        (3, "devices.[0]: is an integer, not a DeviceSpec"),
    ],
)
def test_what_contradicts_itself_is_refused(wrong: Any, problem: str) -> None:
    kinds = [kind_of(it, step=1) for it in (Sync, Empty, Broken, Overfull, Worded, Unfilled)]
    kinds.append(DeviceKind(name="object", summary="", make=lambda _: object()))  # type: ignore[arg-type,return-value]
    more = load_device_kinds(
        plugins=[("more", plugin_of(kind_of(Good, step=1), *kinds))], installed=False
    )
    with pytest.raises(ValueError, match=re.escape(problem)):
        Hub([machine(wrong)], device_kinds=more)


def test_memory_of_a_device_belongs_to_a_device() -> None:
    memory = (Region(base=0, length=M), Region(base=FB, length=M, kind="device"))
    assert refusal(memory=memory) == (
        "machine 'pc': devices: memory has a region of a device at 0xd0000000/0x100000, and no "
        "device is declared"
    )


def test_two_devices_of_one_machine_have_different_names() -> None:
    assert "two devices have this name" in refusal(device("good"), device("good", BASE + M))
    assert "differs from device 'IT'" in refusal(
        device("good", name="IT"), device("good", BASE + M)
    )


# Without an event loop


def test_a_client_of_its_own_machines_awaits_declared_devices() -> None:
    with (
        LocalClient([machine(device("uart-16550"))]) as client,
        client.open("/dev/mem", "r+") as mem,
    ):
        assert mem.pwrite(b"\x5a", BASE + 7) == 1
        assert mem.pread(8, BASE) == b"\0\0\1\0\0\x60\0\x5a"
        mem.seek(BASE + 7)
        assert (mem.read(1), mem.seek(0, os.SEEK_CUR)) == (b"\x5a", BASE + 8)
