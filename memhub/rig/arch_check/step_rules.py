"""What has to hold of one answer: a granted UPDATE or REMOVE, or a refusal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from memhub.abi import (
    MDF_ACTIVE,
    MDF_ATTRMASK,
    MDF_BOGUS,
    MDF_BUSY,
    MDF_FIRMWARE,
    MDF_SETTABLE,
    Errno,
    flag_words,
)
from memhub.core.drivers.range_refusals import span, type_words
from memhub.errors import DeviceError, DriverFailed, RangeBusy
from memhub.rig.arch_check.asking import (
    FIXED,
    Request,
    call_limit,
    find_extent,
    is_held,
    is_plain,
    is_same_range,
    rows_of,
    time_call,
)
from memhub.rig.arch_check.finding import Fault
from memhub.rig.arch_check.ground import Ground, fault_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.abi import RangeDesc
    from memhub.core.asking.asked_driver import AskedDriver, Plan
    from memhub.core.drivers.driver import RangeState

    Rows = tuple[tuple[int, int, int, bytes], ...]

_UPDATE_ERRNOS: Final = frozenset(
    {"EINVAL", "EOPNOTSUPP", "ENOSPC", "EEXIST", "EBUSY", "EACCES", "EPERM", "ENXIO"}
)
#: Flags that firmware or the hardware gives a slot.
_NOT_ASKED: Final = FIXED | MDF_FIRMWARE | MDF_BOGUS
_REMOVE_ERRNOS: Final = frozenset({"ENOENT", "EPERM", "EBUSY", "EINVAL", "EOPNOTSUPP", "EACCES"})


@dataclass(frozen=True, slots=True)
class Step:
    """One request, and the state that it met.

    Attributes:
        ground: the machine.
        driver: its driver.
        before: the state.
        request: the request.
        unsettled: the first change of a driver that re-reads its registers.
    """

    ground: Ground
    driver: AskedDriver
    before: RangeState
    request: Request
    unsettled: bool = False

    def say(self, rule: str, words: str, method: str = "") -> Fault:
        """A fault of this request."""
        return Fault(rule, method or self.request.op, f"{self.request}: {words}")


def check_inputs(step: Step, before: tuple[Rows, dict[int, int]]) -> list[Fault]:
    """Whether a driver has changed the state that it was given."""
    slots, msrs = before
    if rows_of(step.before.slots) != slots:
        return [step.say("changes-its-input", "changed a descriptor of the state it was given")]

    if dict(step.before.msrs) != msrs:
        return [step.say("changes-its-input", "changed the registers of the state it was given")]

    return []


def check_granted(step: Step, plan: Plan) -> Iterator[Fault]:
    """The rules of a granted request."""
    wrote = plan.change.wrote
    if not wrote and step.request.desc.mr_len:
        yield step.say("grants-nothing", "was granted, but writes no slot")
    elif step.request.op == "update":
        yield from _check_update(step, plan)
    else:
        yield from _check_removal(step, plan)

    try:
        _, slow = time_call(
            call_limit(step.before) * (1 + len(plan.change.slots)),
            lambda: plan.reach(step.driver),
        )
        plan.bounds(step.driver)
        if slow:
            step.ground.hurry()
            yield step.say("slow", f"took {slow * 1000:.0f} ms, three times", "extent")
    except DriverFailed as error:
        fault = fault_of(error)
        if fault.rule == "hangs":
            step.ground.hung |= {"update", "remove"}

        yield fault

    if not step.unsettled:
        changed = [
            it
            for it, (old, new) in enumerate(zip(step.before.slots, plan.after.slots, strict=True))
            if old != new and it not in wrote
        ]
        if changed:
            slot = changed[0]
            yield step.say(
                "changes-other-slots",
                f"changed slot {slot} from {step.before.slots[slot]} to {plan.after.slots[slot]}, "
                f"but says that it wrote {_slot_words(wrote)}",
            )


def _check_update(step: Step, plan: Plan) -> Iterator[Fault]:
    desc, slots = step.request.desc, plan.after.slots
    odd = step.request.attribute & MDF_SETTABLE & ~step.ground.arch.attributes
    if odd:
        words = " ".join(flag_words(odd))
        yield step.say(
            "undeclared-attribute", f"{words} was granted; `Arch.attributes` does not have it"
        )

    yield from _check_bounds(step, plan)
    if not is_plain(step.ground, step.request):
        return

    for slot in plan.change.wrote:
        row = slots[slot]
        if row.mr_base >= desc.mr_end or desc.mr_base >= row.mr_end:
            yield step.say(
                "claims-too-much" if step.before.slots[slot] == row else "stores-other-range",
                f"names slot {slot} as written, which holds {span(row)}",
            )
        else:
            yield from _check_stored(step, plan, slot, row)

    yield from _check_cover(step, plan)
    yield from _check_loss(step, plan)


def _check_bounds(step: Step, plan: Plan) -> Iterator[Fault]:
    """No range without bytes, and none where the CPU has no addresses."""
    desc = step.request.desc
    wrote = [plan.after.slots[it] for it in plan.change.wrote]
    if not desc.mr_len:
        # a request that is for fixed slots alone may be for none of them
        if wrote or not any(it.mr_flags & FIXED for it in step.before.slots):
            held = ", ".join(map(str, wrote)) or "nothing"
            yield step.say(
                "grants-empty", f"a range of no bytes was granted: what holds it is {held}"
            )
    elif desc.mr_end > 1 << 64:
        yield step.say("grants-wrapping", f"was granted, but ends at {desc.mr_end:#x}, above 2^64")
    elif desc.mr_end > step.ground.end:
        bits = step.ground.cpu.phys_bits
        yield step.say(
            "grants-beyond",
            f"was granted, but ends at {desc.mr_end:#x}; the {bits} address bits of the CPU end at "
            f"{step.ground.end:#x}",
        )


def _check_stored(step: Step, plan: Plan, slot: int, row: RangeDesc) -> Iterator[Fault]:
    desc = step.request.desc
    if (row.mr_flags ^ desc.mr_flags) & MDF_ATTRMASK:
        yield step.say(
            "stores-other-attribute",
            f"was granted, but slot {slot} is {type_words(row.mr_flags)}",
        )

    odd = row.mr_flags & _NOT_ASKED & ~(desc.mr_flags | step.before.slots[slot].mr_flags)
    if odd:
        words = " ".join(flag_words(odd))
        yield step.say(
            "sets-odd-flags", f"was granted, but slot {slot} is {words}, as asked by none"
        )

    lo, hi = find_extent(step.driver, plan.after, slot)
    beyond = lo < hi and (lo < row.mr_base or hi > row.mr_end)
    if beyond and step.ground.clean and not row.mr_flags & FIXED:
        words = f"`extent` says {lo:#x} to {hi:#x} of slot {slot}, which holds {span(row)}"
        yield step.say("extent-too-wide", words, "extent")

    if row.owner != desc.owner:
        yield step.say(
            "stores-other-owner", f"was granted, but the owner of slot {slot} is {row.owner!r}"
        )


def _check_cover(step: Step, plan: Plan) -> Iterator[Fault]:
    """Slots that can move hold exactly what was asked for; fixed ones may reach beyond it."""
    desc = step.request.desc
    rows = sorted((plan.after.slots[it] for it in plan.change.wrote), key=lambda it: it.mr_base)
    end = desc.mr_base
    for row in rows:
        if row.mr_base <= end:
            end = max(end, row.mr_end)

    free = [it for it in rows if not it.mr_flags & FIXED]
    beyond = [it for it in free if it.mr_base < desc.mr_base or it.mr_end > desc.mr_end]
    if end < desc.mr_end or beyond:
        held = ", ".join(span(it) for it in rows)
        yield step.say("stores-other-range", f"was granted, but what was written holds {held}")


def _check_loss(step: Step, plan: Plan) -> Iterator[Fault]:
    desc = step.request.desc
    for slot in plan.change.wrote:
        old = step.before.slots[slot]
        if (
            old.mr_flags & FIXED
            or is_same_range(old, desc)
            or not is_held(step.driver, step.before, slot)
        ):
            continue

        yield step.say("overwrites-range", f"was written over slot {slot}, which held {old}")


def _check_removal(step: Step, plan: Plan) -> Iterator[Fault]:
    desc = step.request.desc
    for slot in plan.change.wrote:
        old, new = step.before.slots[slot], plan.after.slots[slot]
        if not is_same_range(old, desc):
            yield step.say("removes-other-range", f"removed slot {slot}, which held {old}")
        elif is_same_range(new, desc) and is_held(step.driver, plan.after, slot):
            yield step.say("removal-leaves-range", f"was granted, but slot {slot} holds {new}")
        elif new.mr_flags & MDF_ACTIVE:
            yield step.say("removal-leaves-range", f"was granted, but slot {slot} is active: {new}")


# Refusals


def check_refused(step: Step, refusal: DeviceError) -> Iterator[Fault]:
    """The rules of a refused request."""
    known = _UPDATE_ERRNOS if step.request.op == "update" else _REMOVE_ERRNOS
    if refusal.code.name not in known:
        yield step.say(
            "refusal-errno",
            f"was refused with {refusal.code.name}, which is none of {', '.join(sorted(known))}",
        )

    if not refusal.reason.strip():
        yield step.say("refusal-without-reason", f"{refusal.code.name} says nothing more")

    is_busy = isinstance(refusal, RangeBusy) or refusal.code is Errno.EBUSY
    if is_busy and not any(it.mr_flags & MDF_BUSY for it in step.before.slots):
        yield step.say("busy-without-claim", f"was refused with {refusal}, but no slot is BUSY")

    yield from _check_obstacles(step, refusal)
    if step.request.op == "update":
        yield from _check_full(step, refusal)
    else:
        yield from _check_refused_removal(step, refusal)


def _check_obstacles(step: Step, refusal: DeviceError) -> Iterator[Fault]:
    if refusal.code is Errno.ENOSPC and not refusal.obstacles:
        yield step.say("refusal-without-obstacles", f"{refusal}: no slot is named")

    for it in refusal.obstacles:
        if it.slot is None:
            continue

        row = step.before.slots[it.slot]
        for name, said, held in (
            ("base", it.base, row.mr_base),
            ("length", it.length, row.mr_len),
            ("owner", it.owner, row.owner),
            ("type", it.type, type_words(row.mr_flags)),
        ):
            if said is not None and said != held:
                yield step.say(
                    "obstacle-wrong", f"says that slot {it.slot} has {name} {said!r}, not {held!r}"
                )
                return

        desc = step.request.desc
        if it.kind == "overlap" and not (
            row.mr_base < desc.mr_end and desc.mr_base < row.mr_end and row.mr_len
        ):
            words = f"says that slot {it.slot} overlaps it, which holds {span(row)}"
            yield step.say("obstacle-wrong", words)
            return


def _check_full(step: Step, refusal: DeviceError) -> Iterator[Fault]:
    if refusal.code is not Errno.ENOSPC or not is_plain(step.ground, step.request):
        return

    for slot, row in enumerate(step.before.slots):
        if not row.mr_flags & (FIXED | MDF_BUSY) and not is_held(step.driver, step.before, slot):
            yield step.say("full-too-early", f"was refused with ENOSPC, but slot {slot} is free")
            return


def _check_refused_removal(step: Step, refusal: DeviceError) -> Iterator[Fault]:
    if not is_plain(step.ground, step.request):
        return

    desc, slots = step.request.desc, step.before.slots
    same = [slot for slot, row in enumerate(slots) if is_same_range(row, desc)]
    if not same and refusal.code is not Errno.ENOENT:
        yield step.say(
            "refusal-errno", f"no slot holds this range, but the errno is {refusal.code.name}"
        )

    held = [slot for slot in same if is_held(step.driver, step.before, slot)]
    if held and not any(slots[it].mr_flags & (FIXED | MDF_BUSY) for it in same):
        yield step.say(
            "refuses-removal", f"was refused with {refusal}, but slot {held[0]} holds it"
        )


def _slot_words(slots: tuple[int, ...]) -> str:
    return ", ".join(f"slot {it}" for it in slots) or "no slot"
