"""Steps done twice, by the machine and by the model, and compared after each."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from memhub.abi import MDF_BUSY, MEMRANGE_SET_REMOVE, MEMRANGE_SET_UPDATE, RangeDesc, owner_bytes
from memhub.core.claims.waiting import Ticket
from memhub.core.ranges.commits import Commit, SetRequest
from memhub.core.requests import Principal
from memhub.dispatch.machines import record_starts
from memhub.errors import DeviceError
from ownership.asks import Ask, Flight
from ownership.kinds import KINDS
from ownership.model_ops import ModelMachine
from ownership.rig import Bench, spec

if TYPE_CHECKING:
    from memhub.core.machine import OpenFile

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
        self.bench = Bench(spec(arch, latency=1.0 if latency else 0.0))
        self.machine = self.bench.machine
        self.desks = self.bench.hub.dispatch
        table = self.machine.ranges.table
        assert table is not None
        self.model = ModelMachine(
            table.driver,
            table.state,
            self.kind.type_at,
            self.kind.pages,
            latency=latency,
            by_length=self.kind.by_length,
        )
        self.model.now = self.bench.clock.now().mono
        self.who = [Principal(number, f"p{number}") for number in range(PROCESSES)]
        self.files: dict[int, OpenFile] = {}
        self.commits: dict[Flight, Commit] = {}
        self.tickets: dict[Ask, Ticket] = {}
        self.answers: dict[str, int] = {}
        if logged:
            record_starts(self.bench.hub.dispatch.context)
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

        file = self.desks.files.open(self.who[process], "/dev/mem", undo=undo)
        self.files[file.id] = file
        self.model.open(file.id, process, undo=undo)

        return "open"

    def close(self, rng: Random) -> str:
        file = self.files.pop(rng.choice(sorted(self.files)))
        self.desks.files.close(file)
        self.model.close(file.id)

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
        request = SetRequest(file, arg, desc, fence, lease)
        ask = Ask(op, file.process.id, file.id, desc, fence, lease)
        wait = self._wait(rng, file.process.id)
        if wait is None and not self.model.latency:
            return self._same(ask, wait, lambda: self.desks.ranges.set(request))

        return self._same(ask, wait, lambda: self.desks.ranges.begin(request, wait))

    def claim(self, rng: Random) -> str:
        file = self._file(rng)
        if file is None:
            return "skipped"

        (lo, hi), lease = self._span(rng), self._lease(rng)
        wait = self._wait(rng, file.process.id)
        ask = Ask("claim", file.process.id, file.id, RangeDesc(lo, hi - lo), lease=lease)

        return self._same(
            ask, wait, lambda: self.desks.claims.claim(file, lo, hi - lo, lease, wait)
        )

    def wait_free(self, rng: Random) -> str:
        file = self._file(rng)
        if file is None or not self.model.idle(file.process.id):
            return "skipped"

        lo, hi = self._span(rng)
        wait = float(rng.randint(1, 6))
        ask = Ask("free", file.process.id, file.id, RangeDesc(lo, hi - lo))

        return self._same(ask, wait, lambda: self.desks.claims.wait_free(file, lo, hi - lo, wait))

    def release(self, rng: Random) -> str:
        file = self._file(rng)
        if file is None:
            return "skipped"

        lo, hi = self._span(rng)
        return self._both(
            lambda: self.desks.claims.release(file, lo, hi - lo),
            self.model.release(file.process.id, lo, hi),
        )

    def renew(self, rng: Random) -> str:
        file = self._file(rng)
        if file is None or not self.model.last_fence:
            return "skipped"

        fence, lease = self._fence(rng), self._lease(rng)
        return self._both(
            lambda: self.desks.claims.renew(file, fence, lease),
            self.model.renew(file.process.id, fence, lease),
        )

    def break_claim(self, rng: Random) -> str:
        if not self.model.last_fence:
            return "skipped"

        fence = self._fence(rng)
        return self._both(
            lambda: self.desks.claims.break_claim(self.machine, fence, "why not"),
            self.model.break_claim(fence),
        )

    def advance(self, rng: Random) -> str:
        seconds = rng.randint(1, 3)
        self.bench.clock.advance(seconds)
        self.desks.context.tick()
        self.model.advance(seconds)

        return "advance"

    def finish(self, rng: Random) -> str:
        if not self.commits:
            return "skipped"

        flight = rng.choice(list(self.commits))
        commit = self.commits.pop(flight)
        if rng.random() < 0.2:
            self.desks.ranges.abort(commit)
            self.model.abort(flight)
            return "abort"

        return self._both(lambda: self.desks.ranges.finish(commit), self.model.finish(flight))

    def forsake(self, rng: Random) -> str:
        if not self.tickets:
            return "skipped"

        ask = rng.choice(list(self.tickets))
        self.desks.context.forsake(self.machine, self.tickets[ask])
        self.model.forsake(ask)

        return "forsake"

    # Arguments

    def _may_act(self, process: int) -> bool:
        return all(ask.process != process for ask in self.model.queue)

    def _file(self, rng: Random) -> OpenFile | None:
        file = self.files[rng.choice(sorted(self.files))]

        return file if self._may_act(file.process.id) else None

    def _span(self, rng: Random) -> tuple[int, int]:
        """Half of the time that of a slot or claim, else any."""
        known = [c.span for c in self.model.claims.values()]
        known += [
            (row.mr_base, row.mr_end)
            for row in self.model.state.slots
            if row.mr_len and row.mr_base in self.kind.pages and row.mr_end <= self.limit
        ]
        if known and rng.random() < 0.5:
            return rng.choice(known)

        return self.kind.spans(rng)

    @property
    def limit(self) -> int:
        pages = self.kind.pages

        return pages[-1] + pages[1] - pages[0]

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

    def _same(self, ask: Ask, wait: float | None, real: Callable[[], Any]) -> str:
        flights = list(self.model.flights)
        expected = self.model.ask(ask, wait)
        try:
            result = real()
            answer = "waits" if isinstance(result, Ticket) else "ok"
        except DeviceError as error:
            result, answer = None, error.code.name

        assert answer == expected, (ask, answer, expected)
        if isinstance(result, Ticket):
            self.tickets[ask] = result
        elif isinstance(result, Commit):
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
        for ask, ticket in list(self.tickets.items()):
            error = ticket.outcome.error if ticket.outcome is not None else None
            told = None if ticket.outcome is None else "ok" if error is None else error.code.name
            assert told == ask.answer, (ask, told)
            if ticket.outcome is not None:
                del self.tickets[ask]
                self.answers[f"wait {told}"] = self.answers.get(f"wait {told}", 0) + 1
                if isinstance(ticket.outcome.reply, Commit):
                    (flight,) = [f for f in self.model.flights if f.ask is ask]
                    self.commits[flight] = ticket.outcome.reply

        self.commits = {f: c for f, c in self.commits.items() if f in self.model.flights}

    # Comparing

    def compare(self, rng: Random) -> None:
        """Table, registers, claims, commits, queue, and BUSY as one process sees it."""
        model, ranges = self.model, self.machine.ranges
        assert ranges.table is not None
        assert ranges.table.state == model.state
        real = {
            claim.fence: (
                claim.process.id,
                claim.kind,
                (claim.base, claim.end),
                claim.slots,
                claim.expires,
            )
            for claim in ranges.ownership.claims.values()
        }
        assert real == {
            claim.fence: (claim.process, claim.kind, claim.span, claim.slots, claim.expires)
            for claim in model.claims.values()
        }
        assert set(ranges.commits) == set(self.commits.values())
        assert self.machine.queue.tickets == [self.tickets[ask] for ask in model.queue]
        if self.files:
            self._compare_view(self.files[rng.choice(sorted(self.files))])

    def _compare_view(self, file: OpenFile) -> None:
        _, image = self.desks.ranges.get(file, 1 << 20)
        size, shown = file.model.desc.size, set()
        for slot in range(len(self.model.state.slots)):
            if image[slot * size + 19] & MDF_BUSY >> 24:
                shown.add(slot)

        assert shown == self.model.busy(file.process.id)
