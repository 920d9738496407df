"""Unmodified programs whose /dev/mem is a hub's: `memhub exec -- PROGRAM ARGS…`.

Theory of operation
-------------------
The program runs under a seccomp filter that it cannot remove and that everything it starts
inherits. System calls that could concern a device (`filter`) stop in the kernel, which tells the
supervisor (`supervisor`). The supervisor performs the call on the device and answers, or lets the
kernel perform it. Nothing is preloaded or patched, so static programs work too.

* open of a device name: the hub opens a session, and the program gets the writing end of a new
  pipe, under a number of a reserved window (`devices`). The pipe's inode tells which device a
  descriptor is, in every process and under every number; its hang-up tells that the last
  descriptor is closed. One pipe is one open file description: dup and fork share it and its
  offset, as with a kernel's own.
* read, write, lseek, fstat, ioctl, …: trapped where the descriptor lies in the window or is
  standard input or output. Memory is read and written with process_vm_readv(2) and
  process_vm_writev(2), nested pointers included.
* mmap: the hub gives a file and an offset; the thread itself maps them (`remote`, `mapping`).

The program and its children are one process of the hub: they share its claims.

The file counts, not its name: a path is followed as the kernel would for the program (`resolve`,
`walk`), and a device is recognised by its number (`names`, `host`). Devices of the host that the
hub cannot replace are refused.

This is not a sandbox. A hostile program can get around it, because a path may change after the
supervisor has examined it and before the kernel reads it. The kernel then still refuses raw
access to the host's memory, ports and registers, because the program has no CAP_SYS_RAWIO
(`launch`).
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
