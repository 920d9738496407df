"""Forks cost little, and many hubs in one process do not touch each other."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import pytest

from memhub import Hub, MachineSpec, Region
from memhub.core.files import Principal
from memhub.core.requests import ClaimRange, Open
from memhub.core.snapshots import fork_machine
from memhub.engine.lifecycle import open_file
from ownership.rig import ARCHES
from value.traffic import Traffic

BIG = MachineSpec(name="big", arch="amd64-mtrr", memory=(Region(base=0, length=1 << 30),))
PAGE = 4096


def touch(hub: Hub, pages: int, text: bytes) -> None:
    memory = hub.machines["big"].memory
    for number in range(pages):
        memory.write(number * 26 * PAGE, text)


def test_200_hubs_in_one_process_stay_independent() -> None:
    first = Hub([BIG], arches=ARCHES)
    first.begin()
    touch(first, 100, b"first")
    hubs = [first]
    for number in range(1, 200):
        hubs.append(hubs[number // 2].fork())
        hubs[number].begin()
        touch(hubs[number], 100 - number % 50, b"%5d" % number)
        handle = open_file(hubs[number].engine, Open(Principal(number, "p"), "/dev/mem", "r+"))
        hubs[number].engine.submit(ClaimRange(handle, number * PAGE, PAGE))

    for number, hub in enumerate(hubs[1:], 1):
        memory = hub.machines["big"].memory
        assert memory.read(0, 5) == b"%5d" % number
        assert memory.read((99 - number % 50) * 26 * PAGE, 5) == b"%5d" % number
        assert number * PAGE in {claim.base for claim in hub.claims()}
        others = {claim.base // PAGE for claim in hub.claims()} - {number}
        assert others <= ancestors(number)

    for hub in hubs:
        hub.end()


def ancestors(number: int) -> set[int]:
    """The hubs from which the 200 hubs above were forked."""
    found = set[int]()
    while number:
        number //= 2
        found.add(number)

    return found


def test_200_hubs_of_their_own_run_as_one_alone() -> None:
    alone = Traffic("amd64", 7)
    many = [Traffic("amd64", 7) for _ in range(200)]
    for _ in range(40):
        alone.step()
        for traffic in many:
            traffic.step()

    assert all(traffic.machine == alone.machine for traffic in many)


@pytest.mark.campaign
@pytest.mark.alone
def test_a_machine_with_10000_pages_is_forked_in_5_ms() -> None:
    first, again = list[float](), list[float]()
    for _ in range(9):
        hub = Hub([BIG], arches=ARCHES)
        touch(hub, 10_000, b"touched" * 9)
        kept = []
        for taken in (first, again):
            begin = perf_counter()
            kept.append(fork_machine(hub.machines["big"]))
            taken.append(perf_counter() - begin)

        for machine in kept:
            assert machine.memory.read(26 * PAGE * 9_999, 7) == b"touched"
            machine.close()

        hub.machines["big"].close()

    assert median(first) < 5e-3
    assert median(again) < 5e-3
