"""linux: the memory type range registers as Linux 6.18 and 2.6.32 manage them.

Each room imports those above it and none below:

machine, releases, refused, texts    what a kernel runs on, where 2.6.32 differs, how it says no
registers    every CPU's registers, and the back ends: Intel's MTRRs, K6, Centaur MCR, Cyrix ARR
cleanup      the planner of ranges at boot, and the trimming of RAM
mtrr         the layer `LinuxMtrr`, the kernel's start, drivers' ranges, and `/proc/mtrr`
pat          page-attribute reservations, and what maps with them
served       Linux for a machine of a hub: settings, calls, state as plain data
replay       recorded answers

Sources: Linux 6.18 `arch/x86/kernel/cpu/mtrr`; each module names its files. The rules are checked
against answers recorded from the kernel's own code over simulated registers.
"""

from __future__ import annotations

from memhub.plugin.kernels import KernelProfile, hookimpl
from memhub_linux.mtrr.proc_mtrr import line_of
from memhub_linux.releases import LINUX_2_6_32, LINUX_6_18
from memhub_linux.replay.mtrr import replay
from memhub_linux.served.compared import ComparedLinux, add_command
from memhub_linux.served.kernel import LinuxKernel

LINUX = KernelProfile(
    name="linux-6.18",
    summary="Linux 6.18: MTRRs, /proc/mtrr and its ioctls, page-attribute reservations",
    recorded=("linux-6.18.2",),
    replay=replay,
    served=LinuxKernel(),
    compared=lambda machine: ComparedLinux(machine, LINUX_6_18),
    set_text=add_command,
    line_of=lambda data: line_of(data or b"\0", LINUX_6_18)[1],
)


OLD_LINUX = KernelProfile(
    name="linux-2.6.32",
    summary="Linux 2.6.32: MTRRs, /proc/mtrr and its ioctls",
    recorded=("linux-2.6.32",),
    replay=replay,
    served=LinuxKernel(LINUX_2_6_32),
    compared=lambda machine: ComparedLinux(machine, LINUX_2_6_32),
    set_text=add_command,
    line_of=lambda data: line_of(data or b"\0", LINUX_2_6_32)[1],
)


@hookimpl
def memhub_kernels() -> list[KernelProfile]:
    """Register Linux."""
    return [LINUX, OLD_LINUX]
