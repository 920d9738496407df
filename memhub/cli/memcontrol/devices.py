"""What memcontrol talks to: something with MEMRANGE_GET and MEMRANGE_SET."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from memhub.abi import RangeDesc
    from memhub.core.machine import Machine


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


class MachineDevice:
    """The /dev/mem of a machine in this process, opened by one process.

    Args:
        machine: the machine.
    """

    def __init__(self, machine: Machine) -> None:
        from memhub.core.machine import OpenFile
        from memhub.core.requests import Principal

        self._machine = machine
        self._file = OpenFile(
            id=1,
            machine=machine,
            process=Principal(1, "memcontrol"),
            device="mem",
            readable=True,
            writable=False,
            undo=False,
            model=machine.arch.model,
        )
        machine.opened(self._file)

    def get(self) -> tuple[RangeDesc, ...]:
        """Every descriptor, through the device's binary layout."""
        file = self._file
        _, image = self._machine.ranges.get(file.process, 0x7FFFFFFF, file.model)

        return file.model.unpack_table(image)

    def set(self, argument: int, desc: RangeDesc) -> None:
        """MEMRANGE_SET; a commit takes effect at once, as nobody else is there to see it."""
        from memhub.core.commits import Instant, SetRequest

        now = Instant(time.time_ns(), time.monotonic_ns())
        self._machine.ranges.set(SetRequest(self._file, argument, desc), now).result()
