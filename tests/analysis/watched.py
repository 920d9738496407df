"""Random traffic whose machine is watched while it runs: what a log should tell of it.

What is expected comes from the live machine and not from the log.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from memhub.abi import MDF_ACTIVE
from value.traffic import Traffic

if TYPE_CHECKING:
    from memhub.abi import RangeDesc
    from memhub.audit import AuditLog


class Watched(Traffic):
    """Traffic with the time that slots were used and held, in nanoseconds.

    Attributes:
        passed: nanoseconds since the start.
        used: slots in use, summed over time.
        full: nanoseconds in which every slot was in use.
        most: the most slots in use while time passed.
        by_owner: the same by label.
        by_process: slots that each process claimed, summed over time.
    """

    def __init__(self, arch: str, seed: int, *, latency: float, log: AuditLog) -> None:
        super().__init__(arch, seed, latency=latency, log=log)
        self.passed = self.used = self.full = 0
        self.most = 0
        self.by_owner: Counter[str] = Counter()
        self.by_process: Counter[str] = Counter()

    @property
    def in_use(self) -> list[RangeDesc]:
        """The ranges that stand in slots."""
        k6 = self.machine.arch.name == "k6"

        return [it for it in self._rows() if (it.mr_len if k6 else it.mr_flags & MDF_ACTIVE)]

    def _advance(self) -> None:
        ranges = self.in_use
        holders = [claim.process.name for claim in self.machine.claims.by_slot.values()]
        before = self.engine.now().mono_ns
        super()._advance()
        passed = self.engine.now().mono_ns - before
        self.passed += passed
        self.used += passed * len(ranges)
        self.full += passed * (len(ranges) == len(self._rows()))
        self.most = max(self.most, len(ranges))
        for desc in ranges:
            self.by_owner[desc.mr_owner.rstrip(b"\0").decode("latin-1")] += passed
        for name in holders:
            self.by_process[name] += passed

    def end(self) -> None:
        """Make one more record, so that the log reaches the present."""
        self._look() if self.handles else self._open()

    def held(self) -> set[tuple[int, str, int, int]]:
        """The claims that are held now: fence, process, base and length."""
        return {
            (it.fence, it.process.name, it.base, it.end - it.base)
            for it in self.machine.claims.claims.values()
        }

    def open_processes(self) -> set[int]:
        """Who has an open handle."""
        return {it.caller.process.id for it in self.machine.files.files.values()}


def follow(watched: Watched, steps: int) -> Watched:
    """Let it run."""
    for _ in range(steps):
        watched.step()

    watched.end()

    return watched


def rows_by(rows: list[dict[str, Any]], *names: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Rows by some of their values, which no two share."""
    found = {tuple(row[name] for name in names): row for row in rows}
    assert len(found) == len(rows)

    return found
