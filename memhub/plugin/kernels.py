"""What a plugin of another kernel imports: the rules of Linux, NetBSD and others over a machine.

A plugin is a module with one hook, found through the `memhub.kernels` entry-point group::

    from memhub.plugin.kernels import KernelProfile, hookimpl

    @hookimpl
    def memhub_kernels():
        return [KernelProfile(name="plan9", summary="…", recorded=("plan9-4",), replay=replay)]

A profile whose `served` is set can be the kernel of a hub's machine: `boot` makes its state, and
`call` answers one request with the state that follows. Both are pure, so that they serve without a
hub too::

    kernel = load_kernels().find("linux-6.18").served
    state = kernel.boot(machine).state
    answer = kernel.call(machine, state, KernelCall("add", {"base": …, "size": …, "type": 1}))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import pluggy

from memhub.core.drivers.driver import Cpu as Cpu
from memhub.core.drivers.served_kernel import TYPE_NAMES as TYPE_NAMES
from memhub.core.drivers.served_kernel import TYPE_NUMBERS as TYPE_NUMBERS
from memhub.core.drivers.served_kernel import KernelAnswer as KernelAnswer
from memhub.core.drivers.served_kernel import KernelCall as KernelCall
from memhub.core.drivers.served_kernel import KernelMachine as KernelMachine  # noqa: TC001 - for plugins
from memhub.core.drivers.served_kernel import KernelRange as KernelRange
from memhub.core.drivers.served_kernel import KernelRanges as KernelRanges
from memhub.core.drivers.served_kernel import KernelState as KernelState
from memhub.core.drivers.served_kernel import ServedKernel as ServedKernel  # noqa: TC001 - for plugins
from memhub.core.drivers.served_kernel import share_registers as share_registers
from memhub.core.kernel import OptionError as OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memhub.plugin.comparing import ComparedKernel

#: pluggy's project name, and the entry-point group.
GROUP: Final = "memhub.kernels"

#: Marks the hook itself.
hookspec = pluggy.HookspecMarker(GROUP)
#: Marks the function that gives memhub the kernels of a module.
hookimpl = pluggy.HookimplMarker(GROUP)


class Comparison(Protocol):
    """What a replay tells its differences to.

    Attributes:
        steps: how many steps were compared.
    """

    steps: int

    def differ(self, step: int | None, what: str, expected: object, found: object) -> None:
        """Note a difference, if it is one; step None is the start."""

    def skip(self, reason: str) -> None:
        """Count a step that is not judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelProfile:
    """One kernel: its rules over the registers of a machine.

    Attributes:
        name: what it is called, as `linux-6.18`.
        summary: one line about it.
        recorded: what recorded answers of it have as `kernel`.
        replay: runs one recorded scenario, a line of a trace file, and tells each difference.
        served: its calls over a hub's machine; None where a hub cannot serve it.
        compared: boots it on a machine, for `memhub compare`; None where that cannot ask it.
        set_text: says how one asks it for a range of a base, a length (both bytes) and a type (UC,
            WC, WT, WP or WB), for `memhub plan`; None where that is not known.
        line_of: what it reads as a line of the bytes of a write to `/proc/mtrr`; None without that.
    """

    name: str
    summary: str
    recorded: tuple[str, ...]
    replay: Callable[[Mapping[str, Any], Comparison], None]
    served: ServedKernel | None = None
    compared: Callable[[KernelMachine], ComparedKernel] | None = None
    set_text: Callable[[int, int, str], str] | None = None
    line_of: Callable[[bytes], bytes] | None = None


@hookspec
def memhub_kernels() -> Iterable[KernelProfile]:  # type: ignore[empty-body]
    """Name the kernels that a plugin adds.

    Returns:
        kernels; a name may be taken by one plugin only.
    """
