"""Texts that people have become machines, exactly."""

from __future__ import annotations

import re
from typing import Any

import pytest

from machines import ARCHES, DMESG, MACHINES, imported, loaded, rows, table_of
from memhub.abi import flag_words
from memhub.config import import_dump, to_toml
from memhub.config.importers.e820 import parse_e820

every_machine = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine["id"])
every_dmesg = pytest.mark.parametrize("machine", DMESG, ids=lambda machine: machine["id"])


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
    make = ARCHES["amd64-mtrr"].driver
    assert make is not None
    driver = make(spec.cpu, {})
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
    "iso": "2024-01-12T04:05:06,123456+00:00 ",
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
