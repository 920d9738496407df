"""The sound driver that the planted faults are made of."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memhub.plugin import Arch, Change, KernelLayout, RangeDesc, RangeState, abi, errors
from memhub.plugin.software import SoftwareRangeDriver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.drivers.driver import Cpu, RangeDriver

UC, WC, WB = abi.MDF_UNCACHEABLE, abi.MDF_WRITECOMBINE, abi.MDF_WRITEBACK
TYPES = {UC: "UC", WC: "WC", WB: "WB"}
PAGE = 0x1000


def overlaps(one: RangeDesc, other: RangeDesc) -> bool:
    return one.mr_base < other.mr_end and other.mr_base < one.mr_end


class Sound(SoftwareRangeDriver):
    """Four ranges of whole pages; the same range is taken over; types must not conflict."""

    def __init__(self) -> None:
        super().__init__(slots=4)

    def stored(self, desc: RangeDesc) -> RangeDesc:
        if desc.mr_base % PAGE or desc.mr_len % PAGE or not desc.mr_len or desc.mr_end > 1 << 36:
            raise errors.InvalidRange(f"{desc.mr_base:#x}/{desc.mr_len:#x} is not whole pages")

        if desc.mr_flags & abi.MDF_ATTRMASK not in TYPES:
            raise errors.InvalidRange(f"flags {desc.mr_flags:#x}: one of UC, WC, WB")

        flags = desc.mr_flags & abi.MDF_ATTRMASK | abi.MDF_ACTIVE
        return RangeDesc(desc.mr_base, desc.mr_len, flags, desc.mr_owner)

    def type_of(self, desc: RangeDesc) -> str | None:
        return TYPES.get(desc.mr_flags & abi.MDF_ATTRMASK)

    def clash(self, row: RangeDesc, desc: RangeDesc) -> bool:
        return overlaps(row, desc) and bool((row.mr_flags ^ desc.mr_flags) & abi.MDF_ATTRMASK)

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        new, free = self.stored(desc), -1
        for slot, row in enumerate(state.slots):
            if row.mr_len and (row.mr_base, row.mr_len) == (desc.mr_base, desc.mr_len):
                return Change((slot,), {slot: new})
        for slot, row in enumerate(state.slots):
            if row.mr_len and self.clash(row, desc):
                raise errors.InvalidRange(f"overlaps slot {slot}")
            if not row.mr_len and free < 0:
                free = slot
        if free < 0:
            owners = tuple(errors.Obstacle(kind="slot", slot=it) for it in range(len(state.slots)))
            raise errors.NoSpace("no slot is free", obstacles=owners)
        return Change((free,), {free: new})


class CannotBeStopped(Sound):
    """Catches even what stops it."""

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        while True:
            try:
                time.sleep(1000)
            except BaseException:  # noqa: BLE001 - the point
                continue


class KillsTheProcess(Sound):
    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().update(state, desc)


class DependsOnHashes(Sound):
    """Takes whichever free slot the hash of a text says."""

    def number(self, desc: RangeDesc) -> int:
        return hash(f"{desc.mr_base:#x}/{desc.mr_len:#x}")

    def update(self, state: RangeState, desc: RangeDesc) -> Change:
        change = super().update(state, desc)
        free = [slot for slot, row in enumerate(state.slots) if not row.mr_len]
        if change.wrote[0] not in free:
            return change

        slot = free[self.number(desc) % len(free)]
        return Change((slot,), {slot: self.stored(desc)})


class DependsOnTheProcess(DependsOnHashes):
    def number(self, desc: RangeDesc) -> int:
        return os.getpid()


class TakesItsTime(Sound):
    """Drivers that are slow to make."""

    def __init__(self) -> None:
        super().__init__()
        time.sleep(0.05)


class NeedsForce(Sound):
    """Takes ranges of 48 KiB from 4 GiB on, and only with MDF_FORCE."""

    def stored(self, desc: RangeDesc) -> RangeDesc:
        if not desc.mr_flags & abi.MDF_FORCE or desc.mr_base < 1 << 32 or desc.mr_len % 0xC000:
            raise errors.InvalidRange("force, 48 KiB, 4 GiB")
        return super().stored(desc)


class Unusual(Sound):
    """Takes 12 KiB each, between 15 and 16 MiB."""

    def stored(self, desc: RangeDesc) -> RangeDesc:
        if desc.mr_base < 15 << 20 or desc.mr_end > 16 << 20 or desc.mr_len != 0x3000:
            raise errors.InvalidRange("12 KiB between 15 and 16 MiB")
        return super().stored(desc)


class ServesNobody(Sound):
    def attach(self, msrs: Mapping[int, int]) -> RangeState:
        raise errors.NotSupported("only on a VAX")


class NeedsOneRange(Sound):
    """Takes one range, which nobody would guess, and parts of it."""

    def stored(self, desc: RangeDesc) -> RangeDesc:
        if not 0x123000 <= desc.mr_base < desc.mr_end <= 0x12A000:
            raise errors.InvalidRange("elsewhere")
        return super().stored(desc)


@dataclass(frozen=True)
class Factory:
    """Makes drivers of a class, and is a value."""

    kind: Callable[[], RangeDriver]

    def __call__(self, _cpu: Cpu, _options: Mapping[str, Any]) -> RangeDriver:
        return self.kind()


def make_arch(kind: Callable[[], RangeDriver], **fields: Any) -> Arch:
    """The architecture of a driver."""
    known: dict[str, Any] = {
        "name": "planted",
        "summary": "one fault",
        "kernel": KernelLayout(kernel_base=0xF0000000),
        "driver": Factory(kind),
        "attributes": UC | WC | WB,
        "slots": "4 ranges",
    }

    return Arch(**{**known, **fields})
