"""Calls that are trapped only because they could act on the host."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memhub.exec.context import PROCEED, Context, Result, refusal
from memhub.exec.lookup import closing

if TYPE_CHECKING:
    from memhub.exec.kernel import Notification

_INT: Final = 0xFFFFFFFF
_PATH: Final = os.O_PATH | os.O_CLOEXEC


def iopl(context: Context, call: Notification) -> Result:
    """Take a level; level 0 drops the right."""
    if call.args[0] & _INT:
        context.check_host("ioport", "iopl")

    return PROCEED


def ioperm(context: Context, call: Notification) -> Result:
    """Take the first port, their number, on or off."""
    if call.args[2] & _INT:
        context.check_host("ioport", "ioperm")

    return PROCEED


def pidfd_getfd(context: Context, call: Notification) -> Result:
    """Take a pidfd, a number in the process that it stands for, flags."""
    try:
        process = _process_behind(call.pid, call.fd())
        with closing(os.open(f"/proc/{process}/fd/{call.fd(1)}", _PATH)) as handle:
            info = os.fstat(handle)
            in_proc = context.lookup.is_proc(handle)
    except OSError:
        return PROCEED  # the kernel answers with the right error

    name = context.hosts.name(info, in_proc=in_proc)
    if name is not None:
        context.check_host(name, "taking a descriptor of another process")

    return PROCEED


def _process_behind(pid: int, pidfd: int) -> int:
    """The process that a pidfd of the program stands for.

    Raises:
        OSError: EBADF; the descriptor is not a pidfd, or the process is gone.
    """
    for line in Path(f"/proc/{pid}/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return int(line.split()[1])

    raise refusal(errno.EBADF)


def mtrr_ioctl(context: Context, call: Notification) -> Result:
    """Refuse a request of /proc/mtrr; other files do not know it.

    It is answered here for every descriptor, because the kernel might find another file there.
    """
    if "mtrr" in context.hosts.allowed:
        return PROCEED

    try:
        with closing(os.open(f"/proc/{call.pid}/fd/{call.fd()}", _PATH)) as handle:
            in_proc = context.lookup.is_proc(handle)
            name = context.hosts.name(os.fstat(handle), in_proc=in_proc)
    except OSError:
        raise refusal(errno.EBADF) from None

    if name == "mtrr":
        context.check_host(name, f"ioctl {call.args[1] & _INT:#x}")

    raise refusal(errno.ENOTTY)
