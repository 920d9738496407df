"""A machine is a value: facts can be taken back, and it can be copied, compared and pickled."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING

import pytest

from memhub.core.deciding.decide import decide
from memhub.core.requests import SetRange, Write
from ownership.rig import SPECS
from value.traffic import Traffic

if TYPE_CHECKING:
    from kernels.linux_traffic import LinuxTraffic
    from memhub.core.events import Event
    from memhub.core.machine import Machine

every_arch = pytest.mark.parametrize("arch", sorted(SPECS))
every_latency = pytest.mark.parametrize("latency", [0.0, 1.0], ids=["at-once", "in-time"])


class Tape:
    """Every fact of a machine, in order, with the machine as it was at some moments."""

    def __init__(self, traffic: Traffic | LinuxTraffic) -> None:
        self.events: list[Event] = []
        self.machine = traffic.machine
        self._apply, self._unapply = type(self.machine).apply, type(self.machine).unapply

    def apply(self, machine: Machine, event: Event) -> None:
        self.events.append(event)
        self._apply(machine, event)

    def unapply(self, machine: Machine, event: Event) -> None:
        assert self.events.pop() is event
        self._unapply(machine, event)


def go_and_come_back(
    monkeypatch: pytest.MonkeyPatch, traffic: Traffic | LinuxTraffic, steps: int
) -> list[tuple[int, Machine]]:
    """Make steps, and take back all their facts: the machine is each time what it was then.

    A pickle keeps what it was, which takes a fourth of the time of a copy.

    Returns:
        the machine before each step and at the end, with the number of facts until then.
    """
    machine = traffic.machine
    machine.recorded = True
    tape = Tape(traffic)
    kept: list[tuple[int, bytes]] = []
    with monkeypatch.context() as patch:
        patch.setattr(type(machine), "apply", lambda m, e: tape.apply(m, e))
        patch.setattr(type(machine), "unapply", lambda m, e: tape.unapply(m, e))
        for _ in range(steps):
            kept.append((len(tape.events), pickle.dumps(machine)))
            traffic.step()

    kept.append((len(tape.events), pickle.dumps(machine)))
    states = [(count, pickle.loads(data)) for count, data in kept]
    left = list(states)
    for number in range(len(tape.events), 0, -1):
        while left and left[-1][0] == number:
            assert machine == left.pop()[1], (machine.name, number)

        machine.unapply(tape.events[number - 1])

    assert machine == left[0][1]

    return states


@every_arch
@every_latency
def test_facts_taken_back_in_reverse_lead_to_the_first_state(
    monkeypatch: pytest.MonkeyPatch, arch: str, latency: float
) -> None:
    for seed in range(2):
        states = go_and_come_back(monkeypatch, Traffic(arch, seed, latency=latency), 120)
        assert states[-1][0] > 40


@every_arch
@every_latency
def test_a_copy_and_a_pickle_equal_the_machine_and_live_their_own_lives(
    arch: str, latency: float
) -> None:
    traffic = Traffic(arch, 3, latency=latency)
    for _ in range(120):
        traffic.step()

    machine = traffic.machine
    twins = [copy.deepcopy(machine), pickle.loads(pickle.dumps(machine))]
    assert all(twin == machine for twin in twins)
    before = copy.deepcopy(machine)
    for _ in range(60):
        traffic.step()

    assert machine != before
    assert all(twin == before for twin in twins)


@every_arch
def test_deciding_changes_nothing_and_twins_decide_alike(arch: str) -> None:
    traffic = Traffic(arch, 8)
    for _ in range(80):
        traffic.step()

    machine, now = traffic.machine, traffic.engine.now()
    before, twin = copy.deepcopy(machine), copy.deepcopy(machine)
    for handle in traffic.handles:
        for row in traffic._rows()[:6]:
            for arg in (0, 1, 7):
                request = SetRange(handle, arg, row)
                one, other = decide(machine, request, now), decide(twin, request, now)
                assert type(one.error) is type(other.error)
                assert str(one.error) == str(other.error)
                assert one.reply == other.reply

        decide(machine, Write(handle, b"abc", 0), now)

    assert machine == before


def test_a_fork_shares_no_memory_with_the_machine() -> None:
    traffic = Traffic("amd64", 1)
    machine = traffic.machine
    machine.memory.write(0x1000, b"before")
    fork = copy.deepcopy(machine)
    assert fork.memory == machine.memory
    machine.memory.write(0x1000, b"after!")
    assert fork.memory.read(0x1000, 6) == b"before"
    assert fork != machine
