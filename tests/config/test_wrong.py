"""A wrong configuration file is refused by file, key and rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from machines import one_machine as machine
from memhub.config import ConfigError, HubConfig, load_config

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[[str], HubConfig]

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
    (machine("coherent = 3"), "machines.pc.coherent", "is an integer, not true or false"),
    (machine('coherent = false\nbus = "blnd"'), "machines.pc.bus", "did you mean 'blind'?"),
    (machine('bus = "blind"'), "machines.pc.bus", "give 'coherent = false' too"),
    (machine("caches = { lines = 9 }"), "machines.pc.caches", "give 'coherent = false' too"),
    (
        machine("coherent = false\ncaches = { line_size = 48 }"),
        "machines.pc.caches.line_size",
        "48 is not a power of two",
    ),
    (
        machine("coherent = false\ncaches = { buffers = 0 }"),
        "machines.pc.caches.buffers",
        "0 is not between 1 and 64",
    ),
    (machine("coherent = false\ncaches = { sed = 1 }"), "machines.pc.caches.sed", "'seed'?"),
    (
        machine('phys_bits = 52\nmemory = [{ base = 0, length = "512T" }]', arch="amd64"),
        "machines.pc.memory",
        "more than the 0x400000000000 that one process can map",
    ),
    (
        machine('phys_bits = 52\nmemory = [{ base = "1T", length = "8T" }]', arch="amd64"),
        "machines.pc.memory",
        "leaves the address space: RAM of this kernel ends at 0x80000000000 at most",
    ),
    (
        machine(
            'kmem = [{ virtual = "0xfffff80000000000", physical = 0, length = "4K" }]\n'
            'memory = [{ base = 0, length = "16M" }]',
            arch="amd64",
        ),
        "machines.pc.kmem",
        "overlap: a kernel address has one translation",
    ),
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
    (
        machine("") + "\n[service.limits]\ndriver_timeout = 0",
        "service.limits.driver_timeout",
        "is zero",
    ),
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
        "has a hexadecimal digit alone; two make a byte",
    ),
    (
        machine('memory = [{ base = 0, length = 1, hex = "55aa" }]'),
        "machines.pc.memory[0].hex",
        "0x2 bytes, more than the region's 0x1",
    ),
    # kmem_entries
    (
        machine('kmem_entries = [{ virtual = 12, length = "4K" }]'),
        "machines.pc.kmem_entries[0].virtual",
        "0xc is not a multiple of 4096",
    ),
    (
        machine('kmem_entries = [{ virtual = "0xfffffffffffff000", length = "8K" }]'),
        "machines.pc.kmem_entries[0].length",
        "past the end of the 64-bit",
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
    (machine('[machines.pc.msr]\n"cap" = 1'), "machines.pc.msr.cap", "not a register number"),
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
        "1 is used",
    ),
    # import
    (machine('import = "boot.txt"'), "machines.pc.import", "'boot.txt' cannot be read"),
    (machine('import = "hub.toml"'), "machines.pc.import", "looked for"),
    (machine('import = "boot.txt"\n[machines.pc.msr]'), "machines.pc.msr", "contradicts 'import'"),
    # the rest
    (machine("") + "[audit]", "audit.path", "is missing"),
    (machine("") + '[audit]\npath = "x"\ndurability = "ram"', "audit.durability", "(os, disk)"),
    (machine("") + '[audit]\npath = "x"\nmax_bytes = "1M"', "audit.max_bytes", "ends in a slash"),
    (machine("") + '[audit]\npath = "x/"\nmax_bytes = 12', "audit.max_bytes", "0xc is not"),
    (machine("") + '[audit]\npath = "x/"\nmax_age = 0', "audit.max_age", "zero"),
    (machine("") + '[audit]\npath = "x/"\nseal_every = -1', "audit.seal_every", "-1"),
    (machine("") + '[audit]\npath = "x/"\nmax_age = 1e308', "audit.max_age", "(10 years)"),
    (machine("") + '[audit]\npath = "x/"\nseal_every = 315360001', "audit.seal_every", "10 years"),
    (machine("") + '[audit]\npath = "x/"\nsnapshot_every = 1', "audit.snapshot_every", "1"),
    (machine("") + '[audit]\npath = "x/"\nkey = 1', "audit.key", "string"),
    (machine("") + '[service]\nmode = "0999"', "service.mode", "is not octal"),
    (machine("") + "[service]\nmode = 432", "service.mode", "is an integer, not a string"),
    (machine("") + "[service]\nallowed_uids = [-1]", "service.allowed_uids[0]", "-1 is not"),
    (machine("") + "[service.limits]\nin_flight = 0", "service.limits.in_flight", "0 is not"),
    (machine("") + "[service.tcp]", "service.tcp.port", "is missing"),
    (machine("") + '[service.tcp]\nport = 1\nca = "x"', "service.tcp.ca", "needs 'certfile'"),
    (machine("") + '[service.tcp]\nport = 1\nkeyfile = "x"', "service.tcp.certfile", "go together"),
    (
        machine("") + '[service.tcp]\nhost = "0.0.0.0"\nport = 1\ntoken_file = "x"',
        "service.tcp.host",
        "'0.0.0.0' is not a loopback address and needs TLS",
    ),
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
    (
        machine("") + "[[service.rights]]\nsubject = 'CN=rig-a,lab'\nallow = []",
        "service.rights[0].subject",
        "'CN=rig-a,lab' has 'lab' where TYPE=VALUE is expected",
    ),
    (
        machine("") + "[[service.rights]]\nsubject = 'NC=rig-a'\nallow = []",
        "service.rights[0].subject",
        "'NC', which is not an attribute type: give one of CN, O,",
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
