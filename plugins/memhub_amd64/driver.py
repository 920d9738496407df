"""The PAT range driver: a table of descriptors, no registers behind them but IA32_PAT.

The rules are those of the x86 MTRR driver where they carry over (FreeBSD `sys/x86/x86/x86_mem.c`:
an exact match is taken over, EBUSY before EACCES; ENOENT before EPERM before EBUSY). What does
not carry over is the power-of-two rule, the masking of addresses, and coexistence of WB with
UC: a page has one attribute, so overlapping descriptors must agree.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from memhub.plugin import (
    NO_REGISTERS,
    Change,
    Cpu,
    OptionError,
    RangeDesc,
    RangeDriver,
    RangeState,
    abi,
    errors,
)
from memhub.plugin.x86 import (
    MSR_PAT,
    PALETTES,
    Palette,
    compare_registers,
    power_on,
    types_from_mtrrs,
    types_from_pat,
    why_fault,
)
from memhub_amd64.options import Options, attributes_of
from memhub_amd64.refusals import (
    attribute_reason,
    check_removal,
    check_takeover,
    conflict,
    no_space,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memhub.plugin.types import TypeMap

EMPTY: Final = RangeDesc(0, 0)
_EMPTY_BLOCK: Final = (EMPTY,) * 32


class PatDriver(RangeDriver):
    """One machine's page attributes.

    Args:
        cpu: the processor; only its address width and TOM2 matter here.
        options: the checked options.
    """

    def __init__(self, cpu: Cpu, options: Options) -> None:
        self._options = options
        self._cpu = cpu
        self._phys_bits = cpu.phys_bits
        self._tom2 = cpu.tom2
        self._end = 1 << cpu.phys_bits
        self._attributes: dict[int, dict[int, str]] = {}
        self._under: tuple[Mapping[int, int], TypeMap] | None = None
        # FreeBSD's palette has every attribute: what is refused now would be with any palette.
        self._check_ranges(attributes_of(options.palette or PALETTES["freebsd"]))

    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        """Show the configured ranges, and the palette in register 0x277.

        Raises:
            OptionError: register 0x277 holds a reserved type, or a configured range needs an
                attribute that the palette lacks, or breaks the rules of `update`.
        """
        palette = self._options.palette or _palette_of(msrs)
        self._check_ranges(attributes_of(palette))
        ranges = self._options.ranges
        slots = ranges + (EMPTY,) * (self._options.slots - len(ranges))

        return RangeState(slots, {**msrs, MSR_PAT: palette.encode()})

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        """Give a range of pages an attribute.

        Raises:
            InvalidRange: malformed, past the address width, an attribute that the palette
                lacks, or pages that another descriptor gives another type.
            RangeBusy: the same range is claimed by another process.
            AccessDenied: the same range is of unknown type and MDF_FORCE is not given.
            NoSpace: no slot is free.
        """
        attribute = desc.mr_flags & abi.MDF_ATTRMASK
        self._check_desc(desc, self._attributes_in(state))
        slots = state.slots
        touched = _find_neighbours(slots, desc)
        slot = _find_exact(slots, touched, desc)
        kept = 0
        if slot is not None:
            check_takeover(slot, slots[slot], desc)
            kept = slots[slot].mr_flags & abi.MDF_FIXACTIVE

        conflicts = [
            other
            for other in touched
            if other != slot and slots[other].mr_flags & abi.MDF_ATTRMASK != attribute
        ]
        if conflicts:
            raise conflict(slots, desc, conflicts)

        flags = kept | abi.MDF_ACTIVE | attribute
        written = RangeDesc(desc.mr_base, desc.mr_len, flags, desc.mr_owner)

        return _make_change(state, {_free_slot(slots) if slot is None else slot: written})

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        """Empty the active slot that holds exactly this range.

        Raises:
            NoSuchRange: no active slot does.
            NotPermitted: the slot is fixed.
            RangeBusy: another process has claimed the slot.
        """
        base, length = desc.mr_base, desc.mr_len
        for slot, held in enumerate(state.slots):
            if held.mr_base == base and held.mr_len == length and held.mr_flags & abi.MDF_ACTIVE:
                check_removal(slot, held)

                return _make_change(state, {slot: EMPTY})

        raise errors.NoSuchRange(f"no active range {base:#x}/{length:#x}")

    def restore(
        self,
        state: RangeState,
        slots: Mapping[int, RangeDesc],
        earlier: Mapping[int, int] = NO_REGISTERS,
    ) -> Change:
        """Put earlier descriptors back.

        Where its pages have since been given another type through another slot, the later
        type stands: the earlier descriptor is left out, and its slot emptied, or kept as it
        is if it is fixed.
        """
        blocking = [
            held
            for slot, held in enumerate(state.slots)
            if slot not in slots and held.mr_flags & abi.MDF_ACTIVE
        ]
        back: dict[int, RangeDesc] = {}
        for slot, held in sorted(slots.items()):
            desc = _without_busy(held)
            if any(_types_disagree(desc, other) for other in blocking):
                fixed = desc.mr_flags & abi.MDF_FIXACTIVE
                desc = _without_busy(state.slots[slot]) if fixed else EMPTY

            back[slot] = desc
            blocking.append(desc)

        return _make_change(state, back)

    def types(self, state: RangeState) -> TypeMap:
        """PAT types over MTRR types (SDM table 11-7); a page with no descriptor uses PA0."""
        attributes = self._attributes_in(state)
        ranges = [
            (
                held.mr_base,
                held.mr_end,
                attributes[held.mr_flags & abi.MDF_ATTRMASK],
                f"slot {slot}",
            )
            for slot, held in enumerate(state.slots)
            if held.mr_flags & abi.MDF_ACTIVE
        ]

        return types_from_pat(
            self._mtrr_types(state.msrs), _palette_of(state.msrs).names[0], ranges
        )

    def reinit_cpu(self, state: RangeState, attached: Mapping[int, int]) -> Mapping[int, int]:
        """At a resume: MTRRs as at attach (`x86_mrreinit`) and the palette (`pmap_init_pat`)."""
        palette = self._options.palette or _palette_of(attached)
        msrs = {**attached, MSR_PAT: palette.encode()}

        return {number: it for number, it in msrs.items() if state.msrs.get(number, 0) != it}

    def power_on_cpu(self, attached: Mapping[int, int]) -> Mapping[int, int]:
        """The MTRRs are off, and the palette is the one of power-on."""
        return power_on({**attached, MSR_PAT: 0})

    def why_fault(self, state: RangeState, number: int, value: int) -> str:
        """The rule of the processor's that is broken."""
        return why_fault(number, value, state.msrs, self._cpu)

    def compare_cpus(self, mine: Mapping[int, int], other: Mapping[int, int]) -> Mapping[int, str]:
        """The MTRRs as Linux compares them, and the palette."""
        return compare_registers(mine, other)

    def _mtrr_types(self, msrs: Mapping[int, int]) -> TypeMap:
        """No range ioctl writes a register, so one map of the MTRRs serves all states."""
        if self._under is None or self._under[0] is not msrs:
            types = types_from_mtrrs(msrs, self._phys_bits, in_slots=False, tom2=self._tom2)
            self._under = (msrs, types)

        return self._under[1]

    def _attributes_in(self, state: RangeState) -> Mapping[int, str]:
        value = state.msrs.get(MSR_PAT, 0)
        if value not in self._attributes:
            self._attributes[value] = attributes_of(_palette_of(state.msrs))

        return self._attributes[value]

    def _check_desc(self, desc: RangeDesc, attributes: Mapping[int, str]) -> None:
        """The rules that need no other descriptor."""
        base, length = desc.mr_base, desc.mr_len
        if base % abi.PAGE_SIZE or length % abi.PAGE_SIZE:
            raise errors.InvalidRange(
                f"range {base:#x}/{length:#x} is not made of whole pages of {abi.PAGE_SIZE:#x}"
            )

        if not length:
            raise errors.InvalidRange(f"range at {base:#x} has length 0")

        if base + length > self._end:
            raise errors.InvalidRange(
                f"range {base:#x}/{length:#x} ends past the {self._phys_bits} physical address "
                f"bits ({self._end:#x})"
            )

        attribute = desc.mr_flags & abi.MDF_ATTRMASK
        if attribute not in attributes:
            raise errors.InvalidRange(attribute_reason(attribute, attributes))

    def _check_ranges(self, attributes: Mapping[int, str]) -> None:
        ranges = self._options.ranges
        for index, desc in enumerate(ranges):
            try:
                self._check_desc(desc, attributes)
                for earlier in range(index):
                    if _types_disagree(ranges[earlier], desc):
                        raise conflict(ranges, desc, [earlier])
            except errors.InvalidRange as error:
                raise OptionError(f"ranges[{index}]", error.reason) from error


def _palette_of(msrs: Mapping[int, int]) -> Palette:
    if MSR_PAT not in msrs:
        return PALETTES["freebsd"]

    try:
        return Palette.decode(msrs[MSR_PAT])
    except ValueError as error:
        raise OptionError(f"msr {MSR_PAT:#x}", str(error)) from error


def _find_neighbours(slots: tuple[RangeDesc, ...], desc: RangeDesc) -> list[int]:
    """The slots whose range touches this one; an empty slot touches nothing.

    Most slots are the one empty descriptor, and a block of them is passed over with one comparison.
    """
    base, end = desc.mr_base, desc.mr_end
    size = len(_EMPTY_BLOCK)

    return [
        slot
        for first in range(0, len(slots), size)
        if (block := slots[first : first + size]) != _EMPTY_BLOCK
        for slot, held in enumerate(block, first)
        if held is not EMPTY and held.mr_base < end and held.mr_base + held.mr_len > base
    ]


def _find_exact(slots: Sequence[RangeDesc], touched: Iterable[int], desc: RangeDesc) -> int | None:
    for slot in touched:
        if slots[slot].mr_base == desc.mr_base and slots[slot].mr_len == desc.mr_len:
            return slot

    return None


def _free_slot(slots: Sequence[RangeDesc]) -> int:
    for slot, held in enumerate(slots):
        if not held.mr_flags & abi.MDF_ACTIVE:
            return slot

    raise no_space(slots)


def _types_disagree(one: RangeDesc, other: RangeDesc) -> bool:
    """Whether two descriptors give one page two types; an empty one disagrees with none."""
    return (
        one.mr_base < other.mr_end
        and other.mr_base < one.mr_end
        and bool((one.mr_flags ^ other.mr_flags) & abi.MDF_ATTRMASK)
    )


def _without_busy(desc: RangeDesc) -> RangeDesc:
    if not desc.mr_flags & abi.MDF_BUSY:
        return desc

    return replace(desc, mr_flags=desc.mr_flags & ~abi.MDF_BUSY)


def _make_change(state: RangeState, written: Mapping[int, RangeDesc]) -> Change:
    differing = {
        slot: desc for slot, desc in written.items() if desc != _without_busy(state.slots[slot])
    }

    return Change(wrote=tuple(written), slots=differing)
