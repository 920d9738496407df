"""netbsd: the memory type range registers as NetBSD manages them, with private ranges.

table          ranges, owners and conflicts      system_calls   get, set, exit
i686, k6       the registers                     replaying      recorded answers
served         calls over a hub's machine

Sources: NetBSD `sys/arch/x86/x86/mtrr_i686.c` and what else each module names.
"""

from __future__ import annotations

from memhub.plugin.kernels import KernelProfile, hookimpl
from memhub_netbsd.compared import ComparedNetbsd, set_call
from memhub_netbsd.replaying import replay
from memhub_netbsd.served import NetBsdKernel

NETBSD = KernelProfile(
    name="netbsd-7",
    summary="NetBSD 7.99: MTRR system calls with ranges that are private to a process",
    recorded=("netbsd-7.99.10",),
    replay=replay,
    served=NetBsdKernel(),
    compared=ComparedNetbsd,
    set_text=set_call,
)


@hookimpl
def memhub_kernels() -> list[KernelProfile]:
    """Register NetBSD."""
    return [NETBSD]
