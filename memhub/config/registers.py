"""The registers of a machine, written by hand: `[machines.NAME.mtrr]` or `[machines.NAME.msr]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import U64_MAX
from memhub.config.values import (
    boolean,
    count,
    integer,
    memory_type,
    page_address,
    pages,
    parse_integer,
    u64,
)
from memhub.core.spec_rules import check_register
from memhub.x86.registers import (
    FIXED_COUNT,
    FIXED_END,
    FIXED_RANGES,
    MASK_VALID,
    MAX_VARIABLE,
    UC,
    MtrrRegisters,
    VariableMtrr,
    address_mask,
    fixed_index,
)

if TYPE_CHECKING:
    from memhub.config.reader import Table

#: Variable pairs where the table does not say how many: what most processors have.
DEFAULT_VARIABLE: Final = 8


def read_msr(table: Table) -> dict[int, int]:
    """Read `[msr]`: register number to value, both as integers or strings such as `"0x2ff"`."""
    found: dict[int, int] = {}
    for name, value in table.entries(integer(0, U64_MAX)).items():
        try:
            number = parse_integer(name)
        except ValueError as error:
            table.wrong(name, f"is not a register number: {error}")
            continue

        try:
            check_register(number)
        except ValueError as error:
            table.wrong(name, str(error))

        if number in found:
            table.wrong(name, f"register {number:#x} is given twice")

        found[number] = value

    return found


def read_mtrr(table: Table, phys_bits: int) -> dict[int, int]:
    """Read `[mtrr]`, and make the registers that it describes.

    Args:
        table: the table.
        phys_bits: physical address width, which decides how long a mask is.

    Returns:
        the registers by number: capability, default type, every variable pair, and the fixed
        ones where `fixed` is given.
    """
    fixed = _read_fixed(table)
    registers = MtrrRegisters(
        phys_bits=phys_bits,
        fixed_supported=fixed is not None,
        fixed_types=fixed or bytes(FIXED_COUNT),
        fixed_enabled=table.take("fixed_enabled", boolean, fixed is not None),
        enabled=table.take("enabled", boolean, True),
        default_type=table.take("default", memory_type, UC),
        write_combining=table.take("write_combining", boolean, True),
        variable=_read_variable(table, phys_bits),
    )
    if registers.fixed_enabled and fixed is None:
        table.wrong("fixed_enabled", "is true, but there is no 'fixed' to enable")

    table.finish()

    return registers.encode()


def _read_fixed(table: Table) -> bytes | None:
    if "fixed" not in table:
        return None

    types = bytearray(FIXED_COUNT)
    end = 0
    for row in table.tables("fixed"):
        base = row.need("base", u64, end)
        length = row.need("length", pages, 0)
        kind = row.need("type", memory_type, UC)
        row.finish()
        if row.sound:
            _check_fixed(row, base, length, end)

        if row.sound:
            for index, (start, _) in enumerate(FIXED_RANGES):
                if base <= start < base + length:
                    types[index] = kind

        end = base + length

    if end != FIXED_END and table.sound:
        table.wrong("fixed", f"ends at {end:#x}; fixed ranges cover all of 0 to {FIXED_END:#x}")

    return bytes(types)


def _check_fixed(row: Table, base: int, length: int, end: int) -> None:
    if base != end:
        what = "a gap" if base > end else "an overlap"
        row.wrong("base", f"{base:#x} leaves {what}: the range before ends at {end:#x}")
        return

    if base + length > FIXED_END:
        row.wrong("length", f"ends at {base + length:#x}, past {FIXED_END:#x}")
        return

    for name, border in (("base", base), ("length", base + length)):
        if border < FIXED_END and FIXED_RANGES[fixed_index(border)][0] != border:
            start, size = FIXED_RANGES[fixed_index(border)]
            row.wrong(name, f"border {border:#x} cuts the fixed range {start:#x}/{size:#x}")


def _read_variable(table: Table, phys_bits: int) -> tuple[VariableMtrr, ...]:
    rows = table.tables("variable")
    slots = table.take("variable_count", count(0, MAX_VARIABLE), max(DEFAULT_VARIABLE, len(rows)))
    pairs = [VariableMtrr()] * min(slots, MAX_VARIABLE)
    taken: dict[int, None] = {}
    for index, row in enumerate(rows):
        slot = row.take("slot", count(0, MAX_VARIABLE - 1), max(taken, default=-1) + 1)
        pair = _read_pair(row, phys_bits)
        row.finish()
        if slot in taken:
            row.wrong("slot", f"{slot} is used by an entry before this one")
        elif slot >= len(pairs):
            row.wrong("", f"entry {index} needs slot {slot}, but variable_count is {len(pairs)}")
        else:
            pairs[slot] = pair

        taken[slot] = None

    return tuple(pairs)


def _read_pair(row: Table, phys_bits: int) -> VariableMtrr:
    limit = address_mask(phys_bits)
    base = row.need("base", page_address, 0)
    kind = row.need("type", memory_type, UC)
    if ("mask" in row) == ("length" in row):
        row.take("mask", u64, 0)
        row.take("length", u64, 0)
        row.wrong("", "needs either a length or a mask")

    if base & ~limit:
        row.wrong("base", f"{base:#x} lies past the {phys_bits} bits of physical address")

    if "mask" in row:
        mask = row.take("mask", page_address, 0)
        if mask & ~limit:
            row.wrong("mask", f"{mask:#x} has bits past the {phys_bits} of physical address")
    else:
        length = row.take("length", pages, 0x1000)
        _check_block(row, base, length, phys_bits)
        mask = -length & limit

    return VariableMtrr(base | kind, mask | MASK_VALID)


def _check_block(row: Table, base: int, length: int, phys_bits: int) -> None:
    if length & (length - 1):
        row.wrong("length", f"{length:#x} is not a power of two; give a mask to set it anyway")
    elif base & (length - 1):
        row.wrong("base", f"{base:#x} is not a multiple of the length {length:#x}; give a mask")
    elif length > 1 << phys_bits:
        row.wrong("length", f"{length:#x} is more than {phys_bits} bits of physical address hold")
