"""open and its kin, dup, and fcntl."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from memhub.errors import BadAddress
from memhub.service.shim.context import ANSWERED, PROCEED, Context, Result, refusal
from memhub.service.shim.devices import another_handle, free_number, standard_gap
from memhub.service.shim.filter import F_DUPFD, F_DUPFD_CLOEXEC, F_GETFL, F_SETFL

if TYPE_CHECKING:
    from memhub.service.shim.kernel import Notification

_O_LARGEFILE: Final = 0o100000
_BAD_PATH: Final = (errno.EFAULT, errno.ENAMETOOLONG)
_STATUS: Final = os.O_APPEND | os.O_NONBLOCK


def plain_open(context: Context, call: Notification) -> Result:
    """Take path, flags, mode."""
    return _open(context, call, None, call.args[0], call.args[1])


def creat(context: Context, call: Notification) -> Result:
    """Take path, mode."""
    return _open(context, call, None, call.args[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def openat(context: Context, call: Notification) -> Result:
    """Take directory, path, flags, mode."""
    return _open(context, call, call.fd(), call.args[1], call.args[2])


def openat2(context: Context, call: Notification) -> Result:
    """Take directory, path, `struct open_how *`, size."""
    try:
        how = context.memory.read(call.pid, call.args[2], 8)
    except BadAddress:
        return PROCEED

    return _open(context, call, call.fd(), call.args[1], int.from_bytes(how, "little"))


def _open(
    context: Context, call: Notification, directory: int | None, address: int, flags: int
) -> Result:
    try:
        text = context.memory.read_string(call.pid, address)
    except OSError as error:
        if error.errno in _BAD_PATH:
            return PROCEED  # the kernel says what is wrong with it
        raise

    path = context.names.match(text, call.pid, directory, context.devices)
    if path is None or flags & os.O_PATH:
        return PROCEED

    if flags & os.O_CREAT and flags & os.O_EXCL:
        raise refusal(errno.EEXIST)

    if flags & os.O_DIRECTORY:
        raise refusal(errno.ENOTDIR)

    if not context.listener.valid(call):
        return ANSWERED

    return _open_device(context, call, path, flags)


def _open_device(context: Context, call: Notification, path: str, flags: int) -> Result:
    number = free_number(call.pid, context.window)
    session = context.backend.open(path, flags)
    kept = flags & (os.O_ACCMODE | _STATUS) | _O_LARGEFILE
    handle = context.devices.add(session, path, kept)
    _answer_with(context, call, handle, number, cloexec=bool(flags & os.O_CLOEXEC))

    return ANSWERED


def _answer_with(
    context: Context, call: Notification, handle: int, number: int, *, cloexec: bool
) -> None:
    """Hand a descriptor over; if it never arrives, closing it here is the last close."""
    try:
        context.listener.answer_with(call, handle, number, cloexec=cloexec)
    finally:
        os.close(handle)


def dup(context: Context, call: Notification) -> Result:
    """Take a descriptor."""
    return _duplicate(context, call, 0, cloexec=False)


def _duplicate(context: Context, call: Notification, at_least: int, *, cloexec: bool) -> Result:
    """Keep copies inside the window, save where the program counts on a low number."""
    window = context.window
    if context.find(call) is None or at_least >= window.end or standard_gap(call.pid, at_least):
        return PROCEED

    number = free_number(call.pid, window, at_least)
    handle = another_handle(call.pid, call.fd())
    _answer_with(context, call, handle, number, cloexec=cloexec)

    return ANSWERED


def fcntl(context: Context, call: Notification) -> Result:
    """Take a descriptor, a command that the filter watches, its argument."""
    device = context.find(call)
    if device is None:
        return PROCEED

    command, argument = call.args[1] & 0xFFFFFFFF, call.args[2]
    if command == F_GETFL:
        return device.flags

    if command == F_SETFL:
        device.flags = device.flags & ~_STATUS | argument & _STATUS
        return 0

    if command in (F_DUPFD, F_DUPFD_CLOEXEC):
        return _duplicate(context, call, argument, cloexec=command == F_DUPFD_CLOEXEC)

    return PROCEED
