"""The lines that tell what firmware left in Intel's MTRRs (print_mtrr_state)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from memhub_linux.texts import type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_VALID: Final = 0x800
_FIXED_SIZES: Final = (0x10000,) * 8 + (0x4000,) * 16 + (0x1000,) * 64


class FirmwareMtrrs(Protocol):
    """The registers that firmware left; `tom2` is 0 where there is none."""

    default: int
    enabled: int
    have_fixed: bool
    fixed: list[int]
    variable: list[list[int]]
    tom2: int


def state_lines(state: FirmwareMtrrs, *, fixed_on: bool, width: int) -> Iterator[str]:
    """What is printed of the state at boot.

    Args:
        state: the state.
        fixed_on: whether the fixed ranges are said to be enabled.
        width: digits of the high half of a register.
    """
    yield f"MTRR default type: {type_name(state.default)}"
    if state.have_fixed:
        yield f"MTRR fixed ranges {'enabled' if fixed_on else 'disabled'}:"
        for start, end, type_ in fixed_stretches(state.fixed):
            yield f"  {start:05X}-{end - 1:05X} {type_name(type_)}"

    yield f"MTRR variable ranges {'enabled' if state.enabled & 2 else 'disabled'}:"
    for index, (base, mask) in enumerate(state.variable):
        if mask & _VALID:
            words = [
                f"{it >> 32:X}".rjust(width, "0") + f"{(it & 0xFFFFFFFF) >> 12:05X}000"
                for it in (base, mask)
            ]
            yield f"  {index} base {words[0]} mask {words[1]} {type_name(base & 0xFF)}"
        else:
            yield f"  {index} disabled"

    if state.tom2:
        yield f"TOM2: {state.tom2:016x} aka {state.tom2 >> 20}M"


def fixed_stretches(values: list[int]) -> Iterator[tuple[int, int, int]]:
    """Stretches of one type: first byte, one past the last, type."""
    types = [byte for value in values for byte in value.to_bytes(8, "little")]
    start = at = 0
    for index, (type_, size) in enumerate(zip(types, _FIXED_SIZES, strict=False)):
        at += size
        if index + 1 == len(types) or types[index + 1] != type_:
            yield start, at, type_
            start = at
