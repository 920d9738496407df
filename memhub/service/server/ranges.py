"""Requests for ranges and claims that are answered at once, or handed to `Later`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, cast

import orjson

from memhub.core.ranges.commits import SetRequest
from memhub.errors import InvalidArgument, NoSuchRange, NotSupported
from memhub.service import wire
from memhub.service.server.base import SessionBase
from memhub.service.server.rights import BREAK_CLAIMS, READ_RANGES, SET_RANGES

if TYPE_CHECKING:
    from memhub.core.claims.claim import Claim
    from memhub.core.requests import Outcome
    from memhub.service.server.base import Answer, Entry

FOREVER: Final = 0xFFFFFFFF


class RangeRequests(SessionBase):
    """IOCTL, EXPLAIN, CLAIM, RELEASE, RENEW, WAIT and BREAK."""

    def ioctl(self, it: wire.Ioctl) -> Answer:
        """IOCTL: a GET, or a SET that takes effect at once."""
        entry = self.entries.get(it.handle)
        if entry is None:
            entry = self.entry(it.handle)

        command = it.command
        if command in entry.file.model.set:
            return self._set(it, entry)

        if not entry.may & READ_RANGES:
            self.need(entry, READ_RANGES, "ioctl")

        most = self.max_body - 4 - len(it.op)
        room = it.room if it.room < most else most
        if it.op.startswith(entry.null):
            room = 0

        op, descs = self._dispatch.ranges.ioctl_get(entry.file, command, it.op, room)

        return wire.IoctlDone(it.request, op, descs)

    def _set(self, it: wire.Ioctl, entry: Entry) -> Answer:
        if not entry.may & SET_RANGES:
            self.need(entry, SET_RANGES, "ioctl")

        ranges = self._dispatch.ranges
        descs = b"" if it.op.startswith(entry.null) else it.desc
        request = ranges.decode_set(entry.file, it.command, it.op, descs)
        if it.fence:
            request = SetRequest(entry.file, request.arg, request.desc, it.fence)

        if it.wait_ms or entry.file.machine.commit_latency > 0:
            return self.later.set_range(it, entry.handle, request, seconds(it.wait_ms))

        ranges.set(request)

        return wire.IoctlDone(it.request, b"")

    def explain(self, it: wire.Explain) -> Answer:
        """EXPLAIN."""
        entry = self.entry(it.handle)
        self.need(entry, READ_RANGES, "explain")
        machine, address = entry.file.machine, it.address
        if machine.ranges.table is None:
            raise NotSupported(f"{machine.name} has no range operations: its types are not known")

        if entry.file.device == "kmem":
            address = machine.kernel.physical(address, 1)

        if address >= machine.memory.top:
            raise InvalidArgument(
                f"address {address:#x} is outside the {machine.memory.phys_bits} physical "
                f"address bits of {machine.name}"
            )

        answer = machine.ranges.table.types.lookup(address)
        facts = {
            "address": it.address,
            "physical": address,
            "type": answer.type,
            "why": answer.why,
            "implementation_defined": answer.implementation_defined,
        }

        return self.later.text(it, orjson.dumps(facts))

    # Claims

    def claim(self, it: wire.Claim) -> Answer:
        """CLAIM."""
        entry = self.entry(it.handle)
        self.need(entry, SET_RANGES, "claim")
        lease = it.lease_ms / 1000 or None
        if it.wait_ms:
            return self.later.claim(it, entry.handle, lease, seconds(it.wait_ms))

        done = self._dispatch.claims.claim(entry.file, it.base, it.length, lease)

        return claimed(it.request, cast("Outcome", done).reply, it.lease_ms)

    def release(self, it: wire.Release) -> Answer:
        """RELEASE."""
        entry = self.entry(it.handle)
        self.need(entry, SET_RANGES, "release")
        if it.fence:
            entry.file.machine.ranges.ownership.check_fence(entry.file.process, it.fence)

        self._dispatch.claims.release(entry.file, it.base, it.length)

        return wire.Done(it.request)

    def renew(self, it: wire.Renew) -> Answer:
        """RENEW; the fencing number says which claim."""
        entry = self.entry(it.handle)
        self.need(entry, SET_RANGES, "renew")
        done = self._dispatch.claims.renew(entry.file, it.fence, it.lease_ms / 1000 or None)

        return claimed(it.request, done.reply, it.lease_ms)

    def wait(self, it: wire.Wait) -> Answer:
        """WAIT."""
        entry = self.entry(it.handle)
        self.need(entry, READ_RANGES, "wait")

        return self.later.wait_free(it, entry.handle, seconds(it.wait_ms) or 0.0)

    def break_claims(self, it: wire.Break) -> Answer:
        """BREAK."""
        entry = self.entry(it.handle)
        self.need(entry, BREAK_CLAIMS, "break")
        file, end = entry.file, it.base + it.length
        found = [
            claim
            for claim in self.hub.claims(file.machine.name)
            if claim.process is not file.process
            and (claim.fence == it.fence if it.fence else claim.base < end and it.base < claim.end)
        ]
        if not found:
            what = f"fence {it.fence}" if it.fence else f"{it.base:#x}/{it.length:#x}"
            raise NoSuchRange(f"no other process has a claim with {what} on {file.machine.name}")

        for claim in found:
            self._dispatch.claims.break_claim(file.machine, claim.fence, it.reason)

        return wire.Done(it.request, len(found))


def seconds(milliseconds: int) -> float | None:
    """A wait as the hub takes it: None does not wait."""
    if milliseconds == FOREVER:
        return math.inf

    return milliseconds / 1000 or None


def claimed(request: int, claim: Claim, lease_ms: int) -> wire.Claimed:
    """The answer to a claim."""
    return wire.Claimed(request, lease_ms, claim.fence, claim.base, claim.end - claim.base)
