"""The state of another kernel than FreeBSD, and what changes it, as plain values for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.core.drivers.served_kernel import KernelState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.drivers.served_kernel import Registers


def kernel_state_item(state: KernelState) -> dict[str, Any]:
    """A state as plain values for JSON; registers are texts, since they may have 64 bits."""
    first = state.cpus[0]

    return {
        "cpus": len(state.cpus),
        "registers": registers_item(first),
        "differences": {
            str(cpu): registers_item(own)
            for cpu, own in enumerate(state.cpus)
            if own is not first and own != first
        },
        "own": dict(state.own),
        "files": {str(number): dict(it) for number, it in state.files.items()},
    }


def kernel_state_of(item: Mapping[str, Any]) -> KernelState:
    """The opposite of `kernel_state_item`.

    Raises:
        KeyError: a member is missing.
        TypeError, ValueError, AttributeError: one has another form.
    """
    first, others = _registers_of(item["registers"]), item["differences"]
    cpus = tuple(
        _registers_of(others[str(cpu)]) if str(cpu) in others else first
        for cpu in range(item["cpus"])
    )
    files = {int(number): dict(it) for number, it in item["files"].items()}

    return KernelState(cpus, dict(item["own"]), files)


def kernel_change_item(before: KernelState, after: KernelState) -> dict[str, Any]:
    """What a call changed, as plain values for JSON: a patch that `change_kernel` applies."""
    if before is after:
        return {}

    cpus = {
        str(cpu): registers_item(
            {it: new.get(it, 0) for it in {**old, **new} if old.get(it) != new.get(it, 0)}
        )
        for cpu, (old, new) in enumerate(zip(before.cpus, after.cpus, strict=True))
        if old is not new and old != new
    }
    own = {
        name: it
        for name, it in after.own.items()
        if name not in before.own or before.own[name] != it
    }
    gone = [name for name in before.own if name not in after.own]
    files = {
        str(number): None if number not in after.files else dict(after.files[number])
        for number in sorted({**before.files, **after.files})
        if before.files.get(number) != after.files.get(number)
    }
    found = {"cpus": cpus, "own": own, "gone": gone, "files": files}

    return {name: it for name, it in found.items() if it}


def change_kernel(before: KernelState, change: Mapping[str, Any]) -> KernelState:
    """The state after a change that `kernel_change_item` has written.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is no such change.
    """
    if not change:
        return before

    files = dict(before.files)
    for number, it in change.get("files", {}).items():
        if it is None:
            files.pop(int(number), None)
        else:
            files[int(number)] = dict(it)

    gone = change.get("gone", ())  # which earlier logs do not have
    own = {name: it for name, it in before.own.items() if name not in gone}

    return KernelState(
        _changed_cpus(before.cpus, change.get("cpus", {})),
        {**own, **change.get("own", {})},
        dict(sorted(files.items())),
    )


def _changed_cpus(
    before: tuple[Registers, ...], change: Mapping[str, Mapping[str, str]]
) -> tuple[Registers, ...]:
    made: list[tuple[Registers, Registers]] = []
    cpus = list(before)
    for cpu, patch in change.items():
        old, registers = before[int(cpu)], _registers_of(patch)
        new: Registers = {**old, **registers}
        new = next((it for was, it in made if was == old and it == new), new)
        made.append((old, new))
        cpus[int(cpu)] = new

    return tuple(cpus)


def registers_item(registers: Registers) -> dict[str, str]:
    """Registers as texts, by number."""
    return {f"{number:#x}": f"{registers[number]:#x}" for number in sorted(registers)}


def _registers_of(item: Mapping[str, str]) -> dict[int, int]:
    return {int(number, 16): int(value, 16) for number, value in item.items()}
