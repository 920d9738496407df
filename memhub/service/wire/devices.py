"""The frame of declared devices: which there are, and what one of them shows."""

from __future__ import annotations

from memhub.service.wire.greeting import FEATURE_DEVICES
from memhub.service.wire.layout import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from memhub.service.wire.layout import text

#: What SHOW can ask for.
SHOW_WORDS = ("list", "bytes")


class Show(Message):
    """List the devices that a machine declares, or read one that shows memory; DATA answers.

    `list` is answered with JSON, an array of devices, and needs `read-ranges`. `bytes` is answered
    with the bytes of a device of memory, as the device itself reads them over the bus, and needs
    `read-memory`. See "SHOW" among the JSON bodies.

    Attributes:
        what: `list` or `bytes`.
        machine: its name; empty for the default one.
        device: for `bytes`, the device's name; empty for the only one that shows memory. To list,
            empty (EINVAL otherwise).

    Errors: EAGAIN, EINVAL, ENOENT, ENOSPC, EPERM.
    """

    TYPE: ClassVar[int] = 0x31
    FEATURE: ClassVar[int] = FEATURE_DEVICES

    what: text
    machine: text
    device: text
