"""Texts that people have become machines: exactly, with every fault named."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.abi import MDF_ACTIVE, RangeDesc, flag_words, owner_bytes
from memhub.config import Imported, ImportRefused, import_dump, load_config, to_toml
from memhub.config.importers.e820 import parse_e820
from memhub.config.importers.faults import find_faults
from memhub.core.mtrr import MASK_VALID, MtrrRegisters, VariableMtrr
from memhub.plugin.loader import load_arches

if TYPE_CHECKING:
    from memhub.core.spec import MachineSpec

DATA = Path(__file__).parent / "data"
MACHINES: list[dict[str, Any]] = [
    json.loads(line) for line in (DATA / "machines.open.jsonl").read_text().splitlines()
]
DMESG = [machine for machine in MACHINES if machine["format"] == "dmesg"]
every_machine = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine["id"])
every_dmesg = pytest.mark.parametrize("machine", DMESG, ids=lambda machine: machine["id"])

DRIVER = load_arches()["amd64-mtrr"].driver


def imported(machine: dict[str, Any], **changes: Any) -> Imported:
    return import_dump(changes.pop("text", machine["text"]), phys_bits=machine["phys_bits"])


def table_of(spec: MachineSpec) -> list[RangeDesc]:
    assert DRIVER is not None

    return list(DRIVER(spec.cpu, {}).attach(spec.msrs).slots)


def rows(table: list[RangeDesc]) -> list[list[Any]]:
    return [[desc.mr_base, desc.mr_len, desc.mr_flags, desc.owner] for desc in table]


def loaded(toml: str, name: str = "imported") -> MachineSpec:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "machine.toml"
        path.write_text(toml, encoding="utf-8")

        return load_config(path).machines[name]


# Real machines


@every_dmesg
def test_a_boot_log_gives_exactly_its_registers(machine: dict[str, Any]) -> None:
    expected = {int(number, 16): value for number, value in machine["msr"].items()}

    assert imported(machine).spec.msrs == expected


@every_dmesg
def test_a_boot_log_tells_the_address_width_by_itself(machine: dict[str, Any]) -> None:
    spec = import_dump(machine["text"]).spec

    assert spec.cpu.phys_bits == machine["phys_bits"]
    assert spec == imported(machine).spec


@every_machine
def test_the_driver_shows_the_recorded_table(machine: dict[str, Any]) -> None:
    result = imported(machine)

    assert result.format == machine["format"]
    assert rows(table_of(result.spec)) == machine["table"]


@every_machine
def test_effective_types_are_the_recorded_ones(machine: dict[str, Any]) -> None:
    spec = imported(machine).spec
    assert DRIVER is not None
    driver = DRIVER(spec.cpu, {})
    types = driver.types(driver.attach(spec.msrs))

    answers = [[address, types.at(address)] for address, _ in machine.get("types", [])]

    assert answers == machine.get("types", [])


@every_machine
def test_an_undefined_type_is_an_oddity_and_nothing_else_is(machine: dict[str, Any]) -> None:
    undefined = any(kind == "undefined" for _, kind in machine.get("types", []))
    named = [odd for odd in imported(machine).oddities if "no type is defined" in odd]

    assert bool(named) == undefined


@every_machine
def test_a_machine_survives_being_written_and_loaded(machine: dict[str, Any]) -> None:
    result = imported(machine)

    assert loaded(to_toml(result)) == result.spec
    assert loaded(to_toml(result.spec)) == result.spec


@every_dmesg
def test_a_memcontrol_listing_leads_back_to_the_table(machine: dict[str, Any]) -> None:
    table = table_of(imported(machine).spec)
    listing = "".join(
        f"{desc.mr_base:#x}/{desc.mr_len:#x} {desc.owner or '-'} "
        + "".join(f"{word} " for word in flag_words(desc.mr_flags, extra=False))
        + "\n"
        for desc in table
    )

    result = import_dump(listing, phys_bits=machine["phys_bits"])

    assert result.format == "memcontrol"
    again = rows(table_of(result.spec))
    assert again[: len(table)] == rows(table)
    # A listing of active slots alone does not tell how many there are.
    assumed = any("8 variable slots" in odd for odd in result.oddities)
    assert len(again) == (max(len(table), 96) if assumed else len(table))


# Line forms

STAMPS = {
    "syslog": "Jan 12 04:05:06 host kernel: [    0.000000] ",
    "journal": "Jan 12 04:05:06 host kernel: ",
    "level": "<6>[    0.000000] ",
    "dmesg -x": "kern  :debug : [    0.000000] ",
    "thread": "[    0.000000][    T0] ",
    "dmesg -T": "[Mon Jan 12 04:05:06 2009] ",
    "quoted": "> [    0.000000] ",
}


@pytest.mark.parametrize("stamp", STAMPS.values(), ids=STAMPS)
def test_what_precedes_a_message_does_not_matter(stamp: str) -> None:
    for machine in DMESG:
        bare = [re.sub(r"^\[ *\d+\.\d+\] ", "", line) for line in machine["text"].splitlines()]
        text = "\r\n".join(stamp + line for line in bare)

        assert import_dump(text) == import_dump(machine["text"])


def test_foreign_lines_between_do_not_matter() -> None:
    foreign = "[    0.1] ACPI: LAPIC (acpi_id[0x01] lapic_id[0x00] enabled)\nPID hash: 3 disabled x"
    for machine in DMESG:
        text = "\n".join(f"{line}\n{foreign}" for line in machine["text"].splitlines())

        assert import_dump(text) == import_dump(machine["text"])


def test_letter_case_and_spelling_do_not_matter() -> None:
    text = (
        "MTRR default type: UNCACHEABLE\nMTRR variable ranges enabled:\n"
        "  0 base 0080000000 mask ff80000000 Write-Back\n"
        "  1 base 00C0000000 mask FFC0000000 uncacheable\n"
    )
    spec = import_dump(text).spec

    assert spec.cpu.phys_bits == 40
    assert spec.msrs == {
        0xFE: 0x402, 0x2FF: 0x800, 0x200: 0x80000006, 0x201: 0xFF80000800,
        0x202: 0xC0000000, 0x203: 0xFFC0000800,
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "reg01: base=0x0e8000000 ( 3712MB), size=   32MB, count=1: write-combining",
        "reg01: base=0xe8000000 (3712MB), size=  32MB: write-combining, count=1",
        "reg01: base=0xE8000000 (3712MB), size=32768K: write-combining, count=1",
        "reg01: base=0x0e8000000 (3712MB), size=32768KB, count=12: write-combining",
        "reg01: base=0xe8000000 (3712MB), size=  32M, count=1: WRITE-COMBINING",
    ],
)
def test_every_line_form_of_proc_mtrr_says_the_same(line: str) -> None:
    table = table_of(import_dump(line).spec)

    assert len(table) == 8
    assert (table[1].mr_base, table[1].mr_len) == (0xE8000000, 32 << 20)
    assert flag_words(table[1].mr_flags) == ("write-combine", "set-by-firmware", "active")


def test_a_slot_past_the_eighth_makes_room_for_itself() -> None:
    line = "reg09: base=0x00000000 (   0MB), size=2048MB: write-back, count=1"

    assert len(table_of(import_dump(line).spec)) == 10


def test_the_old_form_of_the_memory_map_ends_before_its_end() -> None:
    old = [" BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)",
           " BIOS-e820: 000000000009fc00 - 00000000000a0000 (reserved)"]  # fmt: skip
    new = ["BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable",
           "BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved"]  # fmt: skip
    oddities: list[str] = []

    assert parse_e820(old, oddities) == parse_e820(new, oddities)
    assert oddities == []


def test_the_pat_and_the_processor_are_read_but_are_no_firmware_registers() -> None:
    text = (
        DMESG[0]["text"]
        + "\nx86 PAT enabled: cpu 0, old 0x7040600070406, new 0x7010600070106\n"
        + "smpboot: CPU0: AMD Phenom(tm) II (fam: 10, model: 04, stepping: 03)\n"
    )
    result = import_dump(text, arch="amd64")

    assert result.pat == ("WB", "WC", "UC-", "UC", "WB", "WC", "UC-", "UC")
    assert result.spec.options == {"palette": list(result.pat)}
    assert 0x277 not in result.spec.msrs
    assert (result.spec.cpu.vendor, result.spec.cpu.signature) == ("AMD", 0x100F43)


# memcontrol


def test_a_listing_without_inactive_slots_assumes_eight_of_them() -> None:
    result = import_dump("0xe8000000/0x2000000 drm write-combine active \n")

    assert result.format == "memcontrol"
    assert len(table_of(result.spec)) == 8
    assert any("8 variable slots" in odd for odd in result.oddities)
    assert any("default type" in odd for odd in result.oddities)
    assert any("'drm'" in odd for odd in result.oddities)


def test_an_inactive_slot_of_a_listing_tells_the_address_width() -> None:
    listing = (
        "0x0/0x40000000 BIOS write-back set-by-firmware active\n0x0/0x4000000000 - uncacheable"
    )

    spec = import_dump(listing).spec

    assert spec.cpu.phys_bits == 38
    assert spec.msrs[0xFE] & 0xFF == 2


# Oddities

VARIABLE = "MTRR default type: uncachable\nMTRR variable ranges enabled:\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (VARIABLE + "0 base 000000000 mask 000000000 write-back", ["slot 0", "mask is zero"]),
        (
            VARIABLE + "0 base 0E0000000 mask 0E0000000 uncachable",
            ["slot 0", "0xf00000000", "holes"],
        ),
        (
            VARIABLE + "0 base 0E8000000 mask FF0000000 uncachable",
            ["slot 0", "0x8000000", "misaligned"],
        ),
        (VARIABLE + "0 base 000000000 mask F80000000 ?", ["slot 0", "reserved encoding"]),
        (
            VARIABLE + "0 base 0D0000000 mask FF0000000 write-back\n"
            "1 base 0D8000000 mask FF8000000 write-combining",
            ["slots 0", "and 1", "0xd8000000", "no type is defined"],
        ),
        (
            VARIABLE + "0 base 0D0000000 mask FF0000000 write-back\n"
            "1 base 0D0000000 mask FF0000000 write-back",
            ["slots 0 and 1", "same range"],
        ),
        (VARIABLE + "0 base zzz mask FF0000000 write-back\n1 disabled", ["not understood", "zzz"]),
        (
            VARIABLE + "0 base 0D0000000 mask FF0000000 write-sideways\n1 disabled",
            ["write-sideways"],
        ),
        (VARIABLE + "1 base 0D0000000 mask FF0000000 write-back", ["slot 0", "not listed"]),
        (VARIABLE + "0 base 000000000 mask 0F0000000 write-back", ["no mask reaches", "36 bits"]),
        (VARIABLE + "0 disabled\n0 base 000000000 mask FF0000000 write-back", ["slot 0", "twice"]),
        ("MTRR variable ranges enabled:\n0 disabled", ["assumed", "default type"]),
        (VARIABLE.replace("enabled", "disabled") + "0 disabled", ["disabled", "all memory"]),
        (VARIABLE + "0 disabled\n" + VARIABLE + "0 disabled", ["more than one boot"]),
        (
            "MTRR default type: uncachable\nMTRR fixed ranges enabled:\n  00000-9FFFF write-back\n",
            ["assumed", "0xa0000"],
        ),
        (
            (
                "MTRR default type: uncachable\nMTRR fixed ranges enabled:\n"
                "  00000-9FFFF write-back\n  A0000-C0800 uncachable\n  C1000-FFFFF uncachable\n"
            ),
            ["0xc0000/0x1000", "in part"],
        ),
        ("reg00: base=0x0 (0MB), size=3072MB: write-back, count=1", ["slot 0", "holes"]),
        (
            "reg00: base=0xffd00000 (4093MB), size=4MB: write-back, count=1",
            ["slot 0", "misaligned"],
        ),
        ("reg00: base=0xe0000000 (9MB), size=4MB: write-back, count=1", ["slot 0", "9MB"]),
        (
            "reg00: base=0x0 (0MB), size=4MB: write-back, count=1\nreg01: base=here",
            ["not understood", "reg01: base=here"],
        ),
        ("0x0/0x1000 BIOS unknown active", ["0x0/0x1000", "no known type"]),
        ("0x0/0x1000 BIOS write-back fixed-base active", ["0x0/0x1000", "no fixed range"]),
        ("BIOS-e820: 0 - 1000 (usable)", ["no range registers"]),
        ("BIOS-e820: 0 - 1000 (usable)\nBIOS-e820: 800 - 2000 (reserved)", ["0x800", "overlap"]),
        ("BIOS-e820: 0 - 1000 (usable)\nBIOS-e820: nonsense", ["not understood", "nonsense"]),
        ("BIOS-e820: 0 - 1000 (type 42)", ["'type 42'", "reserved"]),
    ],
)
def test_what_is_odd_is_named_with_slot_and_values(text: str, words: list[str]) -> None:
    oddities = import_dump(text).oddities

    assert any(all(word in odd for word in words) for odd in oddities), oddities


def test_a_sound_machine_has_no_oddities() -> None:
    sound = next(machine for machine in DMESG if machine["id"] == "dell-e6510-8g")

    assert import_dump(sound["text"]).oddities == ()


def test_memory_past_the_address_width_is_cut_and_said() -> None:
    text = (
        "BIOS-e820: 0 - 2000000000 (usable)\n"
        + VARIABLE
        + "0 base 000000000 mask F80000000 write-back"
    )
    result = import_dump(text)

    assert [(region.base, region.length) for region in result.spec.memory] == [(0, 1 << 36)]
    assert any("runs past 36 bits" in odd for odd in result.oddities)


def test_the_width_given_yields_to_addresses_that_need_more() -> None:
    line = "reg00: base=0x1000000000 (65536MB), size=2048MB: write-back, count=1"
    result = import_dump(line, phys_bits=36)

    assert result.spec.cpu.phys_bits == 37
    assert any("37 bits" in odd and "36" in odd for odd in result.oddities)


@pytest.mark.parametrize("text", ["", "hello\nworld\n", "reg00: base=here\n", "0x1/0x2 x y\n"])
def test_a_text_with_nothing_usable_is_refused_and_says_what_was_looked_for(text: str) -> None:
    with pytest.raises(ImportRefused, match=r"MTRR default.*BIOS-e820.*reg00.*memcontrol list"):
        import_dump(text)


# Properties

BLOCK = 1 << 28
PAIRS = st.builds(
    lambda base, mask, kind, valid: VariableMtrr(
        base * BLOCK | kind, mask * BLOCK | (MASK_VALID if valid else 0)
    ),
    st.integers(0, 15),
    st.integers(0, 15),
    st.sampled_from([0, 1, 4, 5, 6]),
    st.booleans(),
)


@given(st.lists(PAIRS, max_size=6))
def test_undefined_overlaps_are_found_exactly_where_there_are_any(
    pairs: list[VariableMtrr],
) -> None:
    registers = MtrrRegisters(phys_bits=32, variable=tuple(pairs))
    undefined = False
    for block in range(16):
        types = {pair.type for pair in pairs if pair.matches(block * BLOCK + (1 << 20), 32)}
        undefined |= len(types) > 1 and 0 not in types and types != {4, 6}

    found = [fault for fault in find_faults(registers) if "no type is defined" in fault]

    assert bool(found) == undefined
    for fault in found:
        where = int(fault.split("overlap at ")[1].split(":")[0], 16)
        assert len({pair.type for pair in pairs if pair.matches(where, 32)}) > 1


ENTRIES = st.tuples(
    st.integers(0, 30), st.integers(1, 12), st.sampled_from(["usable", "reserved", "ACPI NVS"])
)
RANK = {"ram": 1, "reserved": 2, "nvs": 4}


@given(st.lists(ENTRIES, max_size=8))
def test_a_memory_map_is_flattened_byte_for_byte(entries: list[tuple[int, int, str]]) -> None:
    kinds = {"usable": "ram", "reserved": "reserved", "ACPI NVS": "nvs"}
    model: dict[int, str] = {}
    for base, length, word in entries:
        for at in range(base, base + length):
            model[at] = max(model.get(at, kinds[word]), kinds[word], key=lambda kind: RANK[kind])

    lines = [f"BIOS-e820: {base:x} - {base + length:x} ({word})" for base, length, word in entries]
    regions = parse_e820(lines, [])
    flat = [(at, r.kind) for r in regions for at in range(r.base, r.base + r.length)]

    assert flat == sorted(model.items())


LINES = [line for machine in MACHINES[9:50:4] for line in machine["text"].splitlines()[::3]] + [
    "0xe8000000/0x2000000 drm write-combine active ",
    "0x0/0x10000 BIOS write-back fixed-base fixed-length set-by-firmware active ",
    "reg00: base=0x00000000 (   0MB), size=1024MB: write-back, count=1",
    "x86/PAT: Configuration [0-7]: WB  WC  UC- UC  WB  WP  UC- WT  ",
    "CPU0: Intel(R) Xeon(R) (family: 0x6, model: 0x2c, stepping: 0x2)",
]


@st.composite
def spoilt_lines(draw: st.DrawFn) -> str:
    line: str = draw(st.sampled_from(LINES))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(line)))
        cut = draw(st.integers(0, 4))
        line = (
            line[:at] + draw(st.text("0123456789abcdefFx-:,()[] ?", max_size=6)) + line[at + cut :]
        )

    return line


@given(st.one_of(st.text(max_size=200), st.lists(spoilt_lines(), max_size=30).map("\n".join)))
def test_no_text_breaks_the_importer(text: str) -> None:
    try:
        result = import_dump(text)
    except ImportRefused:
        return

    assert loaded(to_toml(result)) == result.spec
    for desc in table_of(result.spec):
        assert not desc.mr_flags & MDF_ACTIVE or desc.mr_owner == owner_bytes("BIOS")
