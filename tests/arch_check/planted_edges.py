"""Wrong drivers that take ranges of no bytes, and ranges where the CPU has no addresses.

`WRONG` names each class with the rule that the kit has to tell, and words of the message.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from arch_check.planted import PAGE, TYPES, Sound
from memhub.plugin import Change, RangeDesc, RangeState, abi, errors

if TYPE_CHECKING:
    from memhub.core.drivers.driver import RangeDriver


class TakesAnything(Sound):
    """Looks at the attribute and whole pages alone."""

    def stored(self, desc: RangeDesc) -> RangeDesc:
        if desc.mr_base % PAGE or desc.mr_len % PAGE or not self.fits(desc):
            raise errors.InvalidRange("whole pages within what fits")
        if desc.mr_flags & abi.MDF_ATTRMASK not in TYPES:
            raise errors.InvalidRange("one of UC, WC, WB")
        return replace(desc, mr_flags=desc.mr_flags & abi.MDF_ATTRMASK | abi.MDF_ACTIVE)

    def fits(self, desc: RangeDesc) -> bool:
        return bool(desc.mr_len) and desc.mr_end <= 1 << 36


class TakesNoBytes(TakesAnything):
    def fits(self, desc: RangeDesc) -> bool:
        return desc.mr_end <= 1 << 36


class TakesNoBytesAsAPage(TakesNoBytes):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        return replace(super().stored(desc), mr_len=desc.mr_len or PAGE)


class GrantsNoBytesToNobody(Sound):
    """Says that a range of no bytes was set, and sets none."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        return Change(()) if not desc.mr_len else super().update(state, desc)


class TakesWhatTheCpuHasNot(TakesAnything):
    def fits(self, desc: RangeDesc) -> bool:
        return bool(desc.mr_len) and desc.mr_end <= 1 << 64


class TakesTheEndWithOnePage(TakesAnything):
    """Compares the base alone with the end."""

    def fits(self, desc: RangeDesc) -> bool:
        return bool(desc.mr_len) and desc.mr_base < 1 << 36


class RefusesTheLastPage(TakesAnything):
    """Takes the end for the last byte."""

    def fits(self, desc: RangeDesc) -> bool:
        return bool(desc.mr_len) and desc.mr_end < 1 << 36


class RefusesWhatEndsAt4Gib(TakesAnything):
    """Keeps the end in 32 bits."""

    def fits(self, desc: RangeDesc) -> bool:
        return bool(desc.mr_len) and desc.mr_end < 1 << 32


class WrapsAround(TakesAnything):
    """Adds as a computer of 64 bits does."""

    def fits(self, desc: RangeDesc) -> bool:
        return bool(desc.mr_len) and desc.mr_end & ((1 << 64) - 1) <= 1 << 36


WRONG: dict[type[RangeDriver], tuple[str, str]] = {
    TakesNoBytes: ("grants-empty", "a range of no bytes was granted"),
    TakesNoBytesAsAPage: ("grants-empty", "a range of no bytes was granted"),
    GrantsNoBytesToNobody: ("grants-empty", "what holds it is nothing"),
    TakesWhatTheCpuHasNot: ("grants-beyond", "36 address bits of the CPU end at 0x1000000000"),
    TakesTheEndWithOnePage: ("grants-beyond", "was granted, but ends at 0x10000"),
    RefusesTheLastPage: ("refuses-last", "ends at 0x1000000000"),
    RefusesWhatEndsAt4Gib: ("refuses-last", "ends at 0x100000000"),
    WrapsAround: ("grants-wrapping", "above 2^64"),
}
