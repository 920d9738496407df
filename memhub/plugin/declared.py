"""An architecture without code: slots, alignment, attributes, conflicts and the order of errors.

A declaration is a value, made here or read from TOML (`declared_toml.py`); the fields and the keys
are the same. `make_arch` makes the Arch that a plugin registers::

    make_arch(
        DeclaredArch(
            name="sparc",
            summary="two ranges, uncacheable or write-back",
            slots=2,
            types={"uncacheable": "UC", "write-back": "WB"},
        )
    )
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memhub.abi import ILP32
from memhub.core.drivers.driver import Arch, Cpu, RangeDriver
from memhub.core.kernel import KernelLayout
from memhub.plugin.declaration import BIT_OF_WORD as BIT_OF_WORD
from memhub.plugin.declaration import CpuRule as CpuRule
from memhub.plugin.declaration import DeclaredArch as DeclaredArch
from memhub.plugin.declaration import FirmwareSlot as FirmwareSlot
from memhub.plugin.declaration import SignatureRule as SignatureRule

if TYPE_CHECKING:
    from collections.abc import Mapping

_KERNEL32: Final = KernelLayout(kernel_base=0xC0000000)
_KERNEL64: Final = KernelLayout(
    kernel_base=0xFFFFFFFF80000000, direct_map=0xFFFFF80000000000, map_max=0xFFFFFFFFFFFFF000
)


def make_arch(declared: DeclaredArch) -> Arch:
    """The architecture of a declaration, as a plugin registers it."""
    kernel = declared.kernel or (_KERNEL32 if declared.model == ILP32 else _KERNEL64)

    return Arch(
        name=declared.name,
        summary=declared.summary,
        model=declared.model,
        kernel=None if declared.releases is not None else kernel,
        releases=declared.releases,
        driver=DeclaredFactory(declared),
        attributes=declared.attribute_mask,
        quirks=frozenset(declared.quirks),
        untyped=sum(BIT_OF_WORD[word] for word, it in declared.types.items() if not it),
        slots=f"{declared.slots} ranges",
        commit_latency=declared.commit_latency,
        cpu=None if declared.cpus is None else declared.cpus.ordinary_cpu(),
    )


@dataclass(frozen=True, slots=True)
class DeclaredFactory:
    """Makes the drivers of a declared architecture; a value, as an Arch and a machine are.

    Attributes:
        declared: the architecture.
    """

    declared: DeclaredArch

    def __call__(self, cpu: Cpu, options: Mapping[str, Any]) -> RangeDriver:
        """The range driver of one machine."""
        return make_driver(self.declared, cpu, options)


def make_driver(declared: DeclaredArch, cpu: Cpu, _options: Mapping[str, Any]) -> RangeDriver:
    """The range driver of one machine of a declared architecture."""
    # Here, because it loads numpy, which naming the architecture does not need.
    from memhub.plugin.declared_driver import DeclaredDriver

    return DeclaredDriver(declared, cpu)
