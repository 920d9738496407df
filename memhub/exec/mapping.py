"""mmap of a device: the machine's memory, mapped into the program by the kernel."""

from __future__ import annotations

import errno
import mmap as host
from typing import TYPE_CHECKING, Final

from memhub.exec.context import ANSWERED, PROCEED, Context, Result, number_of, refusal
from memhub.exec.devices import OpenDevice, is_open
from memhub.exec.remote import RemoteThread

if TYPE_CHECKING:
    from memhub.exec.backend import Mapping
    from memhub.exec.kernel import Notification

_MAP_TYPE: Final = 0x0F
_PAGE: Final = host.PAGESIZE


def mmap(context: Context, call: Notification) -> Result:
    """Take address, length, prot, flags, a descriptor, an offset."""
    device = context.find(call, 4)
    if device is None:
        return PROCEED

    offered = _offer(device, call)
    if is_open(call.pid, context.window.scratch):
        raise refusal(errno.EMFILE)

    thread = RemoteThread(call.pid, context.abi)
    try:
        problem = _inject(context, call, offered)
        context.listener.fail(call, problem or errno.EAGAIN)
    except BaseException:
        context.listener.fail(call, errno.EIO)  # the thread stops only after the call has ended
        thread.release()
        raise

    with thread:
        if not problem:
            _map(context, call, offered, thread)

    return ANSWERED


def _offer(device: OpenDevice, call: Notification) -> Mapping:
    """Ask the device for memory, after the checks that the kernel would make."""
    _, length, prot, flags, _, offset = call.args
    writable = flags & _MAP_TYPE != host.MAP_PRIVATE and bool(prot & host.PROT_WRITE)
    if not device.readable or (writable and not device.writable):
        raise refusal(errno.EACCES)

    if not length or offset % _PAGE:
        raise refusal(errno.EINVAL)

    return device.session.map(offset, -(-length // _PAGE) * _PAGE, writable=writable)


def _inject(context: Context, call: Notification, offered: Mapping) -> int:
    try:
        context.listener.inject(call, offered.fd, context.window.scratch, cloexec=True)
    except OSError as error:
        return number_of(error)

    return 0


def _map(context: Context, call: Notification, offered: Mapping, thread: RemoteThread) -> None:
    address, length, prot, flags, _, _ = call.args
    number = context.window.scratch
    result = thread.call("mmap", address, length, prot, flags, number, offered.offset)
    thread.call("close", number)
    thread.finish(result)
