"""mmap of a device: the machine's memory, mapped into the program by the kernel.

What the program maps may be several pieces of two files. Their place in the program is reserved
first, and each piece is then mapped there.
"""

from __future__ import annotations

import errno
import mmap as host
import os
from typing import TYPE_CHECKING, Final

from memhub.exec.context import ANSWERED, PROCEED, Context, Result, number_of, refusal
from memhub.exec.devices import OpenDevice, is_open
from memhub.exec.remote import RemoteThread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.exec.backend import Mapping
    from memhub.exec.kernel import Notification

_MAP_TYPE: Final = 0x0F
_MAP_SHARED_VALIDATE: Final = 0x03
_MAP_FIXED: Final = 0x10
_MAP_32BIT: Final = 0x40
_MAP_NORESERVE: Final = 0x4000
_MAP_FIXED_NOREPLACE: Final = 0x100000
#: Flags that say where a mapping lies.
_WHERE: Final = _MAP_FIXED | _MAP_32BIT | _MAP_FIXED_NOREPLACE
_PAGE: Final = host.PAGESIZE
_MINUS_ONE: Final = (1 << 64) - 1
_LAST_RESULT: Final = _MINUS_ONE - 4095


def mmap(context: Context, call: Notification) -> Result:
    """Take address, length, prot, flags, a descriptor, an offset."""
    device = context.find(call, 4)
    if device is None or call.args[3] & host.MAP_ANONYMOUS:
        return PROCEED

    pieces = _ask_mappings(device, call)
    thread = RemoteThread(call.pid, context.abi)
    files: list[int] = []
    try:
        problem = _inject_files(context, call, pieces, files)
        context.listener.fail(call, problem or errno.EAGAIN)
    except BaseException:
        context.listener.fail(call, errno.EIO)  # the thread stops only after the call has ended
        thread.release()
        raise

    with thread:
        numbers = _free_numbers(context)[: len(set(files))]
        result = -problem & _MINUS_ONE
        if not problem:
            result = _map_pieces(
                thread, call, device, list(zip(files, pieces, strict=True)), numbers
            )

        for number in numbers:
            thread.call("close", number)

        thread.finish(result)

    return ANSWERED


def _free_numbers(context: Context) -> tuple[int, int]:
    """The descriptors under which the program has the files for a moment."""
    return context.window.scratch, context.window.scratch - 1


def _ask_mappings(device: OpenDevice, call: Notification) -> Sequence[Mapping]:
    """Ask the device for memory, after the checks that the kernel would make."""
    _, length, prot, flags, _, offset = call.args
    kind = flags & _MAP_TYPE
    if not length or offset % _PAGE or not host.MAP_SHARED <= kind <= _MAP_SHARED_VALIDATE:
        raise refusal(errno.EINVAL)

    writable = kind != host.MAP_PRIVATE and bool(prot & host.PROT_WRITE)
    if not device.readable or (writable and not device.writable):
        raise refusal(errno.EACCES)

    return device.session.map(offset, -(-length // _PAGE) * _PAGE, writable=writable)


def _inject_files(
    context: Context, call: Notification, pieces: Sequence[Mapping], files: list[int]
) -> int:
    """Give the program the files of some pieces, while its call waits.

    Args:
        context: the supervisor's.
        call: the call.
        pieces: what is to be mapped.
        files: is given, for each piece, which of `_free_numbers` has its file.

    Returns:
        the errno of what failed, or 0.
    """
    numbers = _free_numbers(context)
    known: dict[int, int] = {}
    try:
        for piece in pieces:
            fd = piece.fd
            if fd not in known:
                number = numbers[len(known)]
                if is_open(call.pid, number):
                    return errno.EMFILE

                context.listener.inject(call, fd, number, cloexec=True)
                known[fd] = number

            files.append(known[fd])
    except OSError as error:
        return number_of(error)

    return 0


def _map_pieces(
    thread: RemoteThread,
    call: Notification,
    device: OpenDevice,
    pieces: Sequence[tuple[int, Mapping]],
    numbers: Sequence[int],
) -> int:
    """Map the pieces, each with the number of its file; what the program's call returns."""
    address, length, prot, flags, _, _ = call.args
    scratch = numbers[0]
    if len(pieces) == 1:
        piece = pieces[0][1]
        flags = _flags_for(piece, device, flags)

        return thread.call("mmap", address, length, prot, flags, scratch, piece.offset)

    kind = host.MAP_PRIVATE | host.MAP_ANONYMOUS | _MAP_NORESERVE
    start = thread.call("mmap", address, length, 0, flags & _WHERE | kind, _MINUS_ONE, 0)
    if start > _LAST_RESULT:
        return start

    for number in numbers:
        if number != scratch:  # only under this number is mmap not trapped, in each mode
            thread.call("dup3", number, scratch, os.O_CLOEXEC)

        at = start
        for owner, piece in pieces:
            if owner == number:
                fixed = _flags_for(piece, device, flags & ~_WHERE) | _MAP_FIXED
                done = thread.call("mmap", at, piece.length, prot, fixed, scratch, piece.offset)
                if done != at:
                    thread.call("munmap", start, length)
                    return done

            at += piece.length

    return start


def _flags_for(piece: Mapping, device: OpenDevice, flags: int) -> int:
    """The flags with which a piece is mapped.

    A private piece is in a file that only reads. Where the program cannot write the device, a
    shared mapping of that keeps a later mprotect(2) from writing, as it should.
    """
    if piece.private and device.writable:
        return flags & ~_MAP_TYPE | host.MAP_PRIVATE

    return flags
