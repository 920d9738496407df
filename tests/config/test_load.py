"""Configuration files become checked values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from machines import ARCHES, loaded
from machines import one_machine as machine
from memhub.audit.writing.keeping import Keeping
from memhub.config import (
    AuditConfig,
    HubConfig,
    Limits,
    RightsRule,
    ServiceConfig,
    TcpConfig,
    load_config,
    to_toml,
)
from memhub.config.values import parse_integer
from memhub.core.spec import MachineSpec, Region
from memhub.x86.registers import UC, WB, WC, WP, MtrrRegisters, VariableMtrr, variable_mtrr

CONFIGS = Path(__file__).parents[2] / "configs"

Load = Callable[[str], HubConfig]

# The files that ship


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_file_loads_and_its_machines_attach(path: Path) -> None:
    config = load_config(path, arches=ARCHES)

    for spec in config.machines.values():
        driver = ARCHES[spec.arch].driver
        state = driver(spec.cpu, spec.options).attach(spec.msrs) if driver else None

        assert state is None or state.slots
        assert any(region.kind == "ram" for region in spec.memory)
        assert loaded(to_toml(spec), spec.name) == spec


def test_every_built_in_architecture_has_a_file() -> None:
    assert {path.stem for path in CONFIGS.glob("*.toml")} >= set(ARCHES)


def test_the_lab_file_is_what_its_comments_say() -> None:
    lab = load_config(CONFIGS / "lab.toml", arches=ARCHES)

    assert lab.default == "desk"
    assert len(lab.machines) == 6
    assert lab.machines["server"].cpu.phys_bits == 40
    assert any("mask is zero" in odd for odd in lab.oddities["faulty"])
    assert "server" not in lab.oddities
    assert lab.audit is not None
    assert lab.audit.path == CONFIGS / "lab-audit.jsonl"
    assert lab.service.limits.frame_size == 256 << 10
    assert [rule.uid for rule in lab.service.rights] == [0, 1001]


def test_the_raw_registers_of_the_amd64_mtrr_file_say_what_their_comments_say() -> None:
    spec = load_config(CONFIGS / "amd64-mtrr.toml").machines["amd64-mtrr"]
    registers = MtrrRegisters.decode(spec.msrs, spec.cpu.phys_bits)

    assert registers.enabled
    assert registers.fixed_active
    assert registers.default_type == WB
    assert registers.fixed_types == bytes([WB] * 16 + [UC] * 8 + [WP] * 64)
    assert registers.variable[0] == variable_mtrr(0x80000000, 2 << 30, UC, 39)
    assert not any(pair.valid for pair in registers.variable[1:])


# Values


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (4096, 4096),
        ("0xfeb00000", 0xFEB00000),
        ("4K", 4096),
        ("2M", 2 << 20),
        ("1GiB", 1 << 30),
        ("1 TiB", 1 << 40),
        ("64kb", 65536),
        ("0x10K", 16384),
        ("1_000", 1000),
    ],
)
def test_an_integer_may_be_a_string_with_a_unit(value: object, number: int) -> None:
    assert parse_integer(value) == number


@pytest.mark.parametrize("value", ["", "K", "4X", "-1", "1.5M", "010", "0x", True, 1.0, None, []])
def test_what_is_no_integer_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"number|integer"):
        parse_integer(value)


def test_one_machine_is_the_default_and_of_several_the_file_says(load: Load) -> None:
    two = machine("") + '[machines.other]\narch = "arm64"\n'

    assert load(machine("")).default == "pc"
    assert load(two).default is None
    assert load('default = "other"\n' + two).default == "other"


def test_a_machine_needs_no_more_than_its_architecture(load: Load) -> None:
    assert load(machine("")).machines == {"pc": MachineSpec(name="pc", arch="amd64-mtrr")}


def test_ranges_by_hand_become_registers(load: Load) -> None:
    toml = machine(
        """phys_bits = 36
        [machines.pc.mtrr]
        default = "WB"
        variable_count = 10
        fixed = [
            { base = 0, length = "640K", type = "write-back" },
            { base = 0xa0000, length = "384K", type = "uncacheable" },
        ]
        variable = [
            { base = "2GiB", length = "2GiB", type = "uncacheable" },
            { slot = 4, base = 0xe8000000, length = "32M", type = "write-combining" },
            { base = 0xe0000000, mask = 0xe0000000, type = "UC" },
        ]
        """
    )
    expected = MtrrRegisters(
        phys_bits=36,
        default_type=WB,
        fixed_types=bytes([WB] * 16 + [UC] * 72),
        variable=(
            variable_mtrr(0x80000000, 0x80000000, UC, 36),
            *[VariableMtrr()] * 3,
            variable_mtrr(0xE8000000, 32 << 20, WC, 36),
            VariableMtrr(0xE0000000, 0xE0000800),
            *[VariableMtrr()] * 4,
        ),
    )

    assert load(toml).machines["pc"].msrs == expected.encode()


def test_raw_registers_take_all_64_bits_and_any_spelling(load: Load) -> None:
    toml = machine(
        '[machines.pc.msr]\n"0x2ff" = 0xc06\n767123 = "0xffffffffffffffff"\n'
        '"0x250" = 0x8606060606060606\n'
    )

    assert load(toml).machines["pc"].msrs == {
        0x2FF: 0xC06,
        767123: (1 << 64) - 1,
        0x250: 0x8606060606060606,
    }


def test_a_dump_is_found_beside_the_file_and_keys_of_the_file_win(
    load: Load, tmp_path: Path
) -> None:
    (tmp_path / "boot.txt").write_text(
        "BIOS-e820: 0 - 100000 (usable)\n"
        "reg00: base=0x00000000 (   0MB), size=1024MB: write-back, count=1\n"
    )
    base = 'import = "boot.txt"\nphys_bits = 40\nsecurelevel = 1\n'

    plain = load(machine(base))
    spec = plain.machines["pc"]
    other = load(machine(base + 'memory = [{ base = 0, length = "4M" }]')).machines["pc"]

    assert spec.cpu.phys_bits == 40
    assert spec.securelevel == 1
    assert spec.msrs[0x201] == 0xFFC0000800
    assert spec.memory == (Region(base=0, length=0x100000),)
    assert other == replace(spec, memory=(Region(base=0, length=4 << 20),))
    assert any("default type" in odd for odd in plain.oddities["pc"])


def test_a_region_holds_the_bytes_of_a_file(load: Load, tmp_path: Path) -> None:
    (tmp_path / "rom.bin").write_bytes(b"\x55\xaa\x40")
    toml = machine('memory = [{ base = 0xc0000, end = 0xc8000, kind = "ROM", file = "rom.bin" }]')

    assert load(toml).machines["pc"].memory == (
        Region(base=0xC0000, length=0x8000, kind="rom", data=b"\x55\xaa\x40"),
    )


def test_regions_come_in_address_order(load: Load) -> None:
    toml = machine('memory = [{ base = "1M", length = "1M" }, { base = 0, length = "4K" }]')

    assert [region.base for region in load(toml).machines["pc"].memory] == [0, 1 << 20]


def test_a_file_without_service_has_its_defaults(load: Load) -> None:
    assert load(machine("")).service == ServiceConfig()


def test_a_full_service_table_is_read(load: Load, tmp_path: Path) -> None:
    toml = (
        machine("")
        + """
        [service]
        socket = "hub.sock"
        mode = "0600"
        owner = "root"
        group = "kmem"
        allowed_uids = [0, 1001]
        [service.limits]
        frame_size = "64K"
        handshake_timeout = 2.5
        [service.tcp]
        host = "::1"
        port = 7000
        certfile = "cert.pem"
        keyfile = "key.pem"
        ca = "/etc/ca.pem"
        token_file = "tokens"
        [[service.rights]]
        token = "ci"
        machine = "pc"
        allow = ["read-ranges", "set-ranges"]
    """
    )

    assert load(toml).service == ServiceConfig(
        socket=tmp_path / "hub.sock",
        mode=0o600,
        owner="root",
        group="kmem",
        allowed_uids=(0, 1001),
        limits=Limits(frame_size=65536, handshake_timeout=2.5),
        tcp=TcpConfig(
            host="::1",
            port=7000,
            certfile=tmp_path / "cert.pem",
            keyfile=tmp_path / "key.pem",
            ca=Path("/etc/ca.pem"),
            token_file=tmp_path / "tokens",
        ),
        rights=(
            RightsRule(token="ci", machine="pc", allow=frozenset({"read-ranges", "set-ranges"})),
        ),
    )


def test_a_log_of_segments_is_described(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(
        '[machines.pc]\narch = "amd64"\n[audit]\npath = "log/"\nkey = "bench.key"\n'
        'max_bytes = "16M"\nmax_age = 86400\nseal_every = 5\nsnapshot_every = 1000\n'
    )
    audit = load_config(path).audit

    assert audit == AuditConfig(
        path=tmp_path / "log",
        folder=True,
        key=tmp_path / "bench.key",
        keeping=Keeping(max_bytes=16 << 20, max_age=86400, seal_every=5, snapshot_every=1000),
    )
