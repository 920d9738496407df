"""Texts as people really have them, and what is right for each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from fieldtexts import FIELD, GIB, field, named, registers, text_of, types_of
from machines import ARCHES, loaded, table_of
from memhub.abi import MDF_WRITECOMBINE, RangeDesc
from memhub.config import import_dump, to_toml
from memhub.errors import NoSpace
from memhub.x86.registers import tom2_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", sorted(FIELD.iterdir()), ids=lambda path: path.name)
def test_every_text_becomes_a_machine_that_survives_being_written(path: Path) -> None:
    result = import_dump(path.read_text())

    assert loaded(to_toml(result)) == result.spec


# TOM2


@pytest.mark.parametrize("arch", ["amd64-mtrr", "i386", "amd64"])
def test_memory_up_to_tom2_is_write_back_by_default(arch: str) -> None:
    result = field("ryzen-tom2.dmesg.txt")
    types = types_of(result, arch)

    assert result.spec.cpu.vendor == "AMD"
    edges = (4 * GIB - 1, 4 * GIB, 0x81F000000, 0x81FFFFFFF, 0x820000000)
    assert [types.at(it) for it in edges] == ["UC", "WB", "WB", "WB", "UC"]
    assert not named(result, "write-back")
    if arch != "amd64":
        assert types.why(4 * GIB) == "no range matches: WB from 4 GiB to TOM2 (0x820000000)"


def test_a_range_counts_before_tom2_and_the_registers_tell_it_too() -> None:
    row = "  3 base 000140000000 mask FFFFC0000000 uncachable"
    text = text_of("ryzen-tom2.dmesg.txt").replace("  3 disabled", row)
    types = types_of(import_dump(text))

    assert (types.at(0x13FFFFFFF), types.at(0x140000000), types.at(0x180000000)) == (
        "WB", "UC", "WB",
    )  # fmt: skip
    forced = {0xC0010010: 3 << 21, 0xC001001D: 0x820000000}
    assert tom2_of(forced) == 0x820000000
    assert tom2_of({**forced, 0xC0010010: 1 << 21}) == 0


def test_without_the_tom2_line_the_memory_above_is_said_to_be_slow() -> None:
    lines = text_of("ryzen-tom2.dmesg.txt").splitlines()
    result = import_dump("\n".join(line for line in lines if "TOM2" not in line))

    (slow,) = named(result, "of RAM are not write-back")
    assert slow.startswith(f"{0x71F380000 >> 20} MiB of RAM")
    assert "0x100000000" in slow


def test_xen_says_tom2_its_own_way() -> None:
    text = text_of("ryzen-tom2.dmesg.txt")
    rows = [re.sub(r"^\[[ \d.]+\]", "(XEN)", line) for line in text.splitlines()]
    xen = "\n".join(rows).replace(" aka 33280M", " (WB)")

    assert import_dump(xen) == field("ryzen-tom2.dmesg.txt")
    assert import_dump(xen.replace(" (WB)", "")).spec.cpu.tom2 == 0


# /proc/mtrr


def test_registers_that_only_subtract_leave_the_default_write_back() -> None:
    result = field("only-subtracts.proc-mtrr.txt")
    types = types_of(result)

    assert [types.at(it) for it in (0x100000, 0xCFF00000, 0xF0000000)] == ["WB", "UC", "UC"]
    assert named(result, "assumed: default type write-back")
    guest = import_dump("reg00: base=0x0c0000000 ( 3072MB), size= 1024MB, count=1: uncachable\n")
    assert [types_of(guest).at(it) for it in (0x100000, 0xC0000000)] == ["WB", "UC"]


@pytest.mark.parametrize("listing", ["proc_mtrr", "memcontrol", "dmesg"])
def test_ram_that_is_covered_leaves_the_default_uncacheable(listing: str) -> None:
    text = {
        "proc_mtrr": "reg00: base=0x0 (0MB), size=1024MB: write-back, count=1",
        "memcontrol": "0x0/0x40000000 BIOS write-back active",
        "dmesg": "MTRR variable ranges enabled:\n0 base 000000000 mask FC0000000 write-back",
    }[listing]
    result = import_dump(text)

    assert result.format == listing
    assert types_of(result).at(GIB) == "UC"


@pytest.mark.parametrize(
    ("before", "between"),
    [
        ("", " "),
        ("$ cat /proc/mtrr ", " "),
        ("root@host:~# cat /proc/mtrr\n", "\n"),
        ("root@host:~# cat /proc/mtrr ", "  "),
        ("> ", "\n> "),
        ("12:", "\n13:"),
        ("\x1b[32m", "\x1b[0m\n\x1b[32m"),
        ("/proc/mtrr:", "\n/proc/mtrr:"),
    ],
)
def test_proc_mtrr_may_be_pasted_in_any_way(before: str, between: str) -> None:
    lines = text_of("only-subtracts.proc-mtrr.txt").splitlines()

    assert import_dump(before + between.join(lines)) == field("only-subtracts.proc-mtrr.txt")


# Boot logs


def test_xens_log_is_read_and_its_complaint_is_kept() -> None:
    result = field("xen-dmesg.txt")
    found = registers(result)

    assert (found.default_type, found.variable_count) == (6, 8)
    assert (found.variable[0].base, found.variable[0].mask) == (0x80000000, 0xFF80000800)
    assert len(named(result, "CPUs differ")) == 3


DECORATIONS = {
    "blanks": "            {}            ",
    "xen": "(XEN) {}",
    "xen stamped": "(XEN) [2024-01-02 03:04:05] {}",
    "guest": "(d1) [    0.000000] {}",
    "github": "2024-01-02T03:04:05.1234567Z {}",
    "gitlab": "2024-01-02T03:04:05.123456Z 01O {}",
    "jenkins": "[2024-01-02T03:04:05.123Z] [    0.000000] {}",
    "lava": "00:00:01.234 [    0.000000] {}",
    "date": "Tue Jan  2 03:04:05 UTC 2024 {}",
    "rfc": "Tue, 02 Jan 2024 03:04:05 +0000 [    0.000000] {}",
    "colour": "\x1b[32m[    0.000000] \x1b[0m\x1b[33mx\x1b[0m {}",
    "shown colour": "^[[32m[    0.000000] ^[[0m{}",
    "level": "[    0.000000] <6>{}",
    "level of its own": "<6>[    0.000000] {}",
    "grep -n": "{n}:[    0.000000] {}",
    "grep -nH": "dmesg.txt:{n}:[    0.000000] {}",
    "grep -A": "{n}-[    0.000000] {}",
    "minicom": "[03:04:05:123] [    0.000000] {}",
    "cpu": "[    0.000000,0] {}",
    "tabs": "\t\t{}\t",
}


@pytest.mark.parametrize("decoration", DECORATIONS.values(), ids=DECORATIONS)
@pytest.mark.parametrize("name", ["indented.dmesg.txt", "ryzen-tom2.dmesg.txt"])
def test_what_stands_before_a_line_does_not_matter(name: str, decoration: str) -> None:
    lines = [re.sub(r"^ *\[ *[\d.]+\] ?", "", line).rstrip() for line in text_of(name).splitlines()]
    text = "\n".join(
        decoration.replace("{n}", str(number)).replace("{}", line)
        for number, line in enumerate(lines, 8)
    )

    assert import_dump(text) == field(name)
    assert len(registers(field("indented.dmesg.txt")).variable) == 8


def test_a_foreign_line_between_the_slots_is_none() -> None:
    text = text_of("indented.dmesg.txt").replace("4 disabled", "audit: rule 7 disabled")
    result = import_dump(text)

    assert named(result, "slot 4 is not listed")


def test_a_mail_is_joined_and_decoded() -> None:
    result = field("quoted-printable.eml")

    ram = [it for it in result.spec.memory if it.kind == "ram"]
    assert [(it.base, it.base + it.length - 1) for it in ram] == [
        (0, 0x9FFFF),
        (0x100000, 0x88DCAFFF),
        (0x100000000, 0x46E7FFFFF),
    ]
    assert result.pat == ("WB", "WC", "UC-", "UC", "WB", "WP", "UC-", "WT")
    assert registers(result).variable_count == 10


def test_a_kernel_that_prints_no_registers_is_told_how_to() -> None:
    result = field("linux-6.5-map-only.dmesg.txt")
    found = registers(result)

    assert (found.enabled, found.variable_count) == (True, 8)
    assert len(table_of(result.spec)) == 8
    assert types_of(result).at(0x100000) == "WB"
    assert named(result, "mtrr=debug", "/proc/mtrr")


def test_such_a_kernels_log_beside_proc_mtrr_tells_how_many_slots_there_are() -> None:
    log = text_of("linux-6.5-map-only.dmesg.txt").replace("from 8", "from 10")
    result = import_dump(
        log + "reg00: base=0x0c0000000 ( 3072MB), size= 1024MB, count=1: uncachable"
    )

    assert result.format == "proc_mtrr"
    assert registers(result).variable_count == 10
    assert not named(result, "mtrr=debug")


def test_the_map_of_the_hypervisor_itself_is_read() -> None:
    rows = (
        "(XEN) Xen-e820 RAM map:",
        "(XEN)  [0000000000000000, 000000000009fbff] (usable)",
        "(XEN)  0000000000100000 - 0000000080000000 (usable)",
        "(XEN) Xen: not a row of it",
    )
    result = import_dump("\n".join(rows) + "\n" + text_of("xen-dmesg.txt"))

    assert [(it.base, it.base + it.length) for it in result.spec.memory] == [
        (0, 0x9FC00),
        (0x100000, 0x80000000),
    ]


# The K6


@pytest.mark.parametrize(
    ("line", "signature"),
    [
        ("CPU: AMD-K6(tm) 3D processor stepping 0c", 0x58C),
        ("CPU: AMD-K6(tm) 3D+ Processor stepping 01", 0x591),
        ("CPU: AMD-K6(tm)-III Processor stepping 04", 0x594),
        ("mtrr: detected mtrr type: AMD K6", 0x58C),
        ("vendor_id\t: AuthenticAMD\ncpu family\t: 5\nmodel\t\t: 8\nstepping\t: 12", 0x58C),
    ],
)
def test_a_k6_is_one_and_its_driver_attaches(line: str, signature: int) -> None:
    text = text_of("linux-2.4-k6.dmesg.txt").replace(
        "CPU: AMD-K6(tm) 3D processor stepping 0c", line
    )
    spec = import_dump(text, arch="k6").spec
    make = ARCHES["k6"].driver
    assert make is not None
    driver = make(spec.cpu, {})
    state = driver.attach(spec.msrs)

    assert (spec.cpu.vendor, spec.cpu.signature, spec.cpu.phys_bits) == ("AMD", signature, 32)
    for base in (0xD0000000, 0xD8000000):
        desc = RangeDesc(base, 0x800000, MDF_WRITECOMBINE)
        state = state.apply(driver.update(state, desc))

    with pytest.raises(NoSpace):
        driver.update(state, RangeDesc(0xE0000000, 0x800000, MDF_WRITECOMBINE))


# What is looked at in every text


SOURCES = {
    "dmesg": "MTRR default type: uncachable\nMTRR variable ranges enabled:\n"
    "  0 base 000000000 mask FC0000000 write-back\n",
    "proc_mtrr": "reg00: base=0x0 (0MB), size=1024MB: write-back, count=1\n",
    "memcontrol": "0x0/0x40000000 BIOS write-back active\n",
    "msr": "# rdmsr 0x2ff\n800\n# rdmsr 0x200\n6\n# rdmsr 0x201\nfc0000800\n",
}


@pytest.mark.parametrize("form", SOURCES)
def test_slow_ram_and_cpus_that_differ_are_named_whatever_the_source(form: str) -> None:
    memory = "BIOS-e820: 0000000000000000 - 0000000048000000 (usable)\n"
    differ = "mtrr: your CPUs had inconsistent fixed MTRR settings\n"
    result = import_dump(memory + differ + SOURCES[form])

    assert result.format == form
    assert named(result, "128 MiB of RAM are not write-back", "UC", "0x40000000")
    assert len(named(result, "the CPUs differ", "fixed MTRR")) == 1
