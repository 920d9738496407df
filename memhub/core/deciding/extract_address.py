"""MEM_EXTRACT_PADDR: which physical address is behind a virtual one.

FreeBSD looks in the map of the calling process. A client of memhub has no address space in the
machine, so its addresses are the kernel's, as on `/dev/kmem`; a map entry decides between invalid
and valid, and the page tables between valid and mapped. As in FreeBSD a page whose physical
address is 0 counts as not mapped. All memory is in domain 0.

Source: FreeBSD 14 `sys/dev/mem/memdev.c` (memioctl), `sys/sys/memrange.h`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memhub.abi import ME_STATE_INVALID, ME_STATE_MAPPED, ME_STATE_VALID, MEM_EXTRACT_PADDR
from memhub.core.decision import Decision
from memhub.core.events import IoctlRefused
from memhub.core.extracted import AddressExtracted, Extracted
from memhub.core.requests import Request
from memhub.errors import UnknownIoctl

if TYPE_CHECKING:
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine


@dataclass(frozen=True, slots=True)
class ExtractAddress(Request[Extracted]):
    """Which physical address is behind a virtual one.

    Attributes:
        handle: the open file, of either device.
        address: `me_vaddr`, a kernel virtual address of the machine.
    """

    handle: int
    address: int

    @property
    def number(self) -> int:
        """The number of the ioctl."""
        return MEM_EXTRACT_PADDR


def decide_extract(machine: Machine, request: ExtractAddress, now: Instant) -> Decision:
    """Look an address up; a kernel older than FreeBSD 13 does not know the ioctl (ENOTTY)."""
    caller = machine.files.files[request.handle].caller
    if not machine.transfer.rules.extracts:
        error = UnknownIoctl(
            f"ioctl {MEM_EXTRACT_PADDR:#x} (MEM_EXTRACT_PADDR) is of FreeBSD 13 and later, and "
            f"{machine.name} is of an earlier release, or of another system"
        )

        return Decision(None, error, (IoctlRefused(caller, now, request.number, error),), False)

    found = find_physical(machine, request.address)
    event = AddressExtracted(caller, now, request.address, found)

    return Decision(found, None, (event,), changes=False)


def find_physical(machine: Machine, address: int) -> Extracted:
    """What is behind a kernel virtual address."""
    area = machine.kernel.find(address)
    if area is None or not (area.readable or area.writable):
        return Extracted(ME_STATE_INVALID, None, None)

    physical = 0 if area.delta is None else address + area.delta
    if not physical:  # pmap_extract answers 0 where no page is
        return Extracted(ME_STATE_VALID, 0, None)

    return Extracted(ME_STATE_MAPPED, physical, 0)
