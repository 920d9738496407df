"""Memory that is not coherent is what a model of plain bytes says, whatever is evicted when."""

from __future__ import annotations

from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from pickle import dumps, loads
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caches.cache_rig import ARCHES, LIMITS, PAGES, PC, Rig, pc
from memhub import Hub
from memhub.core.caches.transfer import CachedTransfer
from memhub.core.decision import Decision, take_back
from memhub.core.machine import Machine
from memhub.core.memory.transfer import Transfer

BUSES = ("snooping", "blind")
CHANCE = st.randoms(use_true_random=False)
SHAPES = st.builds(
    lambda lines, size, buffers, seed: replace(
        LIMITS, lines=lines, line_size=size, buffers=buffers, seed=seed
    ),
    st.integers(1, 9),
    st.sampled_from([8, 16, 64]),
    st.integers(1, 5),
    st.integers(0, 9),
)


@pytest.mark.parametrize("bus", BUSES)
@given(chance=CHANCE, limits=SHAPES, steps=st.integers(1, 60))
def test_random_steps_do_what_the_model_allows(
    bus: Any, chance: Random, limits: Any, steps: int
) -> None:
    rig = Rig(pc(bus=bus, caches=limits))
    for _ in range(steps):
        rig.step(chance)

    rig.model.check_all()


@pytest.mark.campaign
@pytest.mark.parametrize("first_seed", [0, 50])
@pytest.mark.parametrize("bus", BUSES)
def test_a_million_steps_do_what_the_model_allows(bus: Any, first_seed: int) -> None:
    """A quarter of a million in each of the four: 50 machines, 5000 steps each."""
    for seed in range(first_seed, first_seed + 50):
        chance = Random(seed)
        rig = Rig(pc(bus=bus, caches=replace(LIMITS, lines=2 + seed % 9, seed=seed)))
        for _ in range(5000):
            rig.step(chance)

        rig.model.check_all()


@pytest.mark.parametrize("bus", BUSES)
@settings(max_examples=25)
@given(seed=st.integers(0, 1000))
async def test_the_async_face_does_the_same_on_both_event_loops(bus: Any, seed: int) -> None:
    """The engine's answers, beside those of handles that are asked the same."""
    chance, rig = Random(seed), Rig(pc(bus=bus))
    async with Hub([pc(bus=bus)]) as hub:
        first, second = await hub.open("/dev/mem", "r+"), await hub.open("/dev/mem", "r+")
        handles, device = {1: first, 2: second}, hub.bus("pc")
        for _ in range(12):
            base = chance.choice(PAGES) * 4096 + chance.randrange(-48, 48)
            process, data = chance.choice((1, 2)), chance.randbytes(chance.choice((3, 16, 40)))
            handle = handles[process]
            rig.store(process, base, data)
            assert await handle.pwrite(data, base) == len(data)
            if chance.random() < 0.3:
                rig.fence(process)
                await handle.fence()

            if chance.random() < 0.3:
                rig.flush(process, base, 20, keep=True)
                await handle.writeback(base, 20)

            rig.bus_read(base, 8)
            assert device.read(base, 8) == rig.machine.memory.read(base, 8)
            rig.bus_write(base + 4, data)
            assert device.write(base + 4, data) == len(data)

        assert hub.machines["pc"].caches == rig.machine.caches
        await first.aclose()
        await second.aclose()


@given(seed=st.integers(0, 1 << 32))
def test_the_same_seed_gives_the_same_order(seed: int) -> None:
    limits = replace(LIMITS, seed=seed, logged=True)
    orders = []
    for _ in range(2):
        rig, rows = Rig(pc(caches=limits)), list[Any]()
        rig.engine.listen(rows.append)
        chance = Random(1)
        for _ in range(40):
            rig.step(chance)

        orders.append([it["line_bases"] for it in rows if it["event"] == "bus.lines"])

    assert orders[0] == orders[1]
    assert orders[0]


def test_another_seed_gives_another_order() -> None:
    orders = set()
    for seed in range(8):
        rig, rows = Rig(pc(caches=replace(LIMITS, seed=seed, logged=True))), list[Any]()
        rig.engine.listen(rows.append)
        chance = Random(1)
        for _ in range(200):
            rig.step(chance)

        orders.add(str([it["line_bases"] for it in rows if it["event"] == "bus.lines"]))

    assert len(orders) > 4


@pytest.mark.parametrize("bus", BUSES)
@given(chance=CHANCE, steps=st.integers(1, 40))
def test_what_is_taken_back_was_never_there(bus: Any, chance: Random, steps: int) -> None:
    """As where the log fails: both views are as before, and so is the generator."""
    rig = Rig(pc(bus=bus))
    rig.engine.listen(lambda _: None)
    for _ in range(steps):
        rig.step(chance)

    caches, memory = deepcopy(rig.machine.caches), dumps(rig.machine.memory)
    made: list[Decision] = []
    rig.engine._make_true = lambda machine, decision: made.append(decision)  # type: ignore[method-assign]
    deciders = dict(rig.engine.deciders)

    def hold(kind: type) -> Any:
        def decide(*given: Any) -> Decision:
            decision = deciders[kind](*given)
            made.append(decision)

            return Decision(decision.reply, decision.error, (), changes=False)

        return decide

    rig.engine.deciders = {kind: hold(kind) for kind in deciders}
    with suppress(AssertionError):  # the model sees that nothing has happened
        rig.step(chance)

    for decision in made[:1]:
        for event in decision.events:
            rig.machine.apply(event)

        take_back(rig.machine, decision)

    assert rig.machine.caches == caches
    assert dumps(rig.machine.memory) == memory


@given(chance=CHANCE)
def test_a_machine_is_a_value_with_its_caches(chance: Random) -> None:
    rig = Rig(pc())
    for _ in range(30):
        rig.step(chance)

    for twin in (deepcopy(rig.machine), loads(dumps(rig.machine))):
        assert twin == rig.machine
        assert twin.caches is not rig.machine.caches
        assert isinstance(twin.transfer, CachedTransfer)
        assert twin.transfer.caches is twin.caches
        assert twin.caches.memory is twin.memory
        assert twin.caches.table is twin.table

    rig.flush_all()
    rig.store(1, PAGES[0] * 4096, b"x")
    assert twin != rig.machine


def test_a_coherent_machine_has_no_caches() -> None:
    machine = Machine.make(replace(PC, coherent=True), ARCHES["amd64"])
    assert machine.caches is None
    assert type(machine.transfer) is Transfer
