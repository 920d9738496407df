"""Unmodified programs whose /dev/mem is a hub's: `memhub exec -- PROGRAM ARGS…`.

Theory of operation
-------------------
The program runs under a seccomp filter that it cannot shed and that everything it starts
inherits. System calls that could concern a device (`filter`) stop in the kernel, which tells the
supervisor (`supervisor`); the supervisor performs the call on the device and answers, or lets the
kernel go on. Nothing is preloaded or patched, so static programs work like any other.

* open of a device name: the hub opens a session, and the writing end of a new pipe goes into the
  program under a number of a reserved window (`devices`). The pipe's inode says which device a
  descriptor is, whoever holds it and whatever its number; its hang-up says that the last
  descriptor is gone. One pipe is one open file description: dup and fork share it, and so its
  offset, as a kernel's would.
* read, write, lseek, fstat, ioctl, …: trapped where the descriptor lies in the window or is
  standard input or output. Memory is read and written with process_vm_readv(2) and
  process_vm_writev(2), nested pointers included.
* mmap: the hub offers a file and an offset; the thread itself maps them (`remote`, `mapping`).

The program and its children are one process of the hub: they share its claims.

What is opened decides, not its name: a path is followed as the kernel would for the program
(`resolve`, `walk`), and a file that is a device is told by its number (`names`, `host`). Devices
of the host for which the hub has nothing of its own are refused.

This is no sandbox. A program that wants to get around it can: a path may change between its
examination and the kernel's own reading of it. The kernel then still refuses raw access to the
host's memory, ports and registers, because the program has no CAP_SYS_RAWIO (`launch`).
"""

from memhub.exec.backend import (
    CallerMemory as CallerMemory,
)
from memhub.exec.backend import (
    DeviceBackend as DeviceBackend,
)
from memhub.exec.backend import (
    DeviceSession as DeviceSession,
)
from memhub.exec.backend import (
    Mapping as Mapping,
)
from memhub.exec.backend import (
    memrange_ioctl as memrange_ioctl,
)
from memhub.exec.kernel import ShimUnavailable as ShimUnavailable
from memhub.exec.run import run as run

__all__ = (
    "CallerMemory",
    "DeviceBackend",
    "DeviceSession",
    "Mapping",
    "ShimUnavailable",
    "memrange_ioctl",
    "run",
)
