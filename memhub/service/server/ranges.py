"""Requests for ranges and claims: answered at once, or handed to `RequestTasks`."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from memhub.core.deciding.claim_requests import check_span
from memhub.core.requests import (
    AwaitFree,
    BreakClaim,
    ClaimRange,
    Explain,
    RefuseIoctl,
    ReleaseRange,
    RenewClaim,
    SetRange,
)
from memhub.engine.lifecycle import break_claim
from memhub.engine.pending import Pending
from memhub.errors import BadAddress, NoSuchRange
from memhub.faces.freebsd import decode_ioctl, decode_set, encode_get
from memhub.faces.linux import answer_mtrr, ask_mtrr
from memhub.faults.hub_rules import Delayed
from memhub.handles.async_shell import go_on
from memhub.handles.late_requests import finish_late
from memhub.service import wire
from memhub.service.server.rights import READ_RANGES, SET_RANGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.core.claims import Claim
    from memhub.core.machine import Machine
    from memhub.core.replies import SetOutcome
    from memhub.core.requests import Request
    from memhub.service.server.session import Entry, Session

    Answer = wire.Message | None

FOREVER: Final = 0xFFFFFFFF
#: What an ioctl of another kernel's file returns, behind its `op`.
RETURNED: Final = Struct("<i")

#: Bytes of a table that are sent however much is unread: as many as of most other answers.
_SMALL_TABLE: Final = 4096

#: Claims that a BREAK ends in one turn of the event loop.
_BREAKS_AT_ONCE: Final = 16


def answer_ioctl(session: Session, entry: Entry, it: wire.Ioctl) -> Answer:
    """IOCTL."""
    model, command = entry.model, it.command
    if entry.kernel_file:
        return _answer_kernel_ioctl(session, entry, it)

    if command in model.set:
        return _answer_set_ioctl(session, entry, it)

    if not entry.rights & READ_RANGES:
        session.require_rights(entry, READ_RANGES, "ioctl")

    most = session.max_body - 4 - len(it.op)
    room = min(it.room, most)
    if it.op.startswith(entry.null_pointer):
        room = 0

    asked = decode_ioctl(model, entry.number, command, it.op, b"", room)
    assert not isinstance(asked, SetRange)
    tasks = session.tasks
    if room > _SMALL_TABLE and tasks.turn_room < 0:
        work = partial(_get_in_turn, session, entry, it, asked, limited=room == most)
        return tasks.start_task(it.request, work)

    try:
        reply = session.engine.submit(asked)
    except BadAddress as error:
        if room != most:
            raise

        raise _name_limit(session, error) from None

    op, descs = encode_get(model, it.op, reply)
    if room > _SMALL_TABLE:
        tasks.turn_room -= len(descs)

    return wire.IoctlDone(it.request, op, descs)


def _name_limit(session: Session, error: BadAddress) -> BadAddress:
    """The refusal of a table that no answer can hold."""
    limit = f"an answer of max_body {session.max_body} bytes holds no more"

    return BadAddress(f"{error.reason}: {limit}")


async def _get_in_turn(
    session: Session, entry: Entry, it: wire.Ioctl, asked: Request[Any], *, limited: bool
) -> Answer:
    """A large table for a client that has not read much of what was sent: when it has."""
    engine, tasks = session.engine, session.tasks
    async with tasks.bulk_turn():  # nothing is awaited in it: what was unread would be more by then
        try:
            reply = engine.submit(asked)
        except Delayed as late:
            reply = await finish_late(engine, asked, late, go_on)
        except BadAddress as error:
            if not limited:
                raise

            raise _name_limit(session, error) from None

        tasks.send_reply(wire.IoctlDone(it.request, *encode_get(entry.model, it.op, reply)))

    return None


def _answer_kernel_ioctl(session: Session, entry: Entry, it: wire.Ioctl) -> Answer:
    """An ioctl of another kernel's file; what it returns is the answer's `desc`."""
    asked = ask_mtrr(entry.model, entry.number, it.command, it.op)
    looks = isinstance(asked, RefuseIoctl) or asked.args["cmd"].startswith("GET")
    session.require_rights(entry, READ_RANGES if looks else SET_RANGES, "ioctl")
    reply = answer_mtrr(entry.model, it.op, session.engine.submit(asked))

    return wire.IoctlDone(it.request, reply.op, RETURNED.pack(reply.value))


def _answer_set_ioctl(session: Session, entry: Entry, it: wire.Ioctl) -> Answer:
    if not entry.rights & SET_RANGES:
        session.require_rights(entry, SET_RANGES, "ioctl")

    wait = wait_seconds(it.wait_ms)
    if wait is not None:
        session.check_wait("ioctl")

    desc = b"" if it.op.startswith(entry.null_pointer) else it.desc
    asked = decode_ioctl(
        entry.model,
        entry.number,
        it.command,
        it.op,
        desc,
        None,
        wait=wait,
        fence=it.fence or None,
    )
    if isinstance(asked, SetRange):
        answer = session.engine.submit(asked)
        if isinstance(answer, Pending):
            done = wire.IoctlDone(it.request, b"")
            return session.tasks.await_answer(it.request, answer, lambda _: done)
    else:
        session.engine.submit(asked)

    return wire.IoctlDone(it.request, b"")


def set_range(session: Session, entry: Entry, it: wire.Set) -> Answer:
    """SET."""
    wait = wait_seconds(it.wait_ms)
    if wait is not None:
        session.check_wait("ioctl")

    asked = decode_set(
        entry.model,
        entry.number,
        entry.model.set[0],
        it.arg,
        it.desc,
        wait=wait,
        fence=it.fence or None,
        lease=it.lease_ms / 1000 or None,
    )
    answer: SetOutcome | Pending[SetOutcome] = session.engine.submit(asked)
    if isinstance(answer, Pending):
        return session.tasks.await_answer(
            it.request, answer, lambda outcome: _set_done(session, it.request, outcome)
        )

    return _set_done(session, it.request, answer)


def _set_done(session: Session, request: int, outcome: SetOutcome) -> wire.SetDone:
    """The answer to SET."""
    slots, before, after, msrs, claimed, released, fence = outcome
    pack = wire.OUTCOME_SLOT.pack
    data = b"".join(
        [
            pack(
                slot,
                was.mr_base,
                was.mr_len,
                was.mr_flags,
                was.mr_owner,
                now.mr_base,
                now.mr_len,
                now.mr_flags,
                now.mr_owner,
            )
            for slot, was, now in zip(slots, before, after, strict=True)
        ]
    )
    if claimed or released:
        data += b"".join([slot.to_bytes(4, "little") for slot in (*claimed, *released)])

    if msrs:
        pack = wire.OUTCOME_MSR.pack
        data += b"".join([pack(number, *values) for number, values in msrs.items()])

    if len(data) + 16 > session.max_body:
        return wire.SetDone(request, fence or 0, wire.OUTCOME_LEFT_OUT, 0, 0, 0, b"")

    counts = (len(slots), len(claimed), len(released), len(msrs))

    return wire.SetDone(request, fence or 0, *counts, data)


def explain_address(session: Session, entry: Entry, it: wire.Explain) -> Answer:
    """EXPLAIN."""
    found = session.engine.submit(Explain(entry.number, it.address))

    return session.tasks.send_text(it, session.tasks.to_json(found._asdict()))


def claim_range(session: Session, entry: Entry, it: wire.Claim) -> Answer:
    """CLAIM."""
    wait = wait_seconds(it.wait_ms)
    session.check_claims(entry, it)
    if wait is not None:
        session.check_wait("claim")

    lease = it.lease_ms / 1000 or None
    answer = session.engine.submit(ClaimRange(entry.number, it.base, it.length, lease, wait))
    if isinstance(answer, Pending):
        return session.tasks.await_answer(
            it.request, answer, lambda claim: claimed_reply(it.request, claim, it.lease_ms)
        )

    return claimed_reply(it.request, answer, it.lease_ms)


def release_range(session: Session, entry: Entry, it: wire.Release) -> Answer:
    """RELEASE."""
    session.engine.submit(ReleaseRange(entry.number, it.base, it.length, it.fence or None))

    return wire.Done(it.request)


def renew_claim(session: Session, entry: Entry, it: wire.Renew) -> Answer:
    """RENEW; the fencing number says which claim, and the range must be its own."""
    lease, span = it.lease_ms / 1000 or None, (it.base, it.length) if it.length else None
    claim = session.engine.submit(RenewClaim(entry.number, it.fence, lease, span))

    return claimed_reply(it.request, claim, it.lease_ms)


def await_free(session: Session, entry: Entry, it: wire.Wait) -> Answer:
    """WAIT."""
    wait = wait_seconds(it.wait_ms)
    if wait is not None:
        session.check_wait("wait")

    asked = AwaitFree(entry.number, it.base, it.length, wait)
    answer = session.engine.submit(asked)
    done = wire.Done(it.request)
    if isinstance(answer, Pending):
        return session.tasks.await_answer(it.request, answer, lambda _: done)

    return done


def break_claims(session: Session, entry: Entry, it: wire.Break) -> Answer:
    """BREAK."""
    machine = entry.machine
    found = _find_foreign(session, machine, it)
    if not found:
        named = f" with fence {it.fence}" * bool(it.fence)
        where = f" in {it.base:#x}/{it.length:#x}" * bool(it.length)
        raise NoSuchRange(f"no other process has a claim{named}{where} on {machine.name}")

    steps = _break_each(session, machine.name, found, it.reason)
    if len(found) > _BREAKS_AT_ONCE:
        return session.tasks.start_break(it.request, steps)

    return wire.Done(it.request, [*steps][-1])


def _find_foreign(session: Session, machine: Machine, it: wire.Break) -> list[Claim]:
    """The claims of others that BREAK names, oldest first; a fence alone names one anywhere."""
    own = session.process.principal
    if it.fence and not it.length:
        claim = machine.claims.claims.get(it.fence)
        return [claim] if claim is not None and claim.process.id != own.id else []

    found = {it.fence: it for it in machine.claims.foreign(own, *check_span(it.base, it.length))}

    return [found[fence] for fence in sorted(found) if it.fence in (0, fence)]


def _break_each(session: Session, machine: str, found: list[Claim], reason: str) -> Iterator[int]:
    """Break claims, one in each step, which gives how many were; some may have ended before."""
    own, broken = session.process.principal, 0
    for claim in found:
        with suppress(NoSuchRange):
            break_claim(session.engine, BreakClaim(machine, claim.fence, reason, own))
            broken += 1

        yield broken


def wait_seconds(milliseconds: int) -> float | None:
    """A wait as the hub takes it: None does not wait."""
    if milliseconds == FOREVER:
        return math.inf

    return milliseconds / 1000 or None


def claimed_reply(request: int, claim: Claim, lease_ms: int) -> wire.Claimed:
    """The answer to a claim."""
    return wire.Claimed(request, lease_ms, claim.fence, claim.base, claim.end - claim.base)
