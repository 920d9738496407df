"""Configuration files become checked values; a wrong one is refused by file, key and rule."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memhub.config import (
    ConfigError,
    HubConfig,
    Limits,
    RightsRule,
    ServiceConfig,
    TcpConfig,
    load_config,
    to_toml,
)
from memhub.config.values import parse_integer
from memhub.core.driver import Cpu
from memhub.core.mtrr import UC, WB, WC, WP, MtrrRegisters, VariableMtrr, variable_mtrr
from memhub.core.spec import KernelMapping, MachineSpec, Region
from memhub.plugin.loader import load_arches

CONFIGS = Path(__file__).parent.parent / "configs"
ARCHES = load_arches()
Load = Callable[[str], HubConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(toml: str) -> HubConfig:
        path = tmp_path / "hub.toml"
        path.write_text(toml, encoding="utf-8")

        return load_config(path, arches=ARCHES)

    return load


def machine(toml: str, *, arch: str = "amd64-mtrr") -> str:
    return f'[machines.pc]\narch = "{arch}"\n{toml}\n'


# The files that ship


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_file_loads_and_its_machines_attach(path: Path) -> None:
    config = load_config(path, arches=ARCHES)

    for spec in config.machines.values():
        driver = ARCHES[spec.arch].driver
        state = driver(spec.cpu, spec.options).attach(spec.msrs) if driver else None

        assert state is None or state.slots
        assert any(region.kind == "ram" for region in spec.memory)
        assert loaded_again(spec) == spec


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


# Wrong files

FIXED = "[machines.pc.mtrr]\nfixed = ["
VARIABLE = "phys_bits = 36\n[machines.pc.mtrr]\nvariable = ["

WRONG: list[tuple[str, str, str]] = [
    ("x = ", "", "is not TOML"),
    ("", "machines", "is missing"),
    (machine("") + "[audits]", "audits", "did you mean 'audit'?"),
    (machine('wp_write = "drop"'), "machines.pc.wp_write", "did you mean 'wp_writes'?"),
    (machine("phys_bits = 80"), "machines.pc.phys_bits", "80 is not between 32 and 52"),
    (machine("phys_bits = true"), "machines.pc.phys_bits", "is a boolean, not an integer"),
    (machine("phys_bits = 36.0"), "machines.pc.phys_bits", "is a float"),
    (machine("securelevel = 9"), "machines.pc.securelevel", "9 is not between -1 and 3"),
    (machine('wp_writes = "dorp"'), "machines.pc.wp_writes", "did you mean 'drop'?"),
    (machine("commit_latency = -1"), "machines.pc.commit_latency", "-1 is not a number of seconds"),
    (machine("commit_latency = nan"), "machines.pc.commit_latency", "nan is not"),
    ("[machines.pc]", "machines.pc.arch", "is missing"),
    ("[machines]\npc = 3", "machines.pc", "is an integer, not a table"),
    (machine("", arch="amd46"), "machines.pc.arch", "did you mean 'amd64'?"),
    (
        machine("[machines.pc.options]\nsolts = 3", arch="amd64"),
        "machines.pc.options.solts",
        "slots",
    ),
    (
        machine("[machines.pc.options]\nslots = -3", arch="amd64"),
        "machines.pc.options.slots",
        "-0x3",
    ),
    (machine("[machines.pc.cpu]\nsignature = -1"), "machines.pc.cpu.signature", "-0x1"),
    (machine("") + '[machines.PC]\narch = "arm64"', "machines.PC", "'pc' by case alone"),
    (machine("") + '[machines."a:b"]\narch = "arm64"', "machines.a:b", "letters, digits"),
    ('default = "pcs"\n' + machine(""), "default", "did you mean 'pc'?"),
    # memory
    (machine("memory = 3"), "machines.pc.memory", "is an integer, not an array"),
    (machine("memory = [3]"), "machines.pc.memory[0]", "is an integer, not a table"),
    (machine("memory = [{ base = 0 }]"), "machines.pc.memory[0].length", "is missing"),
    (machine("memory = [{ base = 0, length = 0 }]"), "machines.pc.memory[0].length", "is zero"),
    (
        machine("memory = [{ base = 8, end = 8 }]"),
        "machines.pc.memory[0].end",
        "0x8 does not lie after",
    ),
    (
        machine("memory = [{ base = 0, end = 8, length = 8 }]"),
        "machines.pc.memory[0].end",
        "contradicts",
    ),
    (
        machine('memory = [{ base = "64G", length = 1 }]'),
        "machines.pc.memory[0]",
        "0x1000000001, past the 36 bits",
    ),
    (
        machine("memory = [{ base = 8, length = 8 }, { base = 0, length = 9 }]"),
        "machines.pc.memory[0].base",
        "0x8 lies inside 0x0/0x9 (machines.pc.memory[1])",
    ),
    (
        machine('memory = [{ base = 0, length = 1, kind = "usable" }]'),
        "machines.pc.memory[0].kind",
        "'usable' is not a kind of memory (ram, rom",
    ),
    (
        machine('memory = [{ base = 0, length = 1, file = "none.bin" }]'),
        "machines.pc.memory[0].file",
        "'none.bin' cannot be read: No such file",
    ),
    (
        machine('memory = [{ base = 0, length = 1, hex = "5" }]'),
        "machines.pc.memory[0].hex",
        "is not hexadecimal",
    ),
    (
        machine('memory = [{ base = 0, length = 1, hex = "55aa" }]'),
        "machines.pc.memory[0].hex",
        "0x2 bytes, more than the region's 0x1",
    ),
    # kmem
    (
        machine('kmem = [{ virtual = "0xffffffff80000000", physical = 0, length = 5000 }]'),
        "machines.pc.kmem[0].length",
        "0x1388 is not a multiple of 4096",
    ),
    (
        machine('kmem = [{ virtual = 12, physical = 0, length = "4K" }]'),
        "machines.pc.kmem[0].virtual",
        "0xc is not a multiple of 4096",
    ),
    (
        machine('kmem = [{ virtual = "0xfffffffffffff000", physical = 0, length = "8K" }]'),
        "machines.pc.kmem[0].length",
        "past the end of the 64-bit",
    ),
    (
        machine('kmem = [{ virtual = 0, physical = "64G", length = "4K" }]'),
        "machines.pc.kmem[0].physical",
        "past the 36 bits",
    ),
    (
        machine(
            'kmem = [{ virtual = 0, physical = 0, length = "8K" },'
            ' { virtual = "4K", physical = 0, length = "4K" }]'
        ),
        "machines.pc.kmem[1].virtual",
        "0x1000 lies inside 0x0/0x2000",
    ),
    (machine("[machines.pc.symbols]\nx = -1"), "machines.pc.symbols.x", "-0x1 is not between"),
    # registers
    (
        machine('[machines.pc.msr]\n"0x2ff" = "0x1ffffffffffffffff"'),
        "machines.pc.msr.0x2ff",
        "0xffffffffffffffff",
    ),
    (machine('[machines.pc.msr]\n"cap" = 1'), "machines.pc.msr.cap", "no register number"),
    (machine('[machines.pc.msr]\n"0x10" = 1\n16 = 2'), "machines.pc.msr.16", "0x10 is given twice"),
    (machine("[machines.pc.msr]\n[machines.pc.mtrr]"), "machines.pc.mtrr", "contradicts 'msr'"),
    (
        machine("[machines.pc.mtrr]\nfixed_enabled = true"),
        "machines.pc.mtrr.fixed_enabled",
        "no 'fixed'",
    ),
    (
        machine('[machines.pc.mtrr]\ndefault = "write-bakc"'),
        "machines.pc.mtrr.default",
        "did you mean 'write-back'?",
    ),
    (
        machine(FIXED + '{ base = 0, length = "640K", type = "WB" }]'),
        "machines.pc.mtrr.fixed",
        "ends at 0xa0000",
    ),
    (
        machine(
            FIXED + '{ base = 0, length = "64K", type = "WB" },'
            ' { base = "128K", length = "896K", type = "UC" }]'
        ),
        "machines.pc.mtrr.fixed[1].base",
        "0x20000 leaves a gap: the range before ends at 0x10000",
    ),
    (
        machine(
            FIXED + '{ base = 0, length = "36K", type = "WB" },'
            ' { base = "36K", length = "988K", type = "UC" }]'
        ),
        "machines.pc.mtrr.fixed[0].length",
        "0x9000 cuts the fixed range 0x0/0x10000",
    ),
    (
        machine(VARIABLE + '{ base = 0, length = "3M", type = "WB" }]'),
        "machines.pc.mtrr.variable[0].length",
        "0x300000 is not a power of two",
    ),
    (
        machine(VARIABLE + '{ base = 0, length = 5000, type = "WB" }]'),
        "machines.pc.mtrr.variable[0].length",
        "0x1388 is not a multiple of 4096",
    ),
    (
        machine(VARIABLE + '{ base = "1M", length = "2M", type = "WB" }]'),
        "machines.pc.mtrr.variable[0].base",
        "0x100000 is not a multiple of the length",
    ),
    (
        machine(VARIABLE + '{ base = "64G", length = "1M", type = "WB" }]'),
        "machines.pc.mtrr.variable[0].base",
        "0x1000000000 lies past the 36 bits",
    ),
    (
        machine(VARIABLE + '{ base = 0, mask = "64G", type = "WB" }]'),
        "machines.pc.mtrr.variable[0].mask",
        "has bits past the 36",
    ),
    (
        machine(VARIABLE + '{ base = 0, type = "WB" }]'),
        "machines.pc.mtrr.variable[0]",
        "either a length or a mask",
    ),
    (
        machine(VARIABLE + '{ base = 0, length = "1M", type = "WB" }]\nvariable_count = 0'),
        "machines.pc.mtrr.variable[0]",
        "needs slot 0, but variable_count is 0",
    ),
    (
        machine(
            VARIABLE + '{ slot = 1, base = 0, length = "1M", type = "WB" },'
            '{ slot = 1, base = 0, length = "1M", type = "WB" }]'
        ),
        "machines.pc.mtrr.variable[1].slot",
        "1 is taken",
    ),
    # import
    (machine('import = "boot.txt"'), "machines.pc.import", "'boot.txt' cannot be read"),
    (machine('import = "hub.toml"'), "machines.pc.import", "looked for"),
    (machine('import = "boot.txt"\n[machines.pc.msr]'), "machines.pc.msr", "contradicts 'import'"),
    # the rest
    (machine("") + "[audit]", "audit.path", "is missing"),
    (machine("") + '[audit]\npath = "x"\ndurability = "ram"', "audit.durability", "(os, disk)"),
    (machine("") + '[service]\nmode = "0999"', "service.mode", "is not octal"),
    (machine("") + "[service]\nmode = 432", "service.mode", "is an integer, not a string"),
    (machine("") + "[service]\nallowed_uids = [-1]", "service.allowed_uids[0]", "-1 is not"),
    (machine("") + "[service.limits]\nin_flight = 0", "service.limits.in_flight", "0 is not"),
    (machine("") + "[service.tcp]", "service.tcp.port", "is missing"),
    (machine("") + '[service.tcp]\nport = 1\nca = "x"', "service.tcp.ca", "needs 'certfile'"),
    (machine("") + '[service.tcp]\nport = 1\nkeyfile = "x"', "service.tcp.certfile", "go together"),
    (machine("") + "[[service.rights]]\nuid = 0", "service.rights[0].allow", "is missing"),
    (machine("") + "[[service.rights]]\nallow = []", "service.rights[0]", "exactly one of uid"),
    (
        machine("") + '[[service.rights]]\nuid = 0\nmachine = "cp"\nallow = []',
        "service.rights[0].machine",
        "'cp' is not a machine of this file (pc)",
    ),
    (
        machine("") + '[[service.rights]]\nuid = 0\nallow = ["set-range"]',
        "service.rights[0].allow[0]",
        "did you mean 'set-ranges'?",
    ),
]


@pytest.mark.parametrize(("toml", "key", "reason"), WRONG)
def test_a_wrong_file_is_refused_by_file_key_and_reason(
    load: Load, toml: str, key: str, reason: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(toml)

    assert any(
        problem.key == key and reason in problem.reason for problem in caught.value.problems
    ), str(caught.value)
    assert "hub.toml: " + (f"{key}: " if key else "") in str(caught.value)


def test_every_mistake_is_named_at_once(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(machine('phys_bits = 80\nsecurelevel = "x"\nmemory = [{ base = 0, lenght = 1 }]'))

    assert [problem.key for problem in caught.value.problems] == [
        "machines.pc.phys_bits",
        "machines.pc.memory[0].length",
        "machines.pc.memory[0].lenght",
        "machines.pc.securelevel",
    ]


def test_a_missing_or_binary_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file"):
        load_config(tmp_path / "nowhere.toml")

    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml: is not UTF-8"):
        load_config(tmp_path / "binary.toml")


# Round trip


def loaded_again(spec: MachineSpec) -> MachineSpec:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "machine.toml"
        path.write_text(to_toml(spec), encoding="utf-8")

        return load_config(path).machines[spec.name]


U64 = st.integers(0, (1 << 64) - 1)
NAMES = st.text("abcXYZ019_-.é", min_size=1, max_size=8).filter(
    lambda name: any(letter.isalnum() for letter in name)
)
WORDS = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable() or "\x7f" in text)
PAGES = st.integers(1, 64).map(lambda count: count << 12)


def laid_out(sizes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """`(gap, length)` rows as `(base, length)`, one after another."""
    rows, at = [], 0
    for gap, length in sizes:
        rows.append((at + gap, length))
        at += gap + length

    return rows


REGIONS = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 1 << 20)), max_size=4).flatmap(
    lambda sizes: st.tuples(
        *[
            st.builds(
                Region,
                base=st.just(base),
                length=st.just(length),
                kind=st.sampled_from(["ram", "rom", "reserved", "acpi", "nvs", "unusable"]),
                data=st.binary(max_size=min(length, 8)),
            )
            for base, length in laid_out(sizes)
        ]
    )
)
MAPPINGS = st.lists(st.tuples(PAGES, PAGES), max_size=3).flatmap(
    lambda sizes: st.tuples(
        *[
            st.builds(
                KernelMapping,
                virtual=st.just((0xFFFFFFFF80000000 if index else 0) + base),
                physical=PAGES,
                length=st.just(length),
                writable=st.booleans(),
            )
            for index, (base, length) in enumerate(laid_out(sizes))
        ]
    )
)
TYPES = st.sampled_from([0, 1, 4, 5, 6])
PAIRS = st.one_of(
    st.just(VariableMtrr()),
    st.builds(
        lambda base, mask, kind: VariableMtrr(base << 12 | kind, mask << 12 | 0x800),
        st.integers(0, 0xFFFFF),
        st.integers(0, 0xFFFFF),
        TYPES,
    ),
)
REGISTERS = st.builds(
    lambda **fields: MtrrRegisters(phys_bits=32, **fields).encode(),
    fixed_supported=st.booleans(),
    write_combining=st.booleans(),
    enabled=st.booleans(),
    fixed_enabled=st.booleans(),
    default_type=TYPES,
    fixed_types=st.lists(TYPES, min_size=88, max_size=88).map(bytes),
    variable=st.lists(PAIRS, max_size=10).map(tuple),
)
OPTION: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-5, (1 << 63) - 1) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
SPECS = st.builds(
    MachineSpec,
    name=NAMES,
    arch=st.sampled_from(["amd64", "someone-elses"]),
    cpu=st.builds(
        Cpu,
        vendor=WORDS,
        signature=st.integers(0, 0xFFFFFFFF),
        phys_bits=st.just(32),
        mtrr=st.booleans(),
    ),
    msrs=REGISTERS | st.dictionaries(st.integers(0, 0xFFFFFFFF), U64, max_size=4),
    options=st.dictionaries(NAMES, OPTION, max_size=3),
    memory=REGIONS,
    kmem=MAPPINGS,
    symbols=st.dictionaries(NAMES, U64, max_size=3),
    securelevel=st.integers(-1, 3),
    wp_writes=st.sampled_from(["fault", "drop", "allow"]),
    upages=st.integers(1, 16),
    commit_latency=st.none() | st.floats(0, 10),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(SPECS)
def test_any_machine_survives_being_written_and_loaded(spec: MachineSpec) -> None:
    assert loaded_again(spec) == spec
