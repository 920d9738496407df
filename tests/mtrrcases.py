"""Register states as firmware leaves them, and MTRR drivers over them, for tests."""

from __future__ import annotations

import memhub_amd64_mtrr
from memhub import abi
from memhub.abi import RangeDesc, owner_bytes
from memhub.core.drivers.driver import Arch, Cpu, RangeDriver, RangeState

UC, WC, WT, WB, WP = (
    abi.MDF_UNCACHEABLE,
    abi.MDF_WRITECOMBINE,
    abi.MDF_WRITETHROUGH,
    abi.MDF_WRITEBACK,
    abi.MDF_WRITEPROTECT,
)
MIB, GIB = 1 << 20, 1 << 30
ENABLED, WITH_FIXED = 0x800, 0xC00
VALID = 0x800
LABEL = owner_bytes("test")


def driver(arch: Arch = memhub_amd64_mtrr.AMD64_MTRR, **cpu: object) -> RangeDriver:
    assert arch.driver is not None

    return arch.driver(Cpu(**cpu), {})  # type: ignore[arg-type]


def firmware(
    *pairs: tuple[int, int], fixed: int | None = None, count: int = 8, default: int = 0
) -> dict[int, int]:
    """Registers with some variable pairs, and all fixed ranges of type `fixed` if given."""
    msrs = {0xFE: 0x500 | count, 0x2FF: (WITH_FIXED if fixed is not None else ENABLED) | default}
    for number in (0x250, 0x258, 0x259, *range(0x268, 0x270)):
        msrs[number] = int.from_bytes(bytes([fixed or 0]) * 8, "little")

    for index, (base, mask) in enumerate(pairs):
        msrs[0x200 + 2 * index], msrs[0x201 + 2 * index] = base, mask

    return msrs


def pair(base: int, length: int, byte: int, phys_bits: int = 36) -> tuple[int, int]:
    return (base | byte, (1 << phys_bits) - length | VALID)


def sets(state: RangeState, ranges: RangeDriver, *requests: RangeDesc) -> RangeState:
    for request in requests:
        state = state.apply(ranges.update(state, request))

    return state


def busy(state: RangeState, *slots: int) -> RangeState:
    rows = list(state.slots)
    for slot in slots:
        row = rows[slot]
        rows[slot] = RangeDesc(row.mr_base, row.mr_len, row.mr_flags | abi.MDF_BUSY, row.mr_owner)

    return state.with_slots(tuple(rows))
