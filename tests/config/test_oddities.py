"""What is faulty in a text is named, and no text breaks the importer."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from machines import DMESG, MACHINES, loaded, table_of
from memhub.abi import MDF_ACTIVE, owner_bytes
from memhub.config import ImportRefused, import_dump, to_toml
from memhub.config.importers.e820 import parse_e820
from memhub.config.importers.faults import find_faults
from memhub.x86.registers import MASK_VALID, WB, WC, MtrrRegisters, VariableMtrr

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
            "reg00: base=0xe0000000 (3584MB), size=4MB: write-back, count=1\n" * 1000,
            ["slot 0 is listed 1000 times"],
        ),
        (
            (
                "reg00: base=0xe0000000 (3584MB), size=4MB: write-back, count=1\n"
                "reg00: base=0xe0000000 (3584MB), size=8MB: write-back, count=1\n"
            )
            * 500,
            ["slot 0 is listed 1000 times with other values: the last counts"],
        ),
        (
            "reg00: base=0x0 (0MB), size=4MB: write-back, count=1\nreg01: base=here",
            ["not understood", "reg01: base=here"],
        ),
        ("0x0/0x1000 BIOS unknown active", ["0x0/0x1000", "its type is unknown"]),
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


def test_without_a_better_word_the_memory_map_decides_the_address_width() -> None:
    memory = "BIOS-e820: 0 - 8000000000 (usable)\n"

    assert import_dump(memory + VARIABLE + "0 disabled").spec.cpu.phys_bits == 39
    assert import_dump(memory + VARIABLE + "0 disabled", phys_bits=46).spec.cpu.phys_bits == 46
    assert import_dump(VARIABLE + "0 disabled").spec.cpu.phys_bits == 36


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


def test_forty_ranges_full_of_holes_are_judged_without_delay() -> None:
    tangled = random.Random(1)
    masks = [sum(1 << bit for bit in tangled.sample(range(12, 52), 3)) for _ in range(38)]
    holes = [VariableMtrr(tangled.getrandbits(52) & mask, mask | MASK_VALID) for mask in masks]
    pairs = (VariableMtrr(WB, MASK_VALID), VariableMtrr(WC, MASK_VALID), *holes)
    faults = list(find_faults(MtrrRegisters(phys_bits=52, variable=pairs)))

    assert any("slots 0" in fault and "is defined there" in fault for fault in faults)


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
