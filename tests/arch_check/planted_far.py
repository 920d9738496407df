"""Wrong drivers whose fault shows far above, in long ranges, in large tables, or in odd owners.

`WRONG` names each class with the rule that the kit has to tell, and words of the message.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from arch_check.planted import Sound
from memhub.plugin import Change, RangeDesc, RangeState, abi, errors

if TYPE_CHECKING:
    from memhub.core.drivers.driver import RangeDriver
    from memhub.plugin.types import TypeMap

GIB = 1 << 30


class BaseOf32Bits(Sound):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        return replace(super().stored(desc), mr_base=desc.mr_base & 0xFFFFFFFF)


class LengthOf32Bits(Sound):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        return replace(super().stored(desc), mr_len=desc.mr_len & 0xFFFFFFFF)


class TypesBelow4GiB(Sound):
    def type_of(self, desc: RangeDesc) -> str | None:
        return super().type_of(desc) if desc.mr_end <= 4 * GIB else None


class ComparesSigned(Sound):
    def clash(self, row: RangeDesc, desc: RangeDesc) -> bool:
        one, end, other, last = (
            (it & 0xFFFFFFFF) - ((it & 0x80000000) << 1)
            for it in (row.mr_base, row.mr_end, desc.mr_base, desc.mr_end)
        )
        return one < last and other < end and super().clash(row, desc)


class RaisesAbove8GiB(Sound):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        if 8 * GIB <= desc.mr_end < 32 * GIB:
            raise KeyError(desc.mr_end)
        return super().stored(desc)


class MissesLongOverlaps(Sound):
    def clash(self, row: RangeDesc, desc: RangeDesc) -> bool:
        return row.mr_len < GIB and super().clash(row, desc)


class KeepsLong(Sound):
    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        if desc.mr_len > 1 << 24:
            raise errors.NotPermitted("too long")
        return super().remove(state, desc)


class MissesOneByte(Sound):
    """Takes bytes, and finds no overlap of one byte."""

    def stored(self, desc: RangeDesc) -> RangeDesc:
        if not 0 < desc.mr_len <= desc.mr_end <= 1 << 36:
            raise errors.InvalidRange("not within 36 bits")
        if desc.mr_flags & abi.MDF_ATTRMASK & ~self.known or not desc.mr_flags & self.known:
            raise errors.InvalidRange("one of UC, WC, WB")
        return replace(desc, mr_flags=desc.mr_flags & abi.MDF_ATTRMASK | abi.MDF_ACTIVE)

    known = abi.MDF_UNCACHEABLE | abi.MDF_WRITECOMBINE | abi.MDF_WRITEBACK

    def clash(self, row: RangeDesc, desc: RangeDesc) -> bool:
        shorter = replace(desc, mr_len=desc.mr_len - 1)
        return super().clash(row, shorter) and row.mr_end - 1 > desc.mr_base


class Large(Sound):
    """The sound driver with 24 slots."""

    def __init__(self) -> None:
        super().__init__()
        self._empty = self._empty * 6


class TypesOf17(Large):
    def types(self, state: RangeState) -> TypeMap:
        return super().types(RangeState(state.slots[:17], state.msrs))


class FailsWith17(Large):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        if state.slots[17].mr_len:
            raise IndexError(17)
        return super().update(state, desc)


class OwnerOf7(Sound):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        return replace(super().stored(desc), mr_owner=desc.mr_owner[:7] + b"\0")


class OwnerOfAscii(Sound):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        desc.mr_owner.decode("ascii")
        return super().stored(desc)


class XorgIsUncacheable(Sound):
    def type_of(self, desc: RangeDesc) -> str | None:
        return "UC" if desc.owner == "Xorg" else super().type_of(desc)


#: The rule of each, and words of the message.
WRONG: dict[type[RangeDriver], tuple[str, str]] = {
    BaseOf32Bits: ("stores-other-range", "0x100000000/0x1000"),
    LengthOf32Bits: ("stores-other-range", "/0x100000000"),
    TypesBelow4GiB: ("type-of-range", "0xfffff000 is in slot 0"),
    ComparesSigned: ("refuses-some-overlaps", "is granted, but"),
    RaisesAbove8GiB: ("raises", "failed with KeyError"),
    MissesLongOverlaps: ("refuses-some-overlaps", "is granted, but"),
    KeepsLong: ("refuses-removal", "too long"),
    MissesOneByte: ("refuses-some-overlaps", "0x10000fff/0x1000"),
    TypesOf17: ("type-of-range", "is in slot 17"),
    FailsWith17: ("raises", "failed with IndexError: 17"),
    OwnerOf7: ("stores-other-owner", "has the owner b'8 bytes\\x00'"),
    OwnerOfAscii: ("owner-decides", "failed with UnicodeDecodeError"),
    XorgIsUncacheable: ("owner-decides", "with the owner Xorg it is UC"),
}
