"""What a DMA device, or the platform, does on the bus of a machine, for the embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.arguments import take_buffer, take_integer, take_span, take_text
from memhub.core.deciding.cache_requests import (
    decide_bus_read,
    decide_bus_write,
    decide_flush_all,
    decide_wbinvd,
)

if TYPE_CHECKING:
    from memhub.abi import Buffer
    from memhub.core.machine import Machine
    from memhub.core.memory.physmap import MmioDevice, Window
    from memhub.engine.engine import Engine


class Bus:
    """The bus of one machine; made by `Hub.bus`.

    Nothing here waits, and each access has its record (`bus.access`) as a request has.

    Args:
        engine: who performs.
        machine: the machine.
    """

    def __init__(self, engine: Engine, machine: Machine) -> None:
        self._engine = engine
        self._machine = machine

    def read(self, address: int, length: int) -> bytes:
        """What a device reads.

        Args:
            address: physical.
            length: bytes.

        Raises:
            BadAddress: EFAULT; part of it is no physical address, or a device model answers there.
            InvalidArgument: EINVAL; a length below 0 or above INT_MAX.
            BadHandle: EBADF; the hub is closed.
            DeviceError: EAGAIN; the machine is suspended, and its bus with it.
            LogFailed: EIO; it cannot be recorded, and nothing has changed.
        """
        address, length = take_integer("address", address), take_integer("length", length)
        self._engine.files.check_in_use()
        now = self._engine.now()
        decision = decide_bus_read(self._machine, address, length, now)
        self._engine.perform(self._machine, decision)
        data: bytes = decision.reply

        return data

    def write(self, address: int, data: Buffer) -> int:
        """Write as a device does; errors are those of `read`.

        Args:
            address: physical.
            data: the bytes.

        Returns:
            how many bytes were written, always all of them.
        """
        address, given = take_integer("address", address), bytes(take_buffer("data", data))
        self._engine.files.check_in_use()
        decision = decide_bus_write(self._machine, address, given, self._engine.now())
        self._engine.perform(self._machine, decision)

        return len(given)

    def flush_all(self) -> None:
        """Let the bus see every line and every buffer, and keep none: wbinvd on every CPU.

        Raises:
            DeviceError: EAGAIN; the machine is suspended. Its caches were flushed before.
            LogFailed: EIO; it cannot be recorded, and nothing has changed.
        """
        self._engine.files.check_in_use()
        decision = decide_wbinvd(self._machine, self._engine.now())
        self._engine.perform(self._machine, decision)

    def map_device(self, base: int, length: int, device: MmioDevice) -> Window:
        """Let a device model answer for a stretch of physical addresses.

        Args:
            base: first byte.
            length: bytes.
            device: an object with async `read(offset, size)` and `write(offset, data)`.

        Raises:
            ValueError: out of bounds, or another device is there; longer than the device, where it
                says its `length`; or the device does not take its timer.
            TypeError: the device has no `read` or no `write`.
            LogFailed: EIO; it cannot be recorded that all was flushed before.
        """
        base, length = take_span(base, length)
        for name in ("read", "write"):
            if not callable(getattr(device, name, None)):
                raise TypeError(f"device {device!r:.80} has no {name}()")

        most = getattr(device, "length", None)
        if type(most) is int and length > most:
            raise ValueError(
                f"length {length:#x} is more than the {most:#x} bytes of {device!r:.80}"
            )

        self._engine.deadlines.give_timer(f"device {device!r:.80}", device)
        if self._machine.caches is not None:  # what is cached there, the device would hide
            self._engine.files.check_in_use()
            flushed = decide_flush_all(self._machine, self._engine.now())
            self._engine.perform(self._machine, flushed)

        return self._machine.memory.map_mmio(base, length, device)


def find_machine(engine: Engine, name: str | None) -> Machine:
    """A machine that a caller names; the default one for None.

    Raises:
        TypeError: the name is no text.
        NoSuchDevice: ENOENT; there is no such machine.
    """
    return engine.machine("" if name is None else take_text("machine", name))
