"""Slots with registers behind them: which they are, and whether a grant is written there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from memhub.errors import DeviceError, DriverFailed
from memhub.rig.arch_check.containing import call_guarded
from memhub.rig.arch_check.ground import Backing, Ground

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memhub.core.drivers.driver import RangeState
    from memhub.rig.arch_check.finding import Fault
    from memhub.rig.arch_check.step_rules import Step

#: Values that make a register say something: a valid bit, a base, a length, and all bits.
_VALUES: Final = (0x800, 0xFFFFFF800, 0x1001, 0x10001000, (1 << 40) - 1, (1 << 64) - 1)
#: Registers that are tried, at most.
_REGISTERS_MOST: Final = 128


class _Noted(dict[int, int]):
    """Registers that note which of them are read."""

    def __init__(self, msrs: Mapping[int, int]) -> None:
        super().__init__(msrs)
        self.read: dict[int, None] = {}

    def get(self, number: int, default: Any = None, /) -> Any:  # noqa: ANN401 - as in a dict
        self.read[number] = None

        return super().get(number, default)

    def __getitem__(self, number: int) -> int:
        self.read[number] = None

        return super().__getitem__(number)

    def __contains__(self, number: object) -> bool:
        if isinstance(number, int):
            self.read[number] = None

        return super().__contains__(number)


def find_backing(ground: Ground) -> Backing:
    """Find out which slots a driver reads from registers when it starts."""
    start = ground.start
    assert start is not None
    noted = _Noted(ground.msrs)
    _attach(ground, noted)
    slots: set[int] = set()
    registers: set[int] = set()
    for number in [*noted.read, *(it for it in ground.msrs if it not in noted.read)][
        :_REGISTERS_MOST
    ]:
        for value in _VALUES:
            other = _attach(ground, {**ground.msrs, number: value})
            if other is None or len(other.slots) != len(start.slots):
                continue

            changed = {
                slot
                for slot, (one, two) in enumerate(zip(start.slots, other.slots, strict=True))
                if (one.mr_base, one.mr_len) != (two.mr_base, two.mr_len)
            }
            if changed:
                slots |= changed
                registers.add(number)
                break

    return Backing(frozenset(slots), frozenset(registers))


def check_written(step: Step, backing: Backing, after: RangeState) -> Iterator[Fault]:
    """A slot that a driver reads from registers has to be there after a grant.

    Args:
        step: the request, which was granted and wrote no register.
        backing: the slots that registers decide.
        after: the state that follows.
    """
    changed = [
        slot
        for slot, (one, two) in enumerate(zip(step.before.slots, after.slots, strict=True))
        if one != two and slot in backing.slots
    ]
    if not changed:
        return

    again = _attach(step.ground, dict(after.msrs))
    if again is None or len(again.slots) != len(after.slots):
        return

    for slot in changed:
        held, read = after.slots[slot], again.slots[slot]
        if (held.mr_base, held.mr_len) != (read.mr_base, read.mr_len):
            known = ", ".join(f"{it:#x}" for it in sorted(backing.registers)[:4])
            yield step.say(
                "registers-not-written",
                f"was granted without a register, but slot {slot} is read from registers (such as "
                f"{known}) at the start: it holds {held}, and is read as {read}",
            )
            return


def _attach(ground: Ground, msrs: dict[int, int]) -> RangeState | None:
    """What a new driver makes of registers; None where it makes nothing of them."""
    if "attach" in ground.hung or ground.is_over:
        return None

    try:
        driver = ground.new_driver()
        attach = partial(driver.raw.attach, msrs)
        found: RangeState | None = call_guarded(ground.mark, driver, "attach", attach)
    except (DeviceError, DriverFailed):
        return None

    return found if hasattr(found, "slots") else None
