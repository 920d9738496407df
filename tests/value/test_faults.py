"""Random requests under random fault rules: what a seed decides, and what a log then tells."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from memhub import FaultRule
from memhub.audit import AuditLog, read_records, verify
from memhub.audit.history.rebuild import rebuild
from memhub.core.faults.fault_rules import ACTIONS, OPERATION_WORDS
from memhub.errors import DeviceError
from memhub.faults.hub_rules import Delayed
from ownership.rig import ARCHES, SPECS
from value.test_rebuild import Follower, same
from value.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

#: Without what is asked of caches, which this traffic does not ask.
WORDS = [it for it in OPERATION_WORDS if it not in ("flush", "writeback", "fence")]

every_arch = pytest.mark.parametrize("arch", sorted(SPECS))
every_latency = pytest.mark.parametrize("latency", [0.0, 1.0], ids=["at-once", "in-time"])


def random_rules(seed: int) -> list[FaultRule]:
    rng = Random(seed)
    rules = []
    for action in ACTIONS:
        more: dict[str, Any] = {}
        if action == "delay":
            more["delay"] = 2.5

        if action == "short":
            more["moved"] = rng.randrange(3)

        if action not in ("short", "hang"):
            more["op"] = rng.sample(WORDS, 4)

        if action == "errno":
            more["errno"] = rng.choice(["EIO", "EBUSY", "ENOSPC", "EFAULT"])

        if rng.random() < 0.3:
            more |= {"base": rng.randrange(1 << 19), "length": 1 << 18}

        rules.append(
            FaultRule(action, name=action, probability=rng.uniform(0.1, 0.6), seed=seed, **more)
        )

    rng.shuffle(rules)

    return rules


class FaultyTraffic(Traffic):
    """Traffic in which every request that the rules refuse or postpone must leave no trace."""

    refused = 0

    def begin(self, seed: int) -> None:
        for rule in random_rules(seed):
            self.hub.faults.add(rule)

        submit = self.engine.submit

        def checked(request: Any) -> Any:
            before, counts = self.contents(), self._counts()
            try:
                return submit(request)
            except (DeviceError, Delayed) as error:
                if self._counts() != counts and "cut the conn" not in str(error):
                    self.refused += 1
                    assert self.contents() == before, request

                raise

        self.engine.submit = checked  # type: ignore[method-assign]

    def _counts(self) -> tuple[int, ...]:
        return tuple(it.injected for it in self.hub.faults if it.rule.action != "short")

    def contents(self) -> tuple[Any, ...]:
        """All of the machine, apart from what time brings about before a request."""
        machine = self.machine
        self.engine.tick()
        table = machine.table
        files = [(file.caller.handle, file.offset) for file in machine.files]
        claims, waits = dict(machine.claims.claims), dict(machine.waits.waits)

        return (
            None if table is None else table.state,
            files,
            claims,
            waits,
            dict(machine.commits.commits),
            machine.memory.read(0, 1 << 19),
        )

    def step(self) -> None:
        with suppress(Delayed):
            super().step()

        self.handles = [it for it in self.handles if self.engine.files.is_open(it)]


def run(arch: str, seed: int, latency: float, log: AuditLog | None = None) -> FaultyTraffic:
    traffic = FaultyTraffic(arch, seed, latency=latency, log=log)
    traffic.begin(seed)
    for _ in range(150):
        traffic.step()

    return traffic


@every_arch
@every_latency
def test_rebuild_equals_the_live_machine_under_random_faults(
    arch: str, latency: float, tmp_path: Path
) -> None:
    actions: set[str] = set()
    for seed in range(3):
        path = tmp_path / str(seed)
        with AuditLog.open(path) as log:
            traffic = run(arch, seed, latency, log)
            log.flush()
            records = list(read_records(path))
            assert same(rebuild(records, ARCHES)[traffic.machine.name], traffic.machine)
            assert traffic.refused > 10

        assert verify(path).ok
        actions |= {record["action"] for record in records if record["event"] == "fault"}

    assert {"errno", "delay", "drop", "short", "cut"} <= actions
    assert "hang" in actions or traffic.machine.table is None


@every_arch
def test_one_seed_gives_the_same_faults(arch: str) -> None:
    def faults(seed: int) -> list[tuple[Any, ...]]:
        traffic, follower = FaultyTraffic(arch, 1), Follower()
        traffic.engine.listen(follower.take)
        traffic.begin(seed)
        for _ in range(150):
            traffic.step()

        return [
            (number, it["rule"], it["op"], it["count"], it["errno"], it.get("base"))
            for number, it in enumerate(follower.records)
            if it["event"] == "fault"
        ]

    assert faults(5) == faults(5) != faults(6)


@every_arch
def test_rules_that_never_fault_change_nothing(arch: str) -> None:
    def records(*rules: FaultRule) -> list[dict[str, Any]]:
        traffic, follower = Traffic(arch, 3), Follower()
        traffic.engine.listen(follower.take)
        for rule in rules:
            traffic.hub.faults.add(rule)

        for _ in range(100):
            traffic.step()

        return follower.records

    never = FaultRule("errno", nth=1 << 50), FaultRule("cut", process="nobody")
    assert records(*never) == records()
