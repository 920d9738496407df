"""The caches of a machine, and the transfers that pass through them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.core.caches.state import Caches
from memhub.core.caches.transfer import CachedTransfer
from memhub.core.memory.transfer import Transfer

if TYPE_CHECKING:
    from memhub.core.caches.content import CachesContent
    from memhub.core.kernel import TransferRules
    from memhub.core.memory.kmem import KernelMemory
    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.ranges.range_table import RangeTable
    from memhub.core.served import Served
    from memhub.core.spec import MachineSpec


def make_caches(
    spec: MachineSpec, memory: PhysicalMemory, table: RangeTable | None, served: Served | None
) -> Caches | None:
    """Empty caches, or None where memory is coherent."""
    if spec.coherent:
        return None

    return Caches(spec.caches, memory, table, served, snoops=spec.bus == "snooping")


def make_transfer(
    spec: MachineSpec,
    memory: PhysicalMemory,
    kernel: KernelMemory,
    rules: TransferRules,
    caches: Caches | None,
) -> Transfer:
    """How `read` and `write` reach memory, by caches where there are some."""
    if caches is None:
        return Transfer(memory, kernel, rules, spec.wp_writes)

    return CachedTransfer(memory, kernel, rules, spec.wp_writes, caches)


def capture_caches(caches: Caches | None) -> CachesContent | None:
    """What caches hold now; None where memory is coherent."""
    return None if caches is None else caches.capture()
