"""Logs replayed: against the same machines nothing differs; against others, what does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memhub.audit import AuditLog
from memhub.rig import replay_log
from ownership.rig import ARCHES, SPECS
from value.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

every_arch = pytest.mark.parametrize("arch", sorted(SPECS))
every_latency = pytest.mark.parametrize("latency", [0.0, 1.0], ids=["at-once", "in-time"])


def write_log(path: Path, arch: str, seed: int, steps: int, latency: float = 0.0) -> None:
    with AuditLog.open(path) as log:
        traffic = Traffic(arch, seed, latency=latency, log=log)
        for _ in range(steps):
            traffic.step()


@every_arch
@every_latency
def test_the_same_machine_answers_as_the_log_says(
    tmp_path: Path, arch: str, latency: float
) -> None:
    for seed in range(3):
        path = tmp_path / f"{seed}.jsonl"
        write_log(path, arch, seed, 250, latency)
        done = replay_log(path, arches=ARCHES)
        assert [str(it) for it in done.differences] == []
        assert done.steps > 100
        assert set(done.unplayed) <= {"the log does not keep all that was asked"}
