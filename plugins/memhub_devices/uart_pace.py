"""When characters of a UART leave and come: one after the other, each as long as its bits take.

Nothing runs in between: what is due is done when somebody looks, and at the moment of an alarm of
the hub's clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.plugin.devices import DeviceTimer, SerialLine
    from memhub_devices.uart_registers import Registers

_SECOND: Final = 1_000_000_000
#: Characters' time without a character until those below the trigger level time out (8.4).
_QUIET: Final = 4


class Pace:
    """The time of one UART.

    Args:
        chip: its registers.
        line: its wire.
        bit_rate: bits in a second; 0 where a character takes no time.
        on_due: called when something is due.
    """

    def __init__(
        self,
        chip: Registers,
        line: SerialLine,
        bit_rate: Callable[[], float],
        on_due: Callable[[], object],
    ) -> None:
        self._chip = chip
        self._line = line
        self._bit_rate = bit_rate
        self._on_due = on_due
        self._timer: DeviceTimer | None = None
        self._alarm: int | None = None
        self._gone: int | None = None  # when the character that leaves is gone
        self._come: int | None = None  # when the character that comes is there
        self._quiet = 0  # when characters below the trigger level time out
        self._held = False  # the wire has no room for the character that leaves

    def use(self, timer: DeviceTimer) -> None:
        """Go by the time of a hub from now on; what is under way takes as long as it had left."""
        if timer is self._timer:
            return

        left = self.save()
        self._timer = timer
        self.load(left)

    def note_read(self) -> None:
        """A character was read: those that are left time out later."""
        self._quiet = self._now() + _QUIET * self._character_ns()

    def go_on(self) -> None:
        """Do what is due by now, and see to the next."""
        now, takes = self._now(), self._character_ns()
        self._send(now, takes)
        self._receive(now, takes)
        self._chip.timed_out = now >= self._quiet
        self._set_alarm(now)

    def _now(self) -> int:
        return 0 if self._timer is None else self._timer.mono_ns()

    def _character_ns(self) -> int:
        rate = 0 if self._timer is None else self._bit_rate()

        return round(self._chip.frame_bits * _SECOND / rate) if rate else 0

    def _send(self, now: int, takes: int) -> None:
        chip = self._chip
        while True:
            begins = now
            if self._gone is not None:
                heard = len(chip.received)
                if now < self._gone or not chip.end_shift():
                    self._held = now >= self._gone
                    return

                if len(chip.received) > heard:  # in loopback
                    self._quiet = self._gone + _QUIET * takes

                begins = now if self._held else self._gone
                self._gone, self._held = None, False

            if not takes:
                chip.send_on()
                return

            if not chip.sending:
                return

            chip.begin_shift()
            self._gone = begins + takes

    def _receive(self, now: int, takes: int) -> None:
        chip, line = self._chip, self._line
        if chip.loops:  # the wire is cut off
            self._come = None
            return

        if not takes:
            self._come = None
            for value in line.take(chip.room) if chip.room > 0 else b"":
                chip.arrive(value)

            return

        while line.waiting:
            if self._come is None:
                self._come = now + takes

            if now < self._come or chip.room <= 0:
                return

            chip.arrive(line.take(1)[0])
            self._quiet = self._come + _QUIET * takes
            self._come += takes

        self._come = None

    def _set_alarm(self, now: int) -> None:
        chip = self._chip
        waits = self._gone is not None and not self._held
        quiet = self._quiet if chip.received and now < self._quiet else None
        come = self._come if chip.room > 0 else None
        due = [it for it in (self._gone if waits else None, come, quiet) if it is not None]
        if self._timer is None or not due or (self._alarm is not None and self._alarm <= min(due)):
            return

        self._alarm = min(due)
        self._timer.set_alarm(self._alarm, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._on_due()

    # Snapshots

    def save(self) -> dict[str, int]:
        """What is under way, in nanoseconds from now on."""
        now = self._now()
        due = {"gone": self._gone, "come": self._come, "quiet": self._quiet}

        return {key: max(0, at - now) for key, at in due.items() if at is not None and at > 0}

    def load(self, left: dict[str, int]) -> None:
        """Have this under way instead."""
        now = self._now()
        self._alarm, self._held = None, False
        self._gone = now + left.get("gone", 0) if self._chip.shifting is not None else None
        self._come = now + left["come"] if "come" in left else None
        self._quiet = now + left["quiet"] if left.get("quiet") else 0
        self._set_alarm(now)
