"""The registers of a 16550 UART, without what is around it: bytes in, bytes out, interrupts.

Time is not in here: `uart_pace` says when a character leaves or comes. Parity and framing errors
are not modelled; the number of bits is.

Source: National Semiconductor, "PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs",
June 1995, section 8 (registers) and table II (reset); the numbers in comments are its sections.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR = range(8)
THR, FCR = RBR, IIR  # written where the others are read
DLL, DLM = RBR, IER  # with LCR_DLAB

IER_RECEIVED, IER_THR_EMPTY, IER_LINE, IER_MODEM = 0x01, 0x02, 0x04, 0x08
IIR_NONE, IIR_MODEM, IIR_THR_EMPTY, IIR_RECEIVED, IIR_LINE, IIR_TIMEOUT = 1, 0, 2, 4, 6, 0x0C
IIR_FIFOS: Final = 0xC0
FCR_ENABLE, FCR_CLEAR_RECEIVER, FCR_CLEAR_TRANSMITTER = 0x01, 0x02, 0x04
LCR_STOP, LCR_PARITY, LCR_BREAK, LCR_DLAB = 0x04, 0x08, 0x40, 0x80
MCR_DTR, MCR_RTS, MCR_OUT1, MCR_OUT2, MCR_LOOP = 0x01, 0x02, 0x04, 0x08, 0x10
LSR_DATA, LSR_OVERRUN, LSR_PARITY, LSR_FRAMING, LSR_BREAK = 0x01, 0x02, 0x04, 0x08, 0x10
LSR_THR_EMPTY, LSR_IDLE, LSR_FIFO_ERROR = 0x20, 0x40, 0x80
MSR_CTS, MSR_DSR, MSR_RI, MSR_DCD = 0x10, 0x20, 0x40, 0x80
MSR_RI_ENDED: Final = 0x04

_ERRORS: Final = LSR_PARITY | LSR_FRAMING | LSR_BREAK
_TRIGGERS: Final = (1, 4, 8, 14)
_FEWEST_BITS: Final = 5
#: Characters that a FIFO holds.
DEPTH: Final = 16


class Registers:
    """The chip.

    Args:
        transmit: takes a character that leaves the chip, and says whether there was room for it.

    Attributes:
        lines: the inputs of the modem, as bits of MSR.
        received: characters that have come, oldest first, each with its errors as bits of LSR.
        sending: characters that are to leave, oldest first.
        shifting: the character that leaves, bit by bit, or None.
        timed_out: whether characters below the trigger level have waited long enough (8.4).
    """

    def __init__(self, transmit: Callable[[int], bool]) -> None:
        self._transmit = transmit
        self.lines = 0
        self.reset()

    def reset(self) -> None:
        """Do as the pin MR does (table II); scratch and divisor keep no promise, and are 0."""
        self.received: deque[tuple[int, int]] = deque()
        self.sending: deque[int] = deque()
        self.shifting: int | None = None
        self.timed_out = True
        self.ier = self.fcr = self.lcr = self.mcr = self.scr = 0
        self.divisor = 0
        self.latched = 0  # OE, and the errors of the oldest character, until LSR is read
        self.deltas = 0
        self.thr_pending = False
        self._seen = self.modem_inputs

    # What the pins say

    @property
    def depth(self) -> int:
        """Characters that each direction holds."""
        return DEPTH if self.fcr & FCR_ENABLE else 1

    @property
    def trigger(self) -> int:
        """Characters at which the receiver interrupts (8.5)."""
        return _TRIGGERS[self.fcr >> 6] if self.fcr & FCR_ENABLE else 1

    @property
    def loops(self) -> bool:
        """Whether the transmitter is connected with the receiver."""
        return bool(self.mcr & MCR_LOOP)

    @property
    def modem_inputs(self) -> int:
        """The high half of MSR; in loopback the modem outputs (8.6, bit 4)."""
        if not self.loops:
            return self.lines

        pairs = (
            (MCR_RTS, MSR_CTS),
            (MCR_DTR, MSR_DSR),
            (MCR_OUT1, MSR_RI),
            (MCR_OUT2, MSR_DCD),
        )

        return sum(there for here, there in pairs if self.mcr & here)

    @property
    def room(self) -> int:
        """Characters that can come without an overrun."""
        return self.depth - len(self.received)

    def identify(self) -> int:
        """The highest interrupt that is pending, as IIR says it (8.4, table IV)."""
        count, ier = len(self.received), self.ier
        if ier & IER_LINE and self.latched & (LSR_OVERRUN | _ERRORS):
            return IIR_LINE

        if ier & IER_RECEIVED and count >= self.trigger:
            return IIR_RECEIVED

        if ier & IER_RECEIVED and count and self.timed_out:
            return IIR_TIMEOUT

        if ier & IER_THR_EMPTY and self.thr_pending:
            return IIR_THR_EMPTY

        return IIR_MODEM if ier & IER_MODEM and self.deltas else IIR_NONE

    # Accesses

    def read(self, register: int) -> int:
        """Read one register, with what a read does."""
        divisor = bool(self.lcr & LCR_DLAB)
        if register == RBR:
            return self.divisor & 0xFF if divisor else self._take_received()

        if register == IER:
            return self.divisor >> 8 if divisor else self.ier

        if register == IIR:
            return self._read_iir()

        if register == LSR:
            return self._read_lsr()

        if register == MSR:
            value = self.modem_inputs | self.deltas
            self.deltas = 0
            return value

        return {LCR: self.lcr, MCR: self.mcr, SCR: self.scr}[register]

    def write(self, register: int, value: int) -> None:
        """Write one register; LSR and MSR take nothing."""
        if register in (DLL, DLM) and self.lcr & LCR_DLAB:
            shift = 8 * register
            self.divisor = self.divisor & ~(0xFF << shift) | value << shift
        elif register == THR:
            self._put_sending(value)
        elif register == IER:
            begins = value & ~self.ier & IER_THR_EMPTY
            self.ier = value & 0x0F
            self.thr_pending = self.thr_pending or bool(begins and not self.sending)
        elif register == FCR:
            self._write_fcr(value)
        elif register == LCR:
            self.lcr = value
        elif register == MCR:
            self.mcr = value & 0x1F
            self.note_modem()
        elif register == SCR:
            self.scr = value

    def _read_iir(self) -> int:
        found = self.identify()
        if found == IIR_THR_EMPTY:
            self.thr_pending = False

        return found | (IIR_FIFOS if self.fcr & FCR_ENABLE else 0)

    def _read_lsr(self) -> int:
        value = self.latched | (LSR_DATA if self.received else 0)
        if not self.sending:
            value |= LSR_THR_EMPTY | (LSR_IDLE if self.shifting is None else 0)

        if self.fcr & FCR_ENABLE and any(errors for _, errors in self.received):
            value |= LSR_FIFO_ERROR

        self.latched = 0
        if self.received:  # its errors were told
            self.received[0] = (self.received[0][0], 0)

        return value

    def _take_received(self) -> int:
        if not self.received:
            return 0

        value, _ = self.received.popleft()
        self._tell_oldest()

        return value

    def _put_sending(self, value: int) -> None:
        if len(self.sending) < self.depth:
            self.sending.append(self._cut(value))
        elif not self.fcr & FCR_ENABLE:  # THR is one register, and has the newest
            self.sending[-1] = self._cut(value)

        self.thr_pending = False

    def _write_fcr(self, value: int) -> None:
        changed = bool((value ^ self.fcr) & FCR_ENABLE)
        if changed or (value & FCR_ENABLE and value & FCR_CLEAR_RECEIVER):
            self.received.clear()
            self.latched &= ~_ERRORS

        if changed or (value & FCR_ENABLE and value & FCR_CLEAR_TRANSMITTER):
            emptied = bool(self.sending) or changed
            self.sending.clear()
            self.thr_pending = self.thr_pending or emptied

        if value & FCR_ENABLE:
            self.fcr = value & 0xC9
        else:
            self.fcr = 0  # the other bits are not programmed without bit 0 (8.5)

    def _cut(self, value: int) -> int:
        """A character with the data bits that LCR says."""
        return value & ((0x20 << (self.lcr & 3)) - 1)

    # What happens on the wires

    @property
    def frame_bits(self) -> float:
        """Bits of a character on the wire: start, data, parity and stop, as LCR says (8.1)."""
        data = 5 + (self.lcr & 3)
        stop = (1.5 if data == _FEWEST_BITS else 2) if self.lcr & LCR_STOP else 1

        return 1 + data + bool(self.lcr & LCR_PARITY) + stop

    def send_on(self) -> None:
        """Let characters leave at once, while there is room for them."""
        left = False
        while self.sending and self._leave(self.sending[0]):
            self.sending.popleft()
            left = True

        if left and not self.sending:
            self.thr_pending = True

    def begin_shift(self) -> None:
        """Let the oldest character begin to leave."""
        self.shifting = self.sending.popleft()
        if not self.sending:
            self.thr_pending = True

    def end_shift(self) -> bool:
        """Let the character that leaves be gone; False where there is no room for it."""
        assert self.shifting is not None
        if not self._leave(self.shifting):
            return False

        self.shifting = None

        return True

    def _leave(self, value: int) -> bool:
        if self.loops:
            self.arrive(value)
            return True

        return bool(self.lcr & LCR_BREAK) or self._transmit(value)

    def arrive(self, value: int, errors: int = 0) -> None:
        """Receive a character: an overrun where there is no room (8.3, bit 1)."""
        entry = (self._cut(value), errors)
        if self.room > 0:
            self.received.append(entry)
        else:
            self.latched |= LSR_OVERRUN
            if not self.fcr & FCR_ENABLE:
                self.received[0] = entry

        self._tell_oldest()

    def _tell_oldest(self) -> None:
        """Let LSR have the errors of the character that is read next."""
        if self.received:
            self.latched |= self.received[0][1]

    def note_modem(self) -> None:
        """Note in MSR which inputs have changed (8.7)."""
        now, before = self.modem_inputs, self._seen
        self._seen = now
        changed = now ^ before
        for bit in (MSR_CTS, MSR_DSR, MSR_DCD):
            if changed & bit:
                self.deltas |= bit >> 4

        if before & MSR_RI and not now & MSR_RI:
            self.deltas |= MSR_RI_ENDED

    # Snapshots

    _KEPT: Final = ("ier", "fcr", "lcr", "mcr", "scr", "divisor", "latched", "deltas", "lines")

    def save(self) -> dict[str, object]:
        """All that it keeps, as plain data."""
        return {
            **{name: getattr(self, name) for name in self._KEPT},
            "thr_pending": self.thr_pending,
            "seen": self._seen,
            "received": [list(it) for it in self.received],
            "sending": list(self.sending),
            "shifting": self.shifting,
        }

    def load(self, kept: dict[str, object]) -> None:
        """Keep what an earlier `save` said."""
        for name in self._KEPT:
            setattr(self, name, kept[name])

        self.thr_pending, self._seen = bool(kept["thr_pending"]), int(str(kept["seen"]))
        self.received = deque((int(value), int(errors)) for value, errors in kept["received"])  # type: ignore[attr-defined]
        self.sending = deque(kept["sending"])  # type: ignore[call-overload]
        self.shifting = kept.get("shifting")  # type: ignore[assignment]
