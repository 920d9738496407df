"""The machine answers, claims, marks and serves as the brute-force model does, step by step."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from ownership.kinds import KINDS
from ownership.model_ops import ModelMachine
from ownership.rig import check_log
from ownership.walk import Walk
from ownership.walks import ACTIONS, Step, failure, run, shortest, steps, take

LENGTH = 250

every_arch = pytest.mark.parametrize("arch", sorted(KINDS))
every_latency = pytest.mark.parametrize("latency", [False, True], ids=["at-once", "in-time"])


def walk_many(arch: str, seeds: range, *, latency: bool) -> Counter[str]:
    """Random walks; one that fails is shortened and shown."""
    answers: Counter[str] = Counter()
    for seed in seeds:
        walk = steps(seed, LENGTH)
        try:
            answers.update(run(arch, walk, latency=latency))
        except Exception:  # noqa: BLE001 - shown below, shortened
            short = shortest(arch, walk, latency=latency)
            why = failure(arch, short, latency=latency)
            names = [ACTIONS[number].__name__ for number, _ in short]
            pytest.fail(f"{arch}, latency {latency}, seed {seed}: {why}\n{names}\n{short}")

    return answers


@every_arch
@every_latency
def test_machine_and_model_agree_on_random_walks(arch: str, *, latency: bool) -> None:
    """10 kinds of machine, 4000 steps each."""
    answers = walk_many(arch, range(16), latency=latency)

    assert sum(answers.values()) >= 16 * LENGTH
    for wanted in ("update ok", "update EBUSY", "claim EBUSY", "claim waits", "wait ok", "close"):
        assert answers[wanted] > 0, wanted


@pytest.mark.campaign
@every_arch
@every_latency
def test_machine_and_model_agree_on_a_million_steps(arch: str, *, latency: bool) -> None:
    """10 kinds of machine, 100 000 steps each."""
    walk_many(arch, range(1000, 1400), latency=latency)


@every_arch
@every_latency
def test_the_log_of_a_walk_tells_the_table_and_the_claims(arch: str, *, latency: bool) -> None:
    walk = Walk(arch, latency=latency, logged=True)
    for step in steps(77, LENGTH):
        take(walk, step)

    check_log(walk.bench.records, walk.machine)


@every_arch
@settings(max_examples=15)
@given(
    walk=st.lists(st.tuples(st.integers(0, len(ACTIONS) - 1), st.integers(0, 255)), max_size=40),
    latency=st.booleans(),
)
def test_machine_and_model_agree_on_whatever_hypothesis_finds(
    arch: str, walk: list[Step], *, latency: bool
) -> None:
    run(arch, walk, latency=latency)


class Steps(RuleBasedStateMachine):
    """The same steps as rules of a state machine."""

    walk: Walk

    @initialize(arch=st.sampled_from(sorted(KINDS)), latency=st.booleans())
    def begin(self, arch: str, *, latency: bool) -> None:
        self.walk = Walk(arch, latency=latency)

    @rule(number=st.integers(0, len(ACTIONS) - 1), seed=st.integers(0, 1 << 16))
    def step(self, number: int, seed: int) -> None:
        take(self.walk, (number, seed))


def test_machine_and_model_agree_as_state_machines() -> None:
    run_state_machine_as_test(
        Steps, settings=settings(max_examples=40, stateful_step_count=60, deadline=None)
    )


@pytest.mark.parametrize("arch", ["amd64", "i386"])
def test_a_model_with_another_rule_is_noticed(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule left out of the model is missed within a few walks: the walks reach it."""
    rules = ("_check_pages", "_check_flights", "_check_losses", "serve", "drop", "_put_back")
    for name in rules:
        with monkeypatch.context() as without:
            without.setattr(ModelMachine, name, lambda *_: None)
            assert any(
                failure(arch, steps(seed, LENGTH), latency=latency)
                for seed in range(8)
                for latency in (False, True)
            ), name
