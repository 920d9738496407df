"""A 16550 UART in the address space, with the other end of its wire for a rig.

A driver reaches it as memory: register N is the byte at N shifted left by `shift`. An access of
several bytes is split into accesses of one byte, lowest address first, as a bus does for a device
of 8 bits; a byte between two registers reads 0 and takes nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from memhub.plugin.devices import DeviceKind, OptionError, SerialLine, take_buffer
from memhub_devices.uart_pace import Pace
from memhub_devices.uart_registers import (
    IIR_NONE,
    LCR_BREAK,
    LSR_BREAK,
    MCR_DTR,
    MCR_RTS,
    MSR_CTS,
    MSR_DCD,
    MSR_DSR,
    MSR_RI,
    Registers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.plugin.devices import DeviceTimer

_REGISTERS: Final = 8
_SHIFT_MOST: Final = 3
_CLOCK_MOST: Final = 1 << 32
_INPUTS: Final = {"cts": MSR_CTS, "dsr": MSR_DSR, "ri": MSR_RI, "dcd": MSR_DCD}


class Uart:
    """One UART.

    Args:
        options: `shift`, as above; `clock`, the frequency of its crystal in Hz, of which a driver
            makes the baud rate; `baud`, a rate that holds whatever the driver sets, or 0; and
            `timed`, whether a character takes time.

    Attributes:
        line: the rig's end of the wire: an `anyio.abc.ByteStream`. What the driver transmits is
            received there; what is sent there the driver receives, as fast as it reads.
        on_interrupt: called when the interrupt pin becomes active.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._shift, self._clock = options["shift"], options["clock"]
        if not 0 <= self._shift <= _SHIFT_MOST:
            raise OptionError("shift", f"{self._shift} is not between 0 and {_SHIFT_MOST}")

        if not 1 <= self._clock <= _CLOCK_MOST:
            raise OptionError("clock", f"{self._clock} is not between 1 and {_CLOCK_MOST} Hz")

        if not 0 <= options["baud"] <= _CLOCK_MOST:
            raise OptionError("baud", f"{options['baud']} is not between 0 and {_CLOCK_MOST}")

        self.length = _REGISTERS << self._shift
        self.line = SerialLine()
        self.line.on_bytes = self.line.on_room = self.line.on_look = self._go_on
        self.on_interrupt: Callable[[], object] = _do_nothing
        self._chip = Registers(self._transmit)
        self._pace = Pace(self._chip, self.line, self._bit_rate, self._go_on)
        self._active = False

    def use_timer(self, timer: DeviceTimer) -> None:
        """Go by the time of a hub: without it, characters take none."""
        self._pace.use(timer)

    # The driver's side

    async def read(self, offset: int, size: int) -> bytes:
        """Read registers."""
        found = bytearray()
        self._go_on()
        for place in range(offset, offset + size):
            register, between = divmod(place, 1 << self._shift)
            found.append(0 if between else self._chip.read(register))
            if not register | between:
                self._pace.note_read()

        self._go_on()

        return bytes(found)

    async def write(self, offset: int, data: bytes) -> None:
        """Write registers."""
        for place, value in enumerate(data, offset):
            self._go_on()
            register, between = divmod(place, 1 << self._shift)
            if not between:
                self._chip.write(register, value)

        self._go_on()

    # The rig's side

    @property
    def interrupt(self) -> bool:
        """Whether the interrupt pin is active."""
        return self._chip.identify() != IIR_NONE

    @property
    def baud(self) -> int | None:
        """The baud rate that the driver has set; None where its divisor is 0."""
        return self._clock // (16 * self._chip.divisor) if self._chip.divisor else None

    @property
    def dtr(self) -> bool:
        """Whether the driver says that it is ready; in loopback the pin is inactive."""
        return bool(self._chip.mcr & MCR_DTR) and not self._chip.loops

    @property
    def rts(self) -> bool:
        """Whether the driver asks to send; in loopback the pin is inactive."""
        return bool(self._chip.mcr & MCR_RTS) and not self._chip.loops

    @property
    def sends_break(self) -> bool:
        """Whether the driver holds the line as a break; what it transmits meanwhile is lost."""
        return bool(self._chip.lcr & LCR_BREAK)

    def set_modem(
        self,
        *,
        cts: bool | None = None,
        dsr: bool | None = None,
        ri: bool | None = None,
        dcd: bool | None = None,
    ) -> None:
        """Set inputs of the modem; None leaves one as it is. At first all are inactive.

        Raises:
            TypeError: one is neither True, False nor None; none is set.
        """
        given = {"cts": cts, "dsr": dsr, "ri": ri, "dcd": dcd}
        for name, value in given.items():
            if value is not None and not isinstance(value, bool):
                raise TypeError(f"{name} {value!r:.80} is not True, False or None")

        for name, bit in _INPUTS.items():
            if (value := given[name]) is not None:
                self._chip.lines = self._chip.lines & ~bit | (bit if value else 0)

        self._chip.note_modem()
        self._tell_interrupt()

    def arrive(self, data: bytes | bytearray | memoryview) -> None:
        """Let characters have arrived: where there is no room they are lost (LSR's OE).

        Args:
            data: bytes, or any buffer, as its bytes.

        Raises:
            TypeError: it is no buffer.
        """
        for value in bytes(take_buffer("data", data)):
            if not self._chip.loops:
                self._chip.arrive(value)

        self._tell_interrupt()

    def break_line(self) -> None:
        """Send a break: one character 0, with LSR's BI."""
        if not self._chip.loops:
            self._chip.arrive(0, LSR_BREAK)

        self._tell_interrupt()

    # In between

    def _transmit(self, value: int) -> bool:
        if not self.line.closed and not self.line.room:
            return False

        self.line.put(bytes([value]))

        return True

    def _bit_rate(self) -> float:
        if not self._options["timed"]:
            return 0

        divisor = self._chip.divisor

        return self._options["baud"] or (self._clock / (16 * divisor) if divisor else 0)

    def _go_on(self) -> None:
        """Let characters leave and come as far as time has come, and tell of interrupts."""
        self._pace.go_on()
        self._tell_interrupt()

    def _tell_interrupt(self) -> None:
        before, self._active = self._active, self.interrupt
        if self._active and not before:
            self.on_interrupt()

    # Snapshots

    def save_state(self) -> bytes:
        """Registers, FIFOs, and what is on the wire."""
        to_rig, to_model = self.line.save()
        wire = {"to_rig": to_rig.hex(), "to_driver": to_model.hex()}

        return json.dumps({**self._chip.save(), **wire, "left": self._pace.save()}).encode()

    def load_state(self, data: bytes) -> None:
        """Go back to an earlier state."""
        kept = json.loads(data)
        self._chip.load(kept)
        self._pace.load(kept.get("left", {}))
        self.line.load(bytes.fromhex(kept["to_rig"]), bytes.fromhex(kept["to_driver"]))
        self._active = self.interrupt

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Uart):
            return NotImplemented

        return (self._options, self.save_state()) == (other._options, other.save_state())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[object, ...]:
        return _make_uart, (self._options, self.save_state())


def _do_nothing() -> None:
    """Nobody is told."""


def _make_uart(options: Mapping[str, Any], state: bytes) -> Uart:
    uart = Uart(options)
    uart.load_state(state)

    return uart


UART: Final = DeviceKind(
    name="uart-16550",
    summary="a 16550 UART whose wire is a stream",
    options={"shift": 0, "clock": 1843200, "baud": 0, "timed": True},
    make=Uart,
)
