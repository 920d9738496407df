"""The PAT architecture against a plain dictionary."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from memhub import abi, errors
from memhub.abi import RangeDesc
from memhub.core.drivers.driver import Cpu, RangeState
from memhub_amd64 import AMD64

PAGE = 4096
UC, WC, WB = abi.MDF_UNCACHEABLE, abi.MDF_WRITECOMBINE, abi.MDF_WRITEBACK

PAGES = 8
TOP = (1 << 36) - PAGES * PAGE
OPS = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from([0, TOP]),
        st.integers(0, PAGES),
        st.integers(0, PAGES + 1),
        st.sampled_from([UC, WC, WB, WB]),
        st.lists(st.integers(0, 3), max_size=1),
    ),
    max_size=25,
)
Held = dict[int, tuple[int, int, int]]


def _model_update(held: Held, base: int, length: int, kind: int, busy: list[int]) -> str:
    """What an update answers; changes `held` if it succeeds."""
    if not length or base + length > 1 << 36:
        return "EINVAL"

    same = next((slot for slot, row in held.items() if row[:2] == (base, length)), None)
    if same in busy:
        return "EBUSY"

    pages = set(range(base, base + length, PAGE))
    for slot, (start, size, other) in held.items():
        if slot != same and other != kind and pages & set(range(start, start + size, PAGE)):
            return "EINVAL"

    free = next((slot for slot in range(4) if slot not in held), None)
    if same is None and free is None:
        return "ENOSPC"

    held[free if same is None else same] = (base, length, kind)  # type: ignore[index]

    return "ok"


def _model_remove(held: Held, base: int, length: int, busy: list[int]) -> str:
    same = next((slot for slot, row in held.items() if row[:2] == (base, length)), None)
    if same is None:
        return "ENOENT"

    if same in busy:
        return "EBUSY"

    del held[same]

    return "ok"


def _busy(state: RangeState, slot: int) -> RangeState:
    held = state.slots[slot]
    marked = RangeDesc(held.mr_base, held.mr_len, held.mr_flags | abi.MDF_BUSY, held.mr_owner)

    return state.with_slots((*state.slots[:slot], marked, *state.slots[slot + 1 :]))


@given(OPS)
def test_any_sequence_of_operations_answers_as_the_rules_say(ops: list[Any]) -> None:
    """Answers, slots and types, after every step; BUSY is never stored."""
    assert AMD64.driver is not None
    driver = AMD64.driver(Cpu(phys_bits=36), {"slots": 4})
    state = driver.attach({0xFE: 0, 0x2FF: 0x806})
    held: Held = {}
    for removing, where, first, count, kind, busy in ops:
        base, length = where + first * PAGE, count * PAGE
        if removing:
            expected = _model_remove(held, base, length, busy)
        else:
            expected = _model_update(held, base, length, kind, busy)

        seen = _busy(state, busy[0]) if busy and busy[0] in held else state
        operation = driver.remove if removing else driver.update
        try:
            change = operation(seen, RangeDesc(base, length, kind))
        except errors.DeviceError as error:
            answer = error.code.name
        else:
            answer, state = "ok", state.apply(change)

        assert answer == expected
        assert {
            slot: (desc.mr_base, desc.mr_len, desc.mr_flags ^ abi.MDF_ACTIVE)
            for slot, desc in enumerate(state.slots)
            if desc.mr_flags
        } == held

    types = driver.types(state)
    words = {UC: "UC", WC: "WC", WB: "WB"}
    for page in (*range(0, PAGES * PAGE, PAGE), *range(TOP, 1 << 36, PAGE)):
        covering = {kind for base, size, kind in held.values() if base <= page < base + size}
        assert {types.at(page)} == ({words[kind] for kind in covering} or {"WB"})
