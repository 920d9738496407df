"""Steps done twice, by the machine and by the model, and compared after each."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from memhub.abi import MDF_BUSY, MEMRANGE_SET_REMOVE, MEMRANGE_SET_UPDATE, RangeDesc, owner_bytes
from memhub.core.files import Principal
from memhub.core.holding.commits import Commit
from memhub.core.holding.waits import Wait
from memhub.core.requests import (
    AwaitFree,
    BreakClaim,
    ClaimRange,
    GetRanges,
    Open,
    ReleaseRange,
    RenewClaim,
    SetRange,
)
from memhub.engine.lifecycle import break_claim, close_file, open_file
from memhub.engine.pending import Pending
from memhub.engine.startup import record_starts
from memhub.errors import DeviceError
from ownership.asks import Ask, Flight, told
from ownership.kinds import KINDS
from ownership.model import LATENCY
from ownership.model_ops import ModelMachine
from ownership.rig import Bench, spec

if TYPE_CHECKING:
    from memhub.core.files import OpenFile

PROCESSES = 3
MOST_HANDLES = 6

#: One kind of step; its arguments are drawn.
Action = Callable[["Walk", Random], str]


class Walk:
    """One machine and one model, kept alike.

    Args:
        arch: the architecture.
        latency: whether commits take time.
        logged: whether records are kept.
    """

    def __init__(self, arch: str, *, latency: bool, logged: bool = False) -> None:
        self.kind = KINDS[arch]
        pages = self.kind.pages
        self.pages, self.limit = frozenset(pages), pages[-1] + pages[1] - pages[0]
        self.bench = Bench(spec(arch, latency=LATENCY if latency else 0.0))
        self.machine = self.bench.machine
        self.engine = self.bench.hub.engine
        table = self.machine.table
        assert table is not None
        self.model = ModelMachine(
            table.driver.raw,
            table.state,
            self.kind.type_at,
            self.kind.pages,
            latency=latency,
            by_length=self.kind.by_length,
        )
        self.model.now = self.bench.clock.mono_ns() / 1e9
        self.who = [Principal(number, f"p{number}") for number in range(PROCESSES)]
        self.files: dict[int, OpenFile] = {}
        self.commits: dict[Flight, Pending[Any]] = {}
        self.tickets: dict[Ask, Pending[Any]] = {}
        self.answers: dict[str, int] = {}
        if logged:
            record_starts(self.engine)
        else:
            self.bench._news.close()

    # Steps

    def do(self, act: Action, rng: Random) -> None:
        """Take one step on both sides, and compare them."""
        if not self.files:
            act = Walk.open

        said = act(self, rng)
        self.answers[said] = self.answers.get(said, 0) + 1
        self._collect()
        self.compare(rng)

    def open(self, rng: Random) -> str:
        if len(self.files) >= MOST_HANDLES:
            return self.close(rng)

        process, undo = rng.randrange(PROCESSES), rng.random() < 0.4
        if not self._may_act(process):
            return "skipped"

        number = open_file(self.engine, Open(self.who[process], "/dev/mem", undo=undo))
        self.files[number] = self.engine.files.file(number)
        self.model.open(number, process, undo=undo)

        return "open"

    def close(self, rng: Random) -> str:
        number = rng.choice(sorted(self.files))
        del self.files[number]
        close_file(self.engine, number)
        self.model.close(number)

        return "close"

    def update(self, rng: Random) -> str:
        return self._set(rng, "update")

    def remove(self, rng: Random) -> str:
        return self._set(rng, "remove")

    def _set(self, rng: Random, op: str) -> str:
        file = self._file(rng)
        if file is None:
            return "skipped"

        lo, hi = self._span(rng)
        attribute = rng.choice(self.kind.attributes) if op == "update" else 0
        desc = RangeDesc(lo, hi - lo, attribute, owner_bytes(rng.choice(("", "xf86"))))
        fence = rng.randint(1, self.model.last_fence + 1) if rng.random() < 0.05 else None
        lease = self._lease(rng) if op == "update" else None
        arg = MEMRANGE_SET_UPDATE if op == "update" else MEMRANGE_SET_REMOVE
        wait = self._wait(rng, file.caller.process.id)
        handle = file.caller.handle
        ask = Ask(op, file.caller.process.id, handle, desc, fence, lease)

        return self._same(ask, wait, SetRange(handle, arg, desc, fence, lease, wait))

    def claim(self, rng: Random) -> str:
        file = self._file(rng)
        if file is None:
            return "skipped"

        (lo, hi), lease, handle = self._span(rng), self._lease(rng), file.caller.handle
        wait = self._wait(rng, file.caller.process.id)
        ask = Ask("claim", file.caller.process.id, handle, RangeDesc(lo, hi - lo), lease=lease)

        return self._same(ask, wait, ClaimRange(handle, lo, hi - lo, lease, wait))

    def wait_free(self, rng: Random) -> str:
        file = self._file(rng)
        if file is None or not self.model.idle(file.caller.process.id):
            return "skipped"

        lo, hi = self._span(rng)
        wait = float(rng.randint(1, 6))
        handle = file.caller.handle
        ask = Ask("free", file.caller.process.id, handle, RangeDesc(lo, hi - lo))

        return self._same(ask, wait, AwaitFree(handle, lo, hi - lo, wait))

    def release(self, rng: Random) -> str:
        file = self._file(rng)
        if file is None:
            return "skipped"

        (lo, hi), caller = self._span(rng), file.caller
        fence = self._fence(rng) if self.model.last_fence and rng.random() < 0.3 else None
        return self._both(
            lambda: self.engine.submit(ReleaseRange(caller.handle, lo, hi - lo, fence)),
            self.model.release(caller.process.id, lo, hi, fence),
        )

    def renew(self, rng: Random) -> str:
        file = self._file(rng)
        if file is None or not self.model.last_fence:
            return "skipped"

        fence, lease = self._fence(rng), self._lease(rng)
        return self._both(
            lambda: self.engine.submit(RenewClaim(file.caller.handle, fence, lease)),
            self.model.renew(file.caller.process.id, fence, lease),
        )

    def break_claim(self, rng: Random) -> str:
        if not self.model.last_fence:
            return "skipped"

        fence = self._fence(rng)
        return self._both(
            lambda: break_claim(self.engine, BreakClaim(self.machine.name, fence, "why not")),
            self.model.break_claim(fence),
        )

    def advance(self, rng: Random) -> str:
        self.bench.clock.advance(seconds := rng.randint(1, 3))
        self.engine.tick()
        self.model.advance(seconds)

        return "advance"

    def finish(self, rng: Random) -> str:
        """Let a second pass, or cancel the caller of a commit."""
        if not self.commits:
            return "skipped"
        if rng.random() < 0.2:
            flight = rng.choice(list(self.commits))
            self.engine.abandon(self.commits[flight])
            self.model.abort(flight)
            return "abort"

        self.bench.clock.advance(1)
        self.engine.tick()
        self.model.advance(1)

        return "finish"

    def forsake(self, rng: Random) -> str:
        if not self.tickets:
            return "skipped"

        ask = rng.choice(list(self.tickets))
        self.engine.abandon(self.tickets[ask])
        self.model.forsake(ask)

        return "forsake"

    # Arguments

    def _may_act(self, process: int) -> bool:
        return all(ask.process != process for ask in self.model.queue)

    def _file(self, rng: Random) -> OpenFile | None:
        file = self.files[rng.choice(sorted(self.files))]

        return file if self._may_act(file.caller.process.id) else None

    def _span(self, rng: Random) -> tuple[int, int]:
        """Half of the time that of a slot or claim, else any."""
        known = [c.span for c in self.model.claims.values()] + [
            (row.mr_base, row.mr_end)
            for row in self.model.state.slots
            if row.mr_len and row.mr_base in self.pages and row.mr_end <= self.limit
        ]
        if known and rng.random() < 0.5:
            return rng.choice(known)

        return self.kind.spans(rng)

    def _fence(self, rng: Random) -> int:
        if self.model.claims and rng.random() < 0.8:
            return rng.choice(list(self.model.claims))

        return rng.randint(1, self.model.last_fence + 1)

    def _lease(self, rng: Random) -> float | None:
        return float(rng.randint(1, 5)) if rng.random() < 0.2 else None

    def _wait(self, rng: Random, process: int) -> float | None:
        if rng.random() < 0.3 and self.model.idle(process):
            return float(rng.randint(1, 6))

        return None

    # Both sides

    def _same(self, ask: Ask, wait: float | None, request: Any) -> str:
        flights = list(self.model.flights)
        expected = self.model.ask(ask, wait)
        result: Any = None
        try:
            result = self.engine.submit(request)
            waits = isinstance(result, Pending) and isinstance(result.stage, Wait)
            answer = "waits" if waits else "ok"
        except DeviceError as error:
            answer = error.code.name

        assert answer == expected, (ask, answer, expected)
        if answer == "waits":
            self.tickets[ask] = result
        elif isinstance(result, Pending):
            (flight,) = [flight for flight in self.model.flights if flight not in flights]
            self.commits[flight] = result

        return f"{ask.op} {answer}"

    def _both(self, real: Callable[[], Any], expected: str) -> str:
        try:
            real()
            answer = "ok"
        except DeviceError as error:
            answer = error.code.name

        assert answer == expected, (answer, expected)

        return answer

    def _collect(self) -> None:
        """Compare what waiters were told, and take over the commits that began for them."""
        for ask, pending in list(self.tickets.items()):
            if isinstance(pending.stage, Wait):
                assert ask.answer is None, ask
                continue

            answer = "ok" if isinstance(pending.stage, Commit) else told(pending)
            assert answer == ask.answer, (ask, answer)
            del self.tickets[ask]
            self.answers[f"wait {answer}"] = self.answers.get(f"wait {answer}", 0) + 1
            if isinstance(pending.stage, Commit):
                (flight,) = [f for f in self.model.flights if f.ask is ask]
                self.commits[flight] = pending

        for flight, pending in list(self.commits.items()):
            if flight not in self.model.flights:
                assert told(pending) == flight.answer, flight
                del self.commits[flight]

    # Comparing

    def compare(self, rng: Random) -> None:
        """Table, registers, claims, commits, queue, and BUSY as one process sees it."""
        model, machine = self.model, self.machine
        assert machine.table is not None
        assert machine.table.state == model.state
        real = {
            claim.fence: (
                claim.process.id,
                claim.kind,
                (claim.base, claim.end),
                claim.slots,
                None if claim.expires_ns is None else claim.expires_ns / 1e9,
            )
            for claim in machine.claims.claims.values()
        }
        assert real == {
            claim.fence: (claim.process, claim.kind, claim.span, claim.slots, claim.expires)
            for claim in model.claims.values()
        }
        assert list(machine.commits) == [self.commits[flight].stage for flight in model.flights]
        assert list(machine.waits) == [self.tickets[ask].stage for ask in model.queue]
        if self.files:
            self._compare_view(self.files[rng.choice(sorted(self.files))])

    def _compare_view(self, file: OpenFile) -> None:
        _, image = self.engine.submit(GetRanges(file.caller.handle, 1 << 20))
        flags = image[19 :: file.model.desc.size]
        busy = MDF_BUSY >> 24
        shown = {slot for slot, byte in enumerate(flags) if byte & busy}
        assert shown == self.model.busy(file.caller.process.id)
