"""Write a machine as commented TOML that loads back to the same machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from memhub.config.caches import coherence_lines, limit_lines
from memhub.config.devices import device_tables
from memhub.config.images import image_lines
from memhub.config.importers.model import Imported
from memhub.config.kernel import kernel_lines
from memhub.core.drivers.driver import UNSAID_CPU
from memhub.core.spec import MachineSpec, UnsaidRegisters
from memhub.escape import escape_controls, is_visible
from memhub.x86.registers import (
    FIXED_MSRS,
    FIXED_RANGES,
    MSR_MTRR_DEF_TYPE,
    MSR_MTRR_VARIABLE_BASE,
    MSR_MTRRCAP,
    TYPE_NAMES,
    MtrrRegisters,
    VariableMtrr,
    address_mask,
)

if TYPE_CHECKING:
    from memhub.core.spec import Region

_WORDS: Mapping[int, str] = {
    0: "uncacheable",
    1: "write-combine",
    4: "write-through",
    5: "write-protect",
    6: "write-back",
}
_UNITS = ((30, "GiB"), (20, "MiB"), (10, "KiB"))


def to_toml(machine: Imported | MachineSpec) -> str:
    """Write one machine as a configuration file.

    Args:
        machine: the machine, or an import of one, whose oddities become comments.

    Returns:
        TOML text that `load_config` reads back to an equal MachineSpec. Registers are written as an
        `[mtrr]` table where that is exact, otherwise as raw `[msr]`.
    """
    spec = machine.spec if isinstance(machine, Imported) else machine
    head = [] if isinstance(machine, MachineSpec) else list(_header_lines(machine))
    key = f"machines.{_toml_key(spec.name)}"
    lines = [
        *head,
        f"[{key}]",
        *_machine_lines(spec),
        *_memory_lines(spec),
        *image_lines(spec.contents, _toml_value),
        *_kmem_lines(spec),
        *_kmem_entries(spec),
        *_subtable_lines(f"{key}.cpu", _cpu_lines(spec)),
        *_subtable_lines(f"{key}.options", _plain_lines(spec.options)),
        *_subtable_lines(f"{key}.kernel_options", _plain_lines(spec.kernel_options)),
        *_subtable_lines(f"{key}.symbols", _plain_lines(spec.symbols)),
        *_subtable_lines(f"{key}.caches", limit_lines(spec, _toml_value)),
        *_register_lines(key, spec),
        *_device_lines(key, spec),
    ]

    return "\n".join(lines) + "\n"


def _header_lines(imported: Imported) -> Iterator[str]:
    yield f"# Imported from a {imported.format} text."
    if imported.pat:
        yield f"# The operating system set the page attribute table to: {' '.join(imported.pat)}"

    if imported.oddities:
        yield "#"
        yield "# What is odd about it:"

    for oddity in imported.oddities:
        yield f"# - {_toml_comment(oddity)}"

    yield ""


def _machine_lines(spec: MachineSpec) -> Iterator[str]:
    yield f"arch = {_toml_value(spec.arch)}"
    if spec.cpu is not UNSAID_CPU:
        yield f"phys_bits = {spec.cpu.phys_bits}"

    yield f"securelevel = {spec.securelevel}  # above 0, opening for write fails"
    yield from kernel_lines(spec, _toml_value)
    wp_writes = _toml_value(spec.wp_writes)
    yield f"wp_writes = {wp_writes}  # what writing to write-protected memory does"
    yield from coherence_lines(spec, _toml_value)
    yield f"upages = {spec.upages}"
    if spec.firmware == "ordinary":
        yield 'firmware = "ordinary"  # registers and memory were made up, not described'

    if spec.commit_latency is not None:
        yield f"commit_latency = {float(spec.commit_latency)!r}  # seconds"


def _memory_lines(spec: MachineSpec) -> Iterator[str]:
    memory = [it for it in spec.memory if it.kind != "device"]
    if not memory:
        return

    yield "memory = ["
    for region in memory:
        data = f", hex = {_toml_value(region.data.hex())}" if region.data else ""
        kind = _toml_value(region.kind)
        fields = f"base = {region.base:#x}, length = {region.length:#x}, kind = {kind}"
        yield f"    {{ {fields}{data} }},  # {_show_size(region)}"

    yield "]"


def _kmem_lines(spec: MachineSpec) -> Iterator[str]:
    if not spec.kmem:
        return

    yield "kmem = ["
    for row in spec.kmem:
        where = f"virtual = {_toml_value(row.virtual)}, physical = {_toml_value(row.physical)}"
        writable = _toml_value(row.writable)
        yield f"    {{ {where}, length = {row.length:#x}, writable = {writable} }},"

    yield "]"


def _kmem_entries(spec: MachineSpec) -> Iterator[str]:
    if spec.kmem_entries is None:
        return

    yield "kmem_entries = ["
    for row in spec.kmem_entries:
        rights = f"readable = {_toml_value(row.readable)}, writable = {_toml_value(row.writable)}"
        yield f"    {{ virtual = {_toml_value(row.virtual)}, length = {row.length:#x}, {rights} }},"

    yield "]"


def _cpu_lines(spec: MachineSpec) -> Iterator[str]:
    if spec.cpu is UNSAID_CPU:
        return

    yield f"vendor = {_toml_value(spec.cpu.vendor)}"
    yield f"signature = {spec.cpu.signature:#x}  # CPUID leaf 1, EAX"
    yield f"mtrr = {_toml_value(spec.cpu.mtrr)}"
    if spec.cpu.count != UNSAID_CPU.count:
        yield f"count = {spec.cpu.count}"

    if spec.cpu.tom2:
        tom2 = _toml_number(spec.cpu.tom2)
        yield f"tom2 = {tom2}  # AMD: write-back by default from 4 GiB to here"


def _plain_lines(table: Mapping[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        yield f"{_toml_key(name)} = {_toml_value(value)}"


def _device_lines(key: str, spec: MachineSpec) -> Iterator[str]:
    for name, facts, options in device_tables(spec):
        header = f"{key}.devices.{_toml_key(name)}"
        yield from _subtable_lines(header, _plain_lines(facts))
        yield from _subtable_lines(f"{header}.options", _plain_lines(options))


def _subtable_lines(header: str, rows: Iterable[str]) -> Iterator[str]:
    lines = list(rows)
    if lines:
        yield from ("", f"[{header}]", *lines)


def _register_lines(key: str, spec: MachineSpec) -> Iterator[str]:
    if not spec.msrs:
        if not (spec.memory or isinstance(spec.msrs, UnsaidRegisters)):
            yield from ("", f"[{key}.msr]  # every register is zero")

        return

    registers = MtrrRegisters.decode(spec.msrs, spec.cpu.phys_bits)
    if registers.encode() == spec.msrs and _fits_mtrr_table(registers):
        yield from _subtable_lines(f"{key}.mtrr", _mtrr_lines(registers))
    else:
        yield from _subtable_lines(f"{key}.msr", _msr_lines(spec.msrs))


def _fits_mtrr_table(registers: MtrrRegisters) -> bool:
    """Whether an `[mtrr]` table can express these registers: without reserved or stale bits."""
    bits = address_mask(registers.phys_bits)
    pairs = [pair for pair in registers.variable if pair != VariableMtrr()]
    types = {registers.default_type, *registers.fixed_types, *(pair.type for pair in pairs)}

    return (
        types <= {*TYPE_NAMES}
        and all(pair.valid for pair in pairs)
        and all(not (pair.base & ~bits & ~0xFF) for pair in pairs)
        and all(not (pair.mask & ~bits & ~(1 << 11)) for pair in pairs)
        and (
            registers.fixed_supported or not (registers.fixed_enabled or any(registers.fixed_types))
        )
    )


def _mtrr_lines(registers: MtrrRegisters) -> Iterator[str]:
    yield f"enabled = {_toml_value(registers.enabled)}"
    yield f"default = {_toml_value(_WORDS[registers.default_type])}"
    yield f"write_combining = {_toml_value(registers.write_combining)}"
    yield f"variable_count = {registers.variable_count}"
    if registers.fixed_supported:
        yield f"fixed_enabled = {_toml_value(registers.fixed_enabled)}"
        yield "fixed = ["
        yield from _fixed_rows(registers.fixed_types)
        yield "]"

    if any(pair.valid for pair in registers.variable):
        yield "variable = ["
        for slot, pair in enumerate(registers.variable):
            if pair.valid:
                yield f"    {_show_pair(registers, slot, pair)},"

        yield "]"


def _fixed_rows(types: bytes) -> Iterator[str]:
    start = 0
    for index, (base, length) in enumerate(FIXED_RANGES):
        if index + 1 == len(types) or types[index + 1] != types[index]:
            end = base + length
            kind = _toml_value(_WORDS[types[index]])
            yield f"    {{ base = {start:#x}, length = {end - start:#x}, type = {kind} }},"
            start = end


def _show_pair(registers: MtrrRegisters, slot: int, pair: VariableMtrr) -> str:
    bits = address_mask(registers.phys_bits)
    base, mask = pair.base & ~0xFF, pair.mask & bits
    length = (~mask & bits | 0xFFF) + 1
    block = not length & (length - 1) and not base & (length - 1)
    extent = f"length = {length:#x}" if block else f"mask = {mask:#x}"

    return (
        f"{{ slot = {slot}, base = {base:#x}, {extent}, type = {_toml_value(_WORDS[pair.type])} }}"
    )


def _msr_lines(msrs: Mapping[int, int]) -> Iterator[str]:
    for number, value in msrs.items():
        yield f'"{number:#x}" = {_toml_value(value)}{_register_name(number)}'


def _register_name(number: int) -> str:
    if number in FIXED_MSRS:
        base, length = FIXED_RANGES[8 * FIXED_MSRS.index(number)]
        return f"  # fixed ranges {base:#x} to {base + 8 * length - 1:#x}"

    if MSR_MTRR_VARIABLE_BASE <= number < FIXED_MSRS[0]:
        slot, half = divmod(number - MSR_MTRR_VARIABLE_BASE, 2)
        return f"  # slot {slot}, {'mask and valid bit' if half else 'base and type'}"

    names = {MSR_MTRRCAP: "capability", MSR_MTRR_DEF_TYPE: "default type and enable bits"}

    return f"  # {names[number]}" if number in names else ""


def _show_size(region: Region) -> str:
    for shift, unit in _UNITS:
        if not region.length & ((1 << shift) - 1):
            return f"{region.length >> shift} {unit}"

    return f"{region.length} bytes"


def _toml_comment(text: str) -> str:
    return escape_controls(text)


def _toml_key(name: str) -> str:
    bare = name.replace("-", "").replace("_", "")

    return name if bare.isalnum() and name.isascii() else _toml_value(name)


def _toml_number(value: int) -> str:
    """Hexadecimal from ten on; a string where TOML's signed 64 bits do not hold it."""
    if value >= 1 << 63:
        return f'"{value:#x}"'

    return str(value) if value < 10 else f"{value:#x}"


def _toml_string(text: str) -> str:
    """A TOML string: as in JSON, but for other escapes of DEL and characters past 16 bits."""
    quoted = json.dumps(text, ensure_ascii=False)

    return "".join(_escape_char(char) if not is_visible(char) else char for char in quoted)


def _escape_char(char: str) -> str:
    code = ord(char)

    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _toml_value(value: object) -> str:
    """One TOML value."""
    if isinstance(value, bool):
        return "true" if value else "false"

    if isinstance(value, int):
        return _toml_number(value)

    if isinstance(value, float):
        return repr(value)

    if isinstance(value, str):
        return _toml_string(value)

    if isinstance(value, Mapping):
        return (
            "{ " + ", ".join(f"{_toml_key(k)} = {_toml_value(v)}" for k, v in value.items()) + " }"
        )

    if isinstance(value, Iterable):
        return "[" + ", ".join(map(_toml_value, value)) + "]"

    raise TypeError(f"{value!r} cannot be written as TOML")
