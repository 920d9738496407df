"""Random requests of a few processes to one machine, by a seed; every request may be refused."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

from memhub import Hub, Region
from memhub.abi import MEMRANGE_SET_REMOVE, MEMRANGE_SET_UPDATE, RangeDesc, owner_bytes
from memhub.clock import ManualClock
from memhub.core.files import Principal
from memhub.core.requests import (
    AwaitFree,
    BreakClaim,
    ClaimRange,
    GetRanges,
    Open,
    Read,
    ReleaseRange,
    RenewClaim,
    SetRange,
    Write,
)
from memhub.core.spec import MachineSpec
from memhub.engine.lifecycle import break_claim, close_file, open_file
from memhub.engine.pending import Pending
from memhub.engine.startup import record_starts
from memhub.errors import DeviceError
from ownership.kinds import KINDS
from ownership.rig import ARCHES, SPECS

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.audit import AuditLog
    from memhub.core.machine import Machine

PROCESSES = 3
MOST_HANDLES = 6


class Traffic:
    """One machine and those who use it.

    Args:
        arch: the architecture.
        seed: of every choice.
        latency: seconds that a commit takes.
        log: an open audit log, or None.
    """

    def __init__(
        self, arch: str, seed: int, *, latency: float = 0.0, log: AuditLog | None = None
    ) -> None:
        found = SPECS[arch]
        spec = MachineSpec(
            name=found.name,
            arch=found.arch,
            cpu=found.cpu,
            msrs=found.msrs,
            options=found.options,
            memory=(Region(base=0, length=1 << 20),),
            commit_latency=latency,
        )
        self.clock = ManualClock(wall_ns=1_700_000_000_000_000_000, mono_ns=5_000_000_000)
        self.hub = Hub([spec], arches=ARCHES, clock=self.clock, log=log)
        self.engine = self.hub.engine
        self.machine: Machine = self.hub.machines[spec.name]
        self.rng = Random(seed)
        self.kind = KINDS[arch]
        self.handles: list[int] = []
        self.pending: list[Pending[Any]] = []
        self.fences = 0
        self.log = log
        record_starts(self.engine)

    def step(self) -> None:
        """One random request."""
        acts: list[tuple[int, Callable[[], None]]] = [
            (3, self._open),
            (2, self._close),
            (10, self._set),
            (5, self._remove),
            (5, self._claim),
            (1, self._await_free),
            (3, self._release),
            (2, self._renew),
            (1, self._break),
            (2, self._look),
            (2, self._move_bytes),
            (3, self._advance),
            (1, self._abandon),
        ]
        (act,) = self.rng.choices([act for _, act in acts], [weight for weight, _ in acts])
        if not self.handles and act not in (self._advance, self._abandon):
            act = self._open

        with suppress(DeviceError):
            act()

        claims = self.machine.claims
        self.fences = max(self.fences, claims.last_fence)
        self.pending = [pending for pending in self.pending if not pending.done]

    def _handle(self) -> int:
        return self.rng.choice(self.handles)

    def _open(self) -> None:
        if len(self.handles) >= MOST_HANDLES:
            self._close()
            return

        number = self.rng.randrange(1, PROCESSES + 1)
        who = Principal(number, f"p{number}", pid=100 + number)
        request = Open(who, "/dev/mem", "r+", undo=self.rng.random() < 0.4)
        self.handles.append(open_file(self.engine, request))

    def _close(self) -> None:
        handle = self._handle()
        self.handles.remove(handle)
        close_file(self.engine, handle, self.rng.choice(["close", "disconnect", "error"]))

    def _span(self) -> tuple[int, int]:
        rows = [row for row in self._rows() if row.mr_len and row.mr_end <= 1 << 20]
        if rows and self.rng.random() < 0.5:
            row = self.rng.choice(rows)
            return row.mr_base, row.mr_len

        lo, hi = self.kind.spans(self.rng)

        return lo, hi - lo

    def _rows(self) -> tuple[RangeDesc, ...]:
        table = self.machine.table

        return () if table is None else table.state.slots

    def _set(self) -> None:
        base, length = self._span()
        owner = self.rng.choice([bytes(8), owner_bytes("xf86"), owner_bytes(b"a\0b")])
        desc = RangeDesc(base, length, self.rng.choice(self.kind.attributes), owner)
        self._ask(
            SetRange(
                self._handle(),
                MEMRANGE_SET_UPDATE,
                desc,
                self._fence() if self.rng.random() < 0.05 else None,
                self._lease(),
                self._wait(),
            )
        )

    def _remove(self) -> None:
        base, length = self._span()
        arg = self.rng.choice([MEMRANGE_SET_REMOVE] * 9 + [7])
        self._ask(SetRange(self._handle(), arg, RangeDesc(base, length), None, None, self._wait()))

    def _claim(self) -> None:
        base, length = self._span()
        self._ask(ClaimRange(self._handle(), base, length, self._lease(), self._wait()))

    def _await_free(self) -> None:
        base, length = self._span()
        self._ask(AwaitFree(self._handle(), base, length, self._wait()))

    def _ask(self, request: SetRange | ClaimRange | AwaitFree) -> None:
        answer = self.engine.submit(request)
        if isinstance(answer, Pending):
            self.pending.append(answer)

    def _release(self) -> None:
        base, length = self._span()
        self.engine.submit(ReleaseRange(self._handle(), base, length))

    def _renew(self) -> None:
        self.engine.submit(RenewClaim(self._handle(), self._fence(), self._lease()))

    def _break(self) -> None:
        by = self.rng.choice([None, Principal(9, "root")])
        break_claim(self.engine, BreakClaim(self.machine.name, self._fence(), "why not", by))

    def _look(self) -> None:
        self.engine.submit(GetRanges(self._handle(), self.rng.choice([0, 1, 1 << 20])))

    def _move_bytes(self) -> None:
        at = self.rng.choice([None, self.rng.randrange(1 << 19), 1 << 50])
        if self.rng.random() < 0.5:
            self.engine.submit(Read(self._handle(), 5, at))
        else:
            self.engine.submit(Write(self._handle(), self.rng.randbytes(5), at))

    def _advance(self) -> None:
        self.clock.advance(self.rng.choice([0.5, 1, 3]))
        self.engine.tick()

    def _abandon(self) -> None:
        if self.pending:
            self.engine.abandon(self.rng.choice(self.pending))

    def _fence(self) -> int:
        claims = list(self.machine.claims.claims)
        if claims and self.rng.random() < 0.8:
            return self.rng.choice(claims)

        return self.rng.randint(1, self.fences + 1)

    def _lease(self) -> float | None:
        return self.rng.choice([None, None, None, 1.0, 2.5, 0.1])

    def _wait(self) -> float | None:
        return self.rng.choice([None, None, 1.5, 4.0])
