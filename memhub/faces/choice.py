"""Which face a file has: that of FreeBSD's mem(4), or that of another kernel's file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.core.files import KERNEL_FILES
from memhub.faces.freebsd import ask_ioctl, encode_get

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.files import Device

    Face = tuple[Callable[..., Any], Callable[..., Any]]


def face_of(device: Device) -> Face:
    """How an ioctl of a device's file is read, and its reply written.

    Args:
        device: what the file is open on.

    Returns:
        functions with the arguments of `ask_ioctl` and of `encode_get`.
    """
    if device not in KERNEL_FILES:
        return ask_ioctl, encode_get

    from memhub.faces.linux import answer_mtrr, ask_mtrr  # here: few machines are Linux's

    return ask_mtrr, answer_mtrr
