"""What memcontrol works on: a device with MEMRANGE_GET and MEMRANGE_SET."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from memhub.abi import LP64

if TYPE_CHECKING:
    from memhub.abi import RangeDesc
    from memhub.service.blocking.handle import BlockingHandle
    from memhub.service.local.handle import LocalHandle


class Device(Protocol):
    """An open /dev/mem."""

    def get(self) -> tuple[RangeDesc, ...]:
        """Every descriptor.

        Raises:
            DeviceError: there are no range operations, or no descriptors.
        """

    def set(self, argument: int, desc: RangeDesc) -> None:
        """MEMRANGE_SET with `mo_arg[0]` = `argument`.

        Raises:
            DeviceError: refused; nothing has changed.
        """


class ClientDevice:
    """The /dev/mem of a client, through the device's binary layout.

    Args:
        handle: opened with the data model LP64.
    """

    def __init__(self, handle: BlockingHandle | LocalHandle) -> None:
        self._handle = handle

    def get(self) -> tuple[RangeDesc, ...]:
        """Every descriptor."""
        return self._handle.ranges()

    def set(self, argument: int, desc: RangeDesc) -> None:
        """MEMRANGE_SET; returns when it has taken effect."""
        self._handle.ioctl(LP64.set[0], LP64.op.pack(1, argument, 0), LP64.pack(desc))
