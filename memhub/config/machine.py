"""One `[machines.NAME]` table, as a MachineSpec."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from memhub.abi import U64_MAX
from memhub.config.caches import read_caches
from memhub.config.devices import check_devices, read_devices
from memhub.config.images import check_images, check_memory, read_images
from memhub.config.importers import Imported, ImportRefused, import_dump
from memhub.config.kernel import check_kernel, read_kernel
from memhub.config.registers import read_msr, read_mtrr
from memhub.config.values import (
    boolean,
    count,
    hex_bytes,
    integer,
    length_above_zero,
    page_address,
    pages,
    suggest,
    text,
    u64,
)
from memhub.core.asking.asked_driver import AskedDriver
from memhub.core.drivers.driver import UNSAID_CPU, Cpu
from memhub.core.kernel import OptionError
from memhub.core.ranges.firmware import settle_firmware
from memhub.core.spec import (
    KernelEntry,
    KernelMapping,
    MachineSpec,
    Region,
    RegionKind,
    UnsaidRegisters,
)
from memhub.core.spec_rules import firmware_word, latency, region_kind, wp_rule
from memhub.errors import DriverFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub.config.reader import Table
    from memhub.core.drivers.driver import Arch

_ADDRESS_END: Final = U64_MAX + 1
_RAM: Final[RegionKind] = "ram"


def read_machine(
    table: Table, name: str, arches: Mapping[str, Arch] | None
) -> tuple[MachineSpec, tuple[str, ...]]:
    """Read one machine.

    Args:
        table: the machine's table.
        name: what clients call it.
        arches: the installed architectures, to check `arch` and `options` by; None checks
            neither.

    Returns:
        the machine, and the oddities of the dump that it imports, if any.
    """
    arch = table.need("arch", text, "")
    wanted = table.take("phys_bits", count(32, 52), None)
    imported = _read_import(table, name, arch, wanted)
    spec = imported.spec if imported else MachineSpec(name=name, arch=arch)
    known = arches.get(arch) if arches is not None else None
    if spec.cpu is UNSAID_CPU and known is not None and known.cpu is not None:
        spec = replace(spec, cpu=known.cpu)

    cpu = _read_cpu(table, spec.cpu, wanted)
    spec = replace(
        spec,
        cpu=cpu,
        msrs=_read_registers(table, imported, cpu),
        options={**spec.options, **_read_options(table)},
        memory=_read_memory(table, cpu) if "memory" in table else spec.memory,
        contents=read_images(table),
        kmem=_read_kmem(table, cpu),
        kmem_entries=_read_entries(table) if "kmem_entries" in table else None,
        symbols=_read_symbols(table),
        securelevel=table.take("securelevel", count(-1, 3), spec.securelevel),
        wp_writes=table.take("wp_writes", wp_rule, spec.wp_writes),
        upages=table.take("upages", count(1, 16), spec.upages),
        commit_latency=table.take("commit_latency", latency, None),
        firmware=table.take("firmware", firmware_word, spec.firmware),
        devices=read_devices(table),
        **read_caches(table),
        **read_kernel(table),
    )
    table.finish()
    if table.sound and spec.contents and (spec.memory or known is not None):
        check_images(table, spec if known is None else settle_firmware(spec, known))

    if arches is not None and arch:
        _check_arch(table, spec, arches)

    return spec, imported.oddities if imported else ()


def _read_import(table: Table, name: str, arch: str, phys_bits: int | None) -> Imported | None:
    source = table.take("import", text, "")
    if not source:
        return None

    for rival in ("msr", "mtrr"):
        if rival in table:
            table.wrong(rival, "contradicts 'import': the dump has the registers")

    try:
        dump = (table.folder / source).read_text(encoding="utf-8", errors="replace")
        return import_dump(dump, phys_bits=phys_bits, name=name, arch=arch or "none")
    except OSError as error:
        table.wrong("import", f"{source!r} cannot be read: {error.strerror}")
    except ImportRefused as error:
        table.wrong("import", f"{source!r}: {error}")

    return None


def _read_cpu(table: Table, default: Cpu, phys_bits: int | None) -> Cpu:
    row = table.table("cpu")
    cpu = default if phys_bits is None else replace(default, phys_bits=phys_bits)
    if row is None:
        return cpu

    cpu = Cpu(
        vendor=row.take("vendor", text, cpu.vendor),
        signature=row.take("signature", integer(0, 0xFFFFFFFF), cpu.signature),
        phys_bits=cpu.phys_bits,
        mtrr=row.take("mtrr", boolean, cpu.mtrr),
        tom2=row.take("tom2", u64, cpu.tom2),
        count=row.take("count", count(1, 1024), cpu.count),
    )
    row.finish()

    return cpu


def _read_registers(table: Table, imported: Imported | None, cpu: Cpu) -> Mapping[int, int]:
    msr, mtrr = table.table("msr"), table.table("mtrr")
    if imported is not None:
        return imported.spec.msrs

    if msr is not None and mtrr is not None:
        table.wrong("mtrr", "contradicts 'msr': give the registers once")

    if msr is not None:
        return read_msr(msr)

    return read_mtrr(mtrr, cpu.phys_bits) if mtrr is not None else UnsaidRegisters()


def _read_options(table: Table) -> Mapping[str, Any]:
    options = table.table("options")

    return options.entries(lambda value: value) if options is not None else {}


def _read_memory(table: Table, cpu: Cpu) -> tuple[Region, ...]:
    found: list[tuple[Region, Table]] = []
    for row in table.tables("memory"):
        region = _read_region(row, 1 << cpu.phys_bits, cpu.phys_bits)
        if row.sound:
            found.append((region, row))

    spans = [(region.base, region.length, row) for region, row in found]
    _refuse_overlaps(spans, "base")

    return tuple(sorted((region for region, _ in found), key=lambda region: region.base))


def _read_region(row: Table, limit: int, phys_bits: int) -> Region:
    base = row.need("base", u64, 0)
    if "end" in row and "length" not in row:
        end = row.take("end", integer(0, _ADDRESS_END), base + 1)
        length = end - base
        if length <= 0:
            row.wrong("end", f"{end:#x} does not lie after the base {base:#x}")
    else:
        length = row.need("length", length_above_zero, 1)
        if "end" in row:
            row.take("end", u64, 0)
            row.wrong("end", "contradicts 'length': give one of them")

    if base + length > limit:
        row.wrong("", f"ends at {base + length:#x}, past the {phys_bits} bits of physical address")

    kind = row.take("kind", region_kind, _RAM)
    data = _read_data(row, length)
    row.finish()

    return Region(base=base, length=length, kind=kind, data=data)


def _read_data(row: Table, length: int) -> bytes:
    data = row.take("hex", hex_bytes, b"")
    name = row.take("file", text, "")
    if name and data:
        row.wrong("file", "contradicts 'hex': give one of them")
    elif name:
        try:
            data = (row.folder / name).read_bytes()
        except OSError as error:
            row.wrong("file", f"{name!r} cannot be read: {error.strerror}")

    if len(data) > max(length, 0) and row.sound:
        key = "file" if name else "hex"
        row.wrong(key, f"holds {len(data):#x} bytes, more than the region's {length:#x}")

    return data


def _read_kmem(table: Table, cpu: Cpu) -> tuple[KernelMapping, ...]:
    found: list[tuple[KernelMapping, Table]] = []
    for row in table.tables("kmem"):
        mapping = KernelMapping(
            virtual=row.need("virtual", page_address, 0),
            physical=row.need("physical", page_address, 0),
            length=row.need("length", pages, 0x1000),
            writable=row.take("writable", boolean, True),
        )
        row.finish()
        if mapping.virtual + mapping.length > _ADDRESS_END:
            row.wrong("length", "runs past the end of the 64-bit address space")

        if mapping.physical + mapping.length > 1 << cpu.phys_bits:
            row.wrong("physical", f"runs past the {cpu.phys_bits} bits of physical address")

        if row.sound:
            found.append((mapping, row))

    spans = [(mapping.virtual, mapping.length, row) for mapping, row in found]
    _refuse_overlaps(spans, "virtual")

    return tuple(mapping for mapping, _ in found)


def _read_entries(table: Table) -> tuple[KernelEntry, ...]:
    found: list[tuple[KernelEntry, Table]] = []
    for row in table.tables("kmem_entries"):
        entry = KernelEntry(
            virtual=row.need("virtual", page_address, 0),
            length=row.need("length", pages, 0x1000),
            readable=row.take("readable", boolean, True),
            writable=row.take("writable", boolean, True),
        )
        row.finish()
        if entry.virtual + entry.length > _ADDRESS_END:
            row.wrong("length", "runs past the end of the 64-bit address space")

        if row.sound:
            found.append((entry, row))

    _refuse_overlaps([(it.virtual, it.length, row) for it, row in found], "virtual")

    return tuple(entry for entry, _ in found)


def _refuse_overlaps(spans: Sequence[tuple[int, int, Table]], key: str) -> None:
    ordered = sorted(spans, key=lambda span: span[:2])
    for (base, length, one), (start, _, other) in itertools.pairwise(ordered):
        if base + length > start:
            reason = f"{start:#x} lies inside {base:#x}/{length:#x} ({one.path('').rstrip('.')})"
            other.wrong(key, reason)


def _read_symbols(table: Table) -> Mapping[str, int]:
    symbols = table.table("symbols")

    return symbols.entries(u64) if symbols is not None else {}


def _check_arch(table: Table, spec: MachineSpec, arches: Mapping[str, Arch]) -> None:
    if spec.arch not in list(arches):
        names = ", ".join(arches)
        reason = f"{spec.arch!r} is not installed ({names}){suggest(spec.arch, arches)}"
        table.wrong("arch", reason)
        return

    arch = arches[spec.arch]
    options = table.table("options")
    if options is not None:
        for key in arch.machine_options:
            options.take(key, lambda value: value, None)

        options.finish()

    if table.sound:
        try:
            arch.kernel_of(spec.options)
            AskedDriver.make(spec, arch)
            check_devices(table, spec, arch)
        except OptionError as error:
            table.wrong(f"options.{error.key}", error.reason)
        except DriverFailed as error:
            table.wrong("arch", error.reason)

    if table.sound:
        check_memory(table, spec, arch)
        check_kernel(table, spec, arch)
