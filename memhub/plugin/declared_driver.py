"""The range driver of a declared architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub import errors
from memhub.abi import (
    MDF_ACTIVE,
    MDF_ATTRMASK,
    MDF_BUSY,
    Errno,
    RangeDesc,
    flag_words,
)
from memhub.core.drivers import range_refusals as refusals
from memhub.core.drivers.driver import Change, Cpu, RangeState
from memhub.core.effective.typemap import TypeMap
from memhub.errors import DeviceError
from memhub.plugin.declaration import (
    BIT_OF_WORD,
    ERRNO_OF_CHECK,
    REQUEST_CHECKS,
    DeclaredArch,
    FirmwareSlot,
)
from memhub.plugin.software import SoftwareRangeDriver

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The class of a refusal, by its errno; others are plain DeviceErrors.
_KIND_OF: Final[Mapping[str, type[DeviceError]]] = {
    "EINVAL": errors.InvalidRange,
    "EOPNOTSUPP": errors.NotSupported,
    "EEXIST": errors.RangeExists,
    "EBUSY": errors.RangeBusy,
    "ENOSPC": errors.NoSpace,
    "EACCES": errors.AccessDenied,
    "EPERM": errors.NotPermitted,
}


class DeclaredDriver(SoftwareRangeDriver):
    """Slots in software, ruled by a declaration.

    Args:
        declared: the architecture.
        cpu: the processor.
    """

    def __init__(self, declared: DeclaredArch, cpu: Cpu) -> None:
        super().__init__(declared.slots)
        self._declared = declared
        self._cpu = cpu
        self.stops_at_free = declared.search == "first free slot"
        self._end = 1 << (declared.address_bits or cpu.phys_bits)
        self._request_checks = [it for it in declared.order if it in REQUEST_CHECKS]
        table = [it for it in declared.order if it not in REQUEST_CHECKS]
        self._table_checks = table if "full" in table else [*table, "full"]

    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        """Read what firmware left in the registers that are declared; other slots are free.

        Raises:
            NotSupported: the CPU is none of those declared.
        """
        cpus = self._declared.cpus
        if cpus is not None and not cpus.serves(self._cpu):
            raise errors.NotSupported(
                f"a {self._cpu.vendor} CPU of signature {self._cpu.signature:#x} is not served: "
                f"the {self._declared.name} driver wants {cpus.wants}"
            )

        filled = tuple([_read_slot(it, msrs) for it in self._declared.firmware])

        return RangeState(filled + self._empty[len(filled) :], msrs)

    def stored(self, desc: RangeDesc) -> RangeDesc:
        """The descriptor as the slot keeps it, after what is checked of the request alone.

        Raises:
            DeviceError: one of the checks refuses it.
        """
        for check in self._request_checks:
            if reason := self._fault_of(check, desc):
                raise self._make_refusal(check, reason)

        declared = self._declared
        flags = desc.mr_flags if declared.keep_flags else desc.mr_flags & declared.attribute_mask
        if declared.active:
            flags |= MDF_ACTIVE

        return RangeDesc(desc.mr_base, desc.mr_len, flags, desc.mr_owner)

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        """Put the range into a slot, as the declaration says which.

        Raises:
            DeviceError: one of the checks refuses it.
        """
        new = self.stored(desc)
        taken = self._choose_in_order if self._declared.search != "whole table" else self._choose
        slot = taken(state, desc)
        wrote = {slot: new} if state.slots[slot] != new else {}

        return Change((slot,), wrote)

    def type_of(self, desc: RangeDesc) -> str | None:
        """The type of the attribute; with several as `mixed` says, None for the default."""
        declared, attributes = self._declared, desc.mr_flags & MDF_ATTRMASK
        held = [word for word in declared.types if BIT_OF_WORD[word] & attributes]
        if not held or (declared.mixed == "default" and attributes != BIT_OF_WORD[held[0]]):
            return None

        return declared.types[held[0]] or None

    def types(self, state: RangeState) -> TypeMap:
        """Each range's type over the default; `winner` says which of two that overlap."""
        declared = self._declared
        rows = [(slot, row) for slot, row in enumerate(state.slots) if row.mr_len]
        if declared.winner == "attribute":
            rows.sort(key=lambda it: self._place_of(it[1]))

        default = declared.default_type
        told = [
            (
                row.mr_base,
                row.mr_end,
                self.type_of(row) or default,
                refusals.describe(slot, row),
            )
            for slot, row in rows
        ]

        return TypeMap.from_ranges(default, told)

    def _place_of(self, desc: RangeDesc) -> int:
        places = [n for n, it in enumerate(self._declared.types) if BIT_OF_WORD[it] & desc.mr_flags]

        return places[0] if places else len(self._declared.types)

    # Choosing a slot

    def _choose_in_order(self, state: RangeState, desc: RangeDesc) -> int:
        """The first free slot, or an earlier one that holds the range."""
        for slot, row in enumerate(state.slots):
            if not row.mr_len:
                return slot

            if row.mr_base == desc.mr_base and row.mr_len == desc.mr_len:
                return self._take_same(slot, row)

        raise refusals.full(desc, enumerate(state.slots))

    def _choose(self, state: RangeState, desc: RangeDesc) -> int:
        """The slot that holds the range, or the first free one, once nothing stands in the way."""
        slots = state.slots
        same = self._find_slot(state, desc.mr_base, desc.mr_len)
        free = next((slot for slot, row in enumerate(slots) if not row.mr_len), None)
        for check in self._table_checks:
            if check == "same" and same is not None:
                self._take_same(same, slots[same])
            elif check == "busy" and same is not None and slots[same].mr_flags & MDF_BUSY:
                raise self._make_refusal(
                    "busy",
                    f"{refusals.describe(same, slots[same])} is busy",
                    (refusals.obstacle("claim", same, slots[same]),),
                )
            elif check == "overlap":
                self._check_overlaps(state, desc, same)
            elif check == "full" and same is None and free is None:
                raise refusals.full(desc, enumerate(slots))

        if same is not None:
            return same

        assert free is not None

        return free

    def _find_slot(self, state: RangeState, base: int, length: int) -> int | None:
        for slot, row in enumerate(state.slots):
            if row.mr_len and row.mr_base == base and row.mr_len == length:
                return slot

        return None

    def _take_same(self, slot: int, row: RangeDesc) -> int:
        if "same" not in self._declared.order:
            return slot

        raise self._make_refusal(
            "same",
            f"{refusals.describe(slot, row)} already holds this range: remove it first",
            (refusals.obstacle("overlap", slot, row),),
        )

    def _check_overlaps(self, state: RangeState, desc: RangeDesc, same: int | None) -> None:
        found = [
            (slot, row)
            for slot, row in enumerate(state.slots)
            if slot != same
            and row.mr_base < desc.mr_end
            and desc.mr_base < row.mr_end
            and not self._declared.may_overlap(row.mr_flags, desc.mr_flags)
        ]
        if found:
            raise self._make_refusal(
                "overlap",
                f"range {refusals.span(desc)} as {refusals.type_words(desc.mr_flags)} overlaps "
                f"{refusals.describe(*found[0])}",
                tuple([refusals.obstacle("overlap", slot, row) for slot, row in found]),
            )

    # What is refused

    def _fault_of(self, check: str, desc: RangeDesc) -> str:
        """What is wrong with a request; nothing if it is right."""
        fault = getattr(self, f"_fault_of_{check}")(desc)
        assert isinstance(fault, str)

        return fault

    def _fault_of_base(self, desc: RangeDesc) -> str:
        granule = self._declared.granule

        return f"base {desc.mr_base:#x} is not a multiple of {granule:#x}" * (
            desc.mr_base % granule != 0
        )

    def _fault_of_length(self, desc: RangeDesc) -> str:
        declared, length = self._declared, desc.mr_len
        least = declared.length_least or declared.granule
        if declared.power_of_two:
            wrong, rule = length & (length - 1), "a power of two"
        else:
            wrong, rule = length % declared.granule, f"a multiple of {declared.granule:#x}"

        return f"length {length:#x} is not {rule} of at least {least:#x}" * (
            length < least or wrong != 0
        )

    def _fault_of_alignment(self, desc: RangeDesc) -> str:
        if not self._declared.power_of_two or not desc.mr_len or not desc.mr_base % desc.mr_len:
            return ""

        return f"base {desc.mr_base:#x} is not a multiple of the length {desc.mr_len:#x}"

    def _fault_of_end(self, desc: RangeDesc) -> str:
        return f"range {refusals.span(desc)} ends past {self._end:#x}" * (desc.mr_end > self._end)

    def _fault_of_flags(self, desc: RangeDesc) -> str:
        others = desc.mr_flags & ~self._declared.allowed_flags
        if not others:
            return ""

        words = " ".join(flag_words(others)) or "no known ones"
        known = ", ".join(flag_words(self._declared.allowed_flags))

        return f"flags {others:#x} ({words}): {self._declared.name} takes only {known}"

    def _fault_of_attribute(self, desc: RangeDesc) -> str:
        attributes = desc.mr_flags & MDF_ATTRMASK
        if attributes in [BIT_OF_WORD[word] for word in self._declared.types]:
            return ""

        words = " ".join(flag_words(attributes)) or "none that is known"

        return f"attributes {attributes:#x} ({words}) are not exactly one of " + ", ".join(
            self._declared.types
        )

    def _make_refusal(
        self, check: str, reason: str, obstacles: tuple[errors.Obstacle, ...] = ()
    ) -> DeviceError:
        name = self._declared.errnos.get(check, ERRNO_OF_CHECK[check])
        kind = _KIND_OF.get(name, DeviceError)

        return kind(reason, code=Errno[name], obstacles=obstacles)


def _read_slot(it: FirmwareSlot, msrs: Mapping[int, int]) -> RangeDesc:
    part = msrs.get(it.register, 0) >> it.shift
    mask = part >> it.mask_shift & (1 << it.mask_bits) - 1
    lowest = mask & -mask
    length = (lowest.bit_length() if it.length == "lowest bit index" else lowest) * it.unit
    flags = sum(BIT_OF_WORD[word] for word, bit in it.attributes.items() if part >> bit & 1)

    return RangeDesc(part & it.base_mask, length, flags)
