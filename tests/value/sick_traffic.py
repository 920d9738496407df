"""Random requests to a machine whose hardware gets sick and well, is suspended and resumed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from memhub import Sickness
from memhub.core.files import Principal
from memhub.errors import DeviceError
from value.traffic import Traffic

if TYPE_CHECKING:
    from random import Random

    from memhub.audit import AuditLog

_BASES, _MASKS = (0, 6, 0x40000001, 0xF0000000), (0, 0x800, 0xFF0000800, 0xFC0000800)
_FIXED = (0, 0x0606060606060606, 0x0101010101010101)
#: Registers whose loss or change shows, on the architectures that have them, and their values.
REGISTERS = {
    **dict.fromkeys((0x200, 0x202, 0x204), _BASES),
    **dict.fromkeys((0x201, 0x203, 0x205), _MASKS),
    **dict.fromkeys((0x250, 0x26F), _FIXED),
    0x2FF: (0, 0x806, 0xC06, 0x800),
    0xC0000085: (0, 0x806, 0x40000001),
}


class SickTraffic(Traffic):
    """One machine, those who use it, and what becomes of its hardware."""

    def __init__(
        self, arch: str, seed: int, *, latency: float = 0.0, log: AuditLog | None = None
    ) -> None:
        super().__init__(arch, seed, latency=latency, log=log)
        self.hub.hardware.begin()

    def step(self) -> None:
        """One random request, or a change of the hardware."""
        if self.rng.random() >= 0.3:
            super().step()
            return

        act = self.rng.choice([self._sicken] * 6 + [self._cure] * 3 + [self._power] * 4)
        with suppress(DeviceError):
            act()

    def _by(self) -> Principal | None:
        return self.rng.choice([None, Principal(7, "operator", 70, 0)])

    def _sicken(self) -> None:
        slots = max(1, len(self._rows()))
        self.hub.hardware.add(random_sickness(self.rng, slots), by=self._by())

    def _cure(self) -> None:
        names = [it.sickness.name for it in self.hub.hardware]
        if names:
            self.hub.hardware.remove(self.rng.choice(names), by=self._by())

    def _power(self) -> None:
        hardware = self.hub.hardware
        if self.machine.refusing and self.rng.random() < 0.7:
            hardware.resume(by=self._by())
            return

        self.rng.choice([hardware.suspend, hardware.reinit, hardware.check_cpus])(by=self._by())


def random_sickness(rng: Random, slots: int) -> Sickness:
    """A sickness of a machine with so many slots; it may not fit it."""
    numbers = rng.sample([*REGISTERS], rng.choice([1, 1, 3]))
    registers = {number: rng.choice(REGISTERS[number]) for number in numbers}
    said: dict[str, Any] = rng.choice(
        [
            {"action": "cpu_out_of_step", "cpu": rng.choice([1, 2, 3]), "registers": registers},
            {"action": "cpu_out_of_step", "cpu": rng.choice([1, 9]), "misses_stores": True},
            {"action": "lost_store", "slot": rng.randrange(slots)},
            {
                "action": "lost_store",
                "register": rng.choice([*REGISTERS]),
                "cpu": rng.choice([0, 2]),
            },
            {
                "action": "mask_holes",
                "slot": rng.randrange(slots),
                "holes": 1 << rng.randrange(11, 36),
            },
            {"action": "firmware_rewrite", "registers": registers},
            {
                "action": "firmware_rewrite",
                "registers": registers,
                "moment": rng.choice(["set", "resume"]),
            },
            {"action": "forgetful_resume", "cpu": rng.choice([None, 0, 1])},
            {"action": "forgetful_resume", "reinit": True},
            {"action": "stuck_slot", "slot": rng.randrange(slots)},
        ]
    )
    comes_again = said["action"] in ("lost_store", "forgetful_resume") or "moment" in said
    if comes_again and rng.random() < 0.5:
        said["times"] = rng.choice([1, 2])

    return Sickness(**said)
