"""Registers as firmware people have them: rdmsr, chipsec, EDK2, coreboot."""

from __future__ import annotations

import pytest

from fieldtexts import GIB, field, named, registers, types_of
from memhub.config import import_dump

# Registers


def test_coreboots_registers() -> None:
    result = field("coreboot.txt")
    found, types = registers(result), types_of(result)

    assert (found.phys_bits, found.default_type, found.fixed_enabled) == (39, 0, True)
    assert [types.at(it) for it in (0x100000, 0x7B000000, 0x80000000, 0x90000000, 4 * GIB)] == [
        "WB", "UC", "WC", "UC", "WB",
    ]  # fmt: skip
    assert found.fixed_types[:24] == bytes([6] * 16 + [0] * 8)


def test_edk2s_registers() -> None:
    result = field("edk2.txt")
    found, types = registers(result), types_of(result)

    assert (found.phys_bits, found.default_type) == (38, 6)
    assert [types.at(it) for it in (0x100000, 0xB0000000, 0xC0000000, 4 * GIB)] == [
        "WB", "UC", "UC", "WB",
    ]  # fmt: skip
    assert result.spec.msrs[0x259] == 0


MSRS = {
    "rdmsr": "# rdmsr 0x2ff\nc06\n# rdmsr 0x200\nc0000000\n# rdmsr 0x201\n3fc0000800\n",
    "rdmsr -p": "$ sudo rdmsr -p 0 0x2ff\nc06\n$ rdmsr -x -0 0x200\n00000000c0000000\n"
    "$ rdmsr -c 0x201\n0x3fc0000800\n",
    "chipsec": "[CHIPSEC] CPU0: RDMSR( 0x2ff ) = 0000000000000C06 (EAX=00000C06, EDX=00000000)\n"
    "[CHIPSEC] CPU0: RDMSR( 0x200 ) = 00000000C0000000 (EAX=C0000000, EDX=00000000)\n"
    "[CHIPSEC] CPU0: RDMSR( 0x201 ) = 0000003FC0000800 (EAX=C0000800, EDX=0000003F)\n",
    "chipsec registers": "[*] MTRR_DEF_TYPE = 0x0000000000000C06 << x (MSR 0x2FF Thread 0x0)\n"
    "[*] MTRR_PHYSBASE0 = 0x00000000C0000000 << Base (MSR 0x200 Thread 0x0)\n"
    "[*] MTRR_PHYSMASK0 = 0x0000003FC0000800 << Mask (MSR 0x201 Thread 0x0)\n",
    "by number": "0x2ff: 0xc06\n0x200: 0xc0000000\n0x201: 0x3fc0000800\n",
    "in a loop": "0x2ff: c06\n0x200: c0000000\n0x201: 3fc0000800\n",
    "table": "0x2ff 0x0000000000000c06\n0x200 0x00000000c0000000\n0x201 0x0000003fc0000800\n",
    "cpucontrol": "MSR 0x2ff: 0x00000000 0x00000c06\nMSR 0x200: 0x00000000 0xc0000000\n"
    "MSR 0x201: 0x0000003f 0xc0000800\n",
    "windbg": "msr[2ff] = 00000000`00000c06\nmsr[200] = 00000000`c0000000\n"
    "msr[201] = 0000003f`c0000800\n",
    "by name": "IA32_MTRR_DEF_TYPE: 0xc06\nIA32_MTRR_PHYSBASE0: 0xc0000000\n"
    "IA32_MTRR_PHYSMASK0: 0x3fc0000800\n",
}


@pytest.mark.parametrize("text", MSRS.values(), ids=MSRS)
def test_registers_by_number_are_taken_as_they_are(text: str) -> None:
    result = import_dump(text)

    assert result == field("rdmsr.txt")
    assert result.format == "msr"
    assert registers(result).variable[0].mask == 0x3FC0000800
    assert (registers(result).default_type, result.spec.cpu.phys_bits) == (6, 38)


def test_registers_of_cpus_that_differ_are_said_to() -> None:
    result = import_dump("# rdmsr -a 0x2ff\nc06\nc06\nc00\n# rdmsr -a 0x200\n6\n6\n6\n")

    (odd,) = named(result, "CPUs differ")
    assert all(word in odd for word in ("0x2ff", "0xc06", "0xc00"))


def test_an_amds_own_registers_tell_tom2() -> None:
    result = import_dump(
        "# rdmsr 0x2ff\nc00\n# rdmsr 0xc0010010\n740000\n# rdmsr 0xc001001d\n820000000\n"
    )

    assert result.spec.cpu.tom2 == 0x820000000
    assert types_of(result).at(4 * GIB) == "WB"
