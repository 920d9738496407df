"""open and its variants, dup, and fcntl."""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING, Final

from memhub.errors import BadAddress
from memhub.exec.context import (
    ANSWERED,
    DEFER,
    PROCEED,
    Context,
    Outcome,
    Result,
    refusal,
)
from memhub.exec.devices import another_handle, free_number, standard_gap
from memhub.exec.filter import F_DUPFD, F_DUPFD_CLOEXEC, F_GETFL, F_SETFL
from memhub.exec.lookup import IN_ROOT, closing
from memhub.exec.walk import Question

if TYPE_CHECKING:
    from memhub.exec.kernel import Notification

_HOW: Final = struct.Struct("<QQQ")
_FILE_HANDLE: Final = struct.Struct("<Ii")
_MAX_HANDLE: Final = 128
_O_LARGEFILE: Final = 0o100000
_BAD_PATH: Final = (errno.EFAULT, errno.ENAMETOOLONG)
_STATUS: Final = os.O_APPEND | os.O_NONBLOCK


def plain_open(context: Context, call: Notification) -> Result:
    """Take path, flags, mode."""
    return _open_path(context, call, None, call.args[0], call.args[1])


def creat(context: Context, call: Notification) -> Result:
    """Take path, mode."""
    return _open_path(context, call, None, call.args[0], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def openat(context: Context, call: Notification) -> Result:
    """Take directory, path, flags, mode."""
    return _open_path(context, call, call.fd(), call.args[1], call.args[2])


def openat2(context: Context, call: Notification) -> Result:
    """Take directory, path, `struct open_how *`, size."""
    if call.args[3] < _HOW.size:
        return PROCEED

    try:
        how = context.memory.read(call.pid, call.args[2], _HOW.size)
    except BadAddress:
        return PROCEED

    flags, _, resolve = _HOW.unpack(how)

    return _open_path(context, call, call.fd(), call.args[1], flags, resolve)


def _open_path(
    context: Context,
    call: Notification,
    directory: int | None,
    address: int,
    flags: int,
    resolve: int = 0,
) -> Result:
    try:
        text = context.memory.read_string(call.pid, address)
    except OSError as error:
        if error.errno in _BAD_PATH:
            return PROCEED  # the kernel answers with the right error
        raise

    if flags & os.O_PATH:
        return PROCEED

    new = os.O_CREAT | os.O_EXCL
    follow = not flags & os.O_NOFOLLOW and flags & new != new
    confined = bool(resolve & IN_ROOT)
    question = Question(call.pid, directory, text, follow=follow, confined=confined)
    path = context.names.spelt(text)
    if path is None:
        found = _find_device(context, call, question, flags)
        if not isinstance(found, str):
            return found

        path = found

    if resolve:
        context.resolver.check(question, resolve)

    return _open_named(context, call, path, flags)


def _find_device(
    context: Context, call: Notification, question: Question, flags: int
) -> str | Outcome:
    """The device that a path leads to, or what else to do with the open."""
    try:
        found = context.resolver.find(question, cached=not context.patient)
    except FileNotFoundError:
        return PROCEED  # no such descriptor
    except NotADirectoryError:
        return PROCEED
    except BlockingIOError:
        return DEFER

    if found.device is not None or found.info is None:
        return found.device or PROCEED

    text = os.fsdecode(question.text)

    return _recognise_device(context, found.info, flags, text, in_proc=found.in_proc)


def _recognise_device(
    context: Context, info: os.stat_result, flags: int, text: str, *, in_proc: bool
) -> str | Outcome:
    """The device that a file is; refused if it is one of the host's."""
    open_already = context.devices.behind(info)
    path = context.names.same_file(info) if open_already is None else open_already.path
    if path is not None:
        return path

    name = context.hosts.name(info, in_proc=in_proc)
    if in_proc and name in context.names.in_proc:
        return context.names.in_proc[name]

    if name is not None and not flags & os.O_DIRECTORY:
        context.check_host(name, f"opening {text}")

    return PROCEED


def open_by_handle_at(context: Context, call: Notification) -> Result:
    """Take a descriptor of the mount, `struct file_handle *`, flags."""
    if not context.patient:
        return DEFER  # a file system is asked

    flags = call.args[2]
    try:
        size, _ = _FILE_HANDLE.unpack(context.memory.read(call.pid, call.args[1], 8))
        handle = context.memory.read(call.pid, call.args[1], 8 + min(size, _MAX_HANDLE))
        with (
            closing(context.lookup.fetch(call.pid, call.fd())) as mount,
            closing(context.lookup.find_by_handle(mount, handle)) as found,
        ):
            info = os.fstat(found)
    except (OSError, BadAddress):
        return PROCEED  # the kernel answers with the right error

    path = _recognise_device(context, info, flags, "a file by its handle", in_proc=False)
    if not isinstance(path, str) or flags & os.O_PATH:
        return PROCEED

    return _open_named(context, call, path, flags)


def _open_named(context: Context, call: Notification, path: str, flags: int) -> Result:
    if flags & os.O_CREAT and flags & os.O_EXCL:
        raise refusal(errno.EEXIST)

    if flags & os.O_DIRECTORY:
        raise refusal(errno.ENOTDIR)

    if not context.listener.valid(call):
        return ANSWERED

    with context.numbering:
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
    """Put a descriptor into the program; if that fails, closing it here is the last close."""
    try:
        context.listener.answer_with(call, handle, number, cloexec=cloexec)
    finally:
        os.close(handle)


def dup(context: Context, call: Notification) -> Result:
    """Take a descriptor."""
    return _duplicate_file(context, call, 0, cloexec=False)


def _duplicate_file(
    context: Context, call: Notification, at_least: int, *, cloexec: bool
) -> Result:
    """Keep copies inside the window, except where the program expects a low number."""
    window = context.window
    if context.find(call) is None or at_least >= window.end or standard_gap(call.pid, at_least):
        return PROCEED

    with context.numbering:
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
        return _duplicate_file(context, call, argument, cloexec=command == F_DUPFD_CLOEXEC)

    return PROCEED
