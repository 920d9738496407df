"""Transfers do what a byte-by-byte model says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.transfer_model import Model
from core.transfer_rig import (
    AMD64_MAPPINGS,
    DIRECT,
    I386_MAPPINGS,
    PAGE,
    TOP,
    WINDOWS,
    drive,
    machine,
    wp_map,
)
from memhub.core.memory.physical import NeedsDevice
from memhub.errors import DeviceError

BORDERS = sorted(
    {0, 0x2C00, 0x3000, 0x5000, 0x6000, 0x7800, 0x9000, 0x9200, 0xA000, 0xC010, 0xF000, TOP}
)
VIRTUAL = {
    False: [v + end * n * PAGE for v, _, n, _ in I386_MAPPINGS for end in (0, 1)] + [0xF0000000],
    True: [v + end * n * PAGE for v, _, n, _ in AMD64_MAPPINGS for end in (0, 1)]
    + [DIRECT + border for border in BORDERS[::3]],
}


def around(borders: list[int]) -> st.SearchStrategy[int]:
    jitter = st.sampled_from([0, 0, 1, -1, 8, -8, 0x10, 0x400, -0x400, 0x1234])
    return st.builds(int.__add__, st.sampled_from(borders), jitter).map(
        lambda at: min(max(at, 0), (1 << 64) - 1)
    )


LENGTHS = st.sampled_from([0, 1, 2, 7, 8, 9, 64, 0x400, 0x1000, 0x1001, 0x2801])
RUNS = st.lists(
    st.tuples(st.integers(0, 15), st.integers(1, 3)).map(
        lambda run: (run[0] * PAGE, (run[0] + run[1]) * PAGE)
    ),
    max_size=2,
)


def operations(amd64: bool) -> st.SearchStrategy[Any]:
    places = st.one_of(
        st.tuples(st.just("mem"), around(BORDERS)),
        st.tuples(st.just("kmem"), around(VIRTUAL[amd64])),
    )
    operation = st.tuples(
        st.booleans(), places, LENGTHS, st.sampled_from("ab"), st.integers(0, 255)
    )

    return st.tuples(st.just(amd64), st.lists(operation, min_size=1, max_size=8))


def outcome(call: Any) -> Any:
    try:
        return call()
    except DeviceError as error:
        return (error.code.name, error.moved)


@given(
    st.booleans().flatmap(operations),
    st.sampled_from(["fault", "drop", "allow"]),
    st.booleans(),
    RUNS,
)
def test_transfers_do_what_a_byte_by_byte_model_says(
    case: Any, wp: Any, windows: bool, runs: Any
) -> None:
    """The fast way, the way in steps and the model agree, on both architectures."""
    amd64, ops = case
    world = machine(amd64=amd64, wp=wp, windows=WINDOWS if windows else ())
    transfer, types = world.transfer, wp_map(*runs) if runs else None
    model = Model(amd64, wp, windows, runs)
    for write, (device, offset), length, process, seed in ops:
        data = bytes((seed + i * 7) % 256 for i in range(length)) if write else None
        expected, touched = model.move(device, offset, length, process, data)
        args: Any = (device, offset, length if data is None else data, process)
        call: Any = transfer.read
        steps: Any = transfer.reading
        if data is not None:
            call, steps, args = transfer.write, transfer.writing, (*args, types)

        if touched:
            with pytest.raises(NeedsDevice):
                call(*args)
        elif data is None or seed % 2:
            assert outcome(lambda: call(*args)) == expected  # noqa: B023 -- called at once

        if touched or data is None or not seed % 2:
            assert outcome(lambda: drive(steps(*args))) == expected  # noqa: B023 -- called at once

    assert [bytes(d.cells) for d in world.devices] == [bytes(d) for d in model.devices]
    for window in world.memory.windows:
        world.memory.unmap(window)

    assert world.memory.read(0, TOP) == bytes(model.cells)
    world.memory.close()
