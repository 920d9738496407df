"""fstat and its variants: the program sees a character device, not the pipe behind it."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

from memhub.exec.context import PROCEED, Context, Result

if TYPE_CHECKING:
    from memhub.exec.kernel import Notification

_AT_EMPTY_PATH: Final = 0x1000
_STATX: Final = struct.Struct("<IIQIIIHxxQQQQ64xIIII112x")
_STATX_BASIC: Final = 0x7FF


def fstat(context: Context, call: Notification) -> Result:
    """Take a descriptor, `struct stat *`."""
    return _stat_device(context, call, call.args[1])


def newfstatat(context: Context, call: Notification) -> Result:
    """Take a descriptor, "", `struct stat *`, AT_EMPTY_PATH: how glibc makes fstat."""
    if not _by_descriptor(context, call, call.args[3]):
        return PROCEED

    return _stat_device(context, call, call.args[2])


def _stat_device(context: Context, call: Notification, address: int) -> Result:
    device = context.find(call)
    if device is None:
        return PROCEED

    node = device.node
    packed = context.abi.stat(node.dev, node.ino, node.mode, node.rdev)
    context.memory.write(call.pid, address, packed)

    return 0


def statx(context: Context, call: Notification) -> Result:
    """Take a descriptor, "", AT_EMPTY_PATH, a mask, `struct statx *`."""
    device = context.find(call)
    if device is None or not _by_descriptor(context, call, call.args[2]):
        return PROCEED

    node = device.node
    numbers = (os.major(node.rdev), os.minor(node.rdev), os.major(node.dev), os.minor(node.dev))
    packed = _STATX.pack(_STATX_BASIC, 4096, 0, 1, 0, 0, node.mode, node.ino, 0, 0, 0, *numbers)
    context.memory.write(call.pid, call.args[4], packed)

    return 0


def _by_descriptor(context: Context, call: Notification, flags: int) -> bool:
    if not flags & _AT_EMPTY_PATH:
        return False

    path = call.args[1]

    return not path or context.memory.read(call.pid, path, 1) == b"\0"
