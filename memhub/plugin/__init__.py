"""All that an architecture plugin imports.

A plugin is a module with one hook, found through the `memhub` entry-point group::

    from memhub.plugin import Arch, KernelLayout, hookimpl

    @hookimpl
    def memhub_arches():
        return [Arch(name="mips", summary="no ranges", kernel=KernelLayout(kernel_base=1 << 31))]

and, in its pyproject.toml::

    [project.entry-points.memhub]
    mips = "memhub_mips"

Flags, layouts and errors come as modules (`abi.MDF_BUSY`, `errors.RangeBusy`), so that their
names read as they do in the kernel. `range_refusals` holds the words of refusals.

declared   architectures without code
software   slots without registers behind them
types      effective memory types: `TypeMap`
x86        MTRRs and PAT: `MtrrDriver`, page attribute tables, types from registers

The names of these four that every second plugin needs are here too. They are loaded when they are
first used, since an architecture without ranges does not need them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from memhub import abi as abi
from memhub import errors as errors
from memhub.abi import ILP32 as ILP32
from memhub.abi import LP64 as LP64
from memhub.abi import Errno as Errno
from memhub.abi import RangeDesc as RangeDesc
from memhub.core.drivers import range_refusals as range_refusals
from memhub.core.drivers.driver import NO_REGISTERS as NO_REGISTERS
from memhub.core.drivers.driver import Arch as Arch
from memhub.core.drivers.driver import Change as Change
from memhub.core.drivers.driver import Cpu as Cpu
from memhub.core.drivers.driver import RangeDriver as RangeDriver
from memhub.core.drivers.driver import RangeState as RangeState
from memhub.core.kernel import Kernel as Kernel
from memhub.core.kernel import KernelLayout as KernelLayout
from memhub.core.kernel import OptionError as OptionError
from memhub.core.kernel import Releases as Releases
from memhub.core.kernel import TransferRules as TransferRules
from memhub.errors import DeviceError as DeviceError
from memhub.errors import Obstacle as Obstacle
from memhub.plugin.spec import hookimpl as hookimpl
from memhub.x86.firmware import ordinary_registers as ordinary_registers

if TYPE_CHECKING:
    from memhub.plugin.declared import DeclaredArch as DeclaredArch
    from memhub.plugin.declared import make_arch as make_arch
    from memhub.plugin.software import SoftwareRangeDriver as SoftwareRangeDriver
    from memhub.plugin.types import TypeMap as TypeMap
    from memhub.plugin.x86 import MtrrDriver as MtrrDriver

#: Where the names are that are loaded when they are first used.
_HOMES: Final = {
    "DeclaredArch": "memhub.plugin.declared",
    "MtrrDriver": "memhub.plugin.x86",
    "SoftwareRangeDriver": "memhub.plugin.software",
    "TypeMap": "memhub.plugin.types",
    "make_arch": "memhub.plugin.declared",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class or a function
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
