"""Wrong drivers that exit, hang in a copy, change the process, or keep what is not theirs.

`WRONG` names each class with the rule that the kit has to tell, and words of the message.
"""

from __future__ import annotations

import builtins
import decimal
import locale
import logging
import os
import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from arch_check.planted import Sound, overlaps
from memhub.plugin import NO_REGISTERS, Change, RangeDesc, RangeState, abi, errors, range_refusals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.drivers.driver import RangeDriver


class ExitsInExtent(Sound):
    def extent(self, state: RangeState, slot: int) -> tuple[int, int]:
        sys.exit(0)


class EndsTheProcess(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        os._exit(0)


class InterruptsItself(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        raise KeyboardInterrupt


class InterruptsInACopy(Sound):
    def __reduce__(self) -> NoReturn:
        raise KeyboardInterrupt


class HangsInACopy(Sound):
    def __deepcopy__(self, memo: object) -> Any:
        while True:
            pass


class HangsInRereads(Sound):
    @property
    def rereads(self) -> bool:  # type: ignore[override]
        while True:
            pass


class KeepsHistory(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.history: list[RangeDesc] = []

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        self.history.append(desc)
        return super().update(state, desc)


class ChangesTheUmask(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        os.umask(0o77)
        return super().update(state, desc)


class ChangesTheDecimalContext(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        decimal.getcontext().prec = 40
        return super().update(state, desc)


class SilencesWarnings(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        warnings.simplefilter("ignore")
        return super().update(state, desc)


class SetsTheLocale(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        here = locale.setlocale(locale.LC_CTYPE)
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8" if here == "C" else "C")
        return super().update(state, desc)


class LogsMore(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        logging.root.setLevel(logging.root.level + 1)
        return super().update(state, desc)


class ReplacesABuiltIn(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        builtins.mr_last = desc.mr_base  # type: ignore[attr-defined]
        return super().update(state, desc)


class WritesAFile(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        with open(os.devnull, "a") as file:  # noqa: PTH123 - as an author would
            file.write(f"{desc}\n")
        return super().update(state, desc)


class SignalsAProcess(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        os.kill(os.getpid(), 0)
        return super().update(state, desc)


class Prints(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        print("update")  # noqa: T201
        return super().update(state, desc)


class FixesWhatItStores(Sound):
    def stored(self, desc: RangeDesc) -> RangeDesc:
        new = super().stored(desc)
        return replace(new, mr_flags=new.mr_flags | abi.MDF_FIXBASE)

    def remove(self, state: RangeState, desc: RangeDesc) -> Change:
        if any(it.mr_flags & abi.MDF_FIXBASE for it in state.slots):
            raise errors.NotPermitted("fixed")
        return super().remove(state, desc)


class TakesWhatLiesInside(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        new = self.stored(desc)
        for slot, row in enumerate(state.slots):
            inside = desc.mr_base <= row.mr_base and row.mr_end <= desc.mr_end and row.mr_len
            if inside and not self.clash(row, desc):
                return Change((slot,), {slot: new})
        return super().update(state, desc)


class ForceTakesTheFirst(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        if desc.mr_flags & abi.MDF_FORCE:
            return Change((0,), {0: self.stored(desc)})
        return super().update(state, desc)


class NamesAFreeSlot(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        try:
            return super().update(state, desc)
        except errors.InvalidRange as error:
            last = range_refusals.obstacle("overlap", 3, state.slots[3])
            raise errors.InvalidRange(error.reason, obstacles=(last,)) from None


class NamesNoSuchType(Sound):
    def clash(self, row: RangeDesc, desc: RangeDesc) -> bool:
        if super().clash(row, desc):
            odd = replace(range_refusals.obstacle("overlap", 0, row), type="banana")
            raise errors.InvalidRange("overlaps", obstacles=(odd,))
        return False


class HasAllMemory(Sound):
    def extent(self, state: RangeState, slot: int) -> tuple[int, int]:
        return (0, 1 << 64) if state.slots[slot].mr_len else (0, 0)


class RestoresIfNothingConflicts(Sound):
    def restore(
        self,
        state: RangeState,
        slots: Mapping[int, RangeDesc],
        earlier: Mapping[int, int] = NO_REGISTERS,
    ) -> Change:
        for slot, desc in slots.items():
            held = state.slots[slot]
            if held.mr_len and desc.mr_len and not overlaps(held, desc):
                raise errors.NotPermitted("another range is there")
        return super().restore(state, slots, earlier)


#: The rule of each, and words of the message.
WRONG: dict[type[RangeDriver], tuple[str, str]] = {
    ExitsInExtent: ("raises", "failed with SystemExit: 0"),
    EndsTheProcess: ("raises", "failed with EndsProcess: os._exit(0)"),
    InterruptsItself: ("raises", "failed with KeyboardInterrupt"),
    InterruptsInACopy: ("not-picklable", "failed with KeyboardInterrupt"),
    HangsInACopy: ("hangs", "did not answer within 0.3 s"),
    HangsInRereads: ("hangs", "did not answer within 0.3 s"),
    KeepsHistory: ("remembers", "the driver is not what it was: pickled, it has"),
    ChangesTheUmask: ("side-effects", "umask of the process"),
    ChangesTheDecimalContext: ("side-effects", "decimal context of the process"),
    SilencesWarnings: ("side-effects", "filters of warnings of the process"),
    SetsTheLocale: ("side-effects", "locale of the process"),
    LogsMore: ("side-effects", "root logger of the process"),
    ReplacesABuiltIn: ("side-effects", "built-in names of the process"),
    Prints: ("side-effects", "it writes to standard output"),
    FixesWhatItStores: ("sets-odd-flags", "slot 0 is fixed-base"),
    TakesWhatLiesInside: ("overwrites-range", "was written over slot"),
    ForceTakesTheFirst: ("overwrites-range", "was written over slot 0"),
    NamesAFreeSlot: ("obstacle-wrong", "says that slot 3 overlaps it"),
    NamesNoSuchType: ("obstacle-wrong", "has type 'banana', not"),
    HasAllMemory: ("extent-too-wide", "`extent` says 0x0 to 0x10000000000000000 of slot 0"),
    RestoresIfNothingConflicts: ("undo-fails", "another range is there"),
}
