"""Range ioctls: MEMRANGE_GET and MEMRANGE_SET, at once, in time, or after a wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memhub.abi import RangeDesc
from memhub.audit import records
from memhub.core.claims.waiting import Ticket
from memhub.core.ranges.commits import Commit, SetRequest
from memhub.core.requests import Outcome
from memhub.dispatch.files import check
from memhub.errors import BadAddress, BadHandle, Cancelled, DeviceError, UnknownIoctl

if TYPE_CHECKING:
    from memhub.abi import Buffer
    from memhub.core.machine import OpenFile
    from memhub.dispatch.context import Context


class IoctlReply(NamedTuple):
    """What an ioctl leaves behind.

    Attributes:
        op: `struct mem_range_op` as it is now.
        descs: the descriptors that `mo_desc` points to now; empty if none were written.
    """

    op: bytes
    descs: bytes


class RangeDesk:
    """Where range ioctls are answered.

    Args:
        context: the machines and the journal.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    # Binary

    def is_set(self, file: OpenFile, number: int) -> bool:
        """Whether an ioctl number is MEMRANGE_SET's, in either encoding."""
        return number & 0xFFFFFFFF in file.model.set

    def ioctl_get(self, file: OpenFile, number: int, op: Buffer, room: int | None) -> IoctlReply:
        """Answer a binary ioctl that is not MEMRANGE_SET.

        Args:
            file: the handle.
            number: the request number; its upper 32 bits are ignored, as the kernel does.
            op: `struct mem_range_op`.
            room: bytes behind `mo_desc`, or None for as many as it takes.

        Raises:
            BadHandle: EBADF; the file is closed.
            UnknownIoctl: ENOTTY; not one of mem(4)'s.
            BadAddress: EFAULT; a buffer has the wrong size.
            NotSupported: EOPNOTSUPP.
            NoRanges: ENXIO.
        """
        check(file)
        context, model = self._context, file.model
        journal = context.journal
        began = context.clock.now().mono_ns if journal.active else 0
        if number & 0xFFFFFFFF != model.get:
            raise self.refuse(file, number, began, unknown(file, number))

        if len(op) != model.op.size:
            raise self.refuse(file, number, began, bad_op(file, op))

        mo_desc, count, spare = model.op.unpack(op)
        n, image = self._get(file, count, began, number, room)

        return IoctlReply(model.op.pack(mo_desc, n, spare), image)

    def _get(
        self, file: OpenFile, count: int, began: int, number: int, room: int | None
    ) -> tuple[int, bytes]:
        context, machine = self._context, file.machine
        if machine.has_deadlines:
            context.catch_up(machine)

        journal = context.journal
        try:
            answer = machine.ranges.get(file.process, count, file.model)
            if room is not None and len(answer[1]) > room:
                raise BadAddress(
                    f"{answer[0]} descriptors take {len(answer[1])} bytes, "
                    f"and only {room} are behind mo_desc"
                )
        except DeviceError as error:
            if journal.active:
                now = context.clock.now()
                journal.note(records.got(file, now, began, count, machine.generation, error))

            raise

        if journal.active:
            now = context.clock.now()
            journal.note(records.got(file, now, began, count, machine.generation))

        return answer

    def get(self, file: OpenFile, count: int) -> tuple[int, bytes]:
        """MEMRANGE_GET without the binary dress.

        Returns:
            the number that `mo_arg[0]` would hold, and the packed descriptors.
        """
        check(file)

        return self._get(file, count, self._context.clock.now().mono_ns, file.model.get, None)

    def decode_set(self, file: OpenFile, number: int, op: Buffer, descs: Buffer) -> SetRequest:
        """Read a binary MEMRANGE_SET.

        Raises:
            BadHandle: EBADF; the file is closed.
            BadAddress: EFAULT; a buffer has the wrong size.
        """
        check(file)
        model = file.model
        if len(op) != model.op.size:
            raise self.refuse(file, number, self._context.clock.now().mono_ns, bad_op(file, op))

        if len(descs) != model.desc.size:
            began = self._context.clock.now().mono_ns
            raise self.refuse(file, number, began, self._bad_desc(file, descs))

        base, length, flags, owner = model.desc.unpack(descs)
        _, arg, _ = model.op.unpack(op)

        return SetRequest(file, arg, RangeDesc(base, length, flags, owner[:7] + b"\0"))

    def _bad_desc(self, file: OpenFile, descs: Buffer) -> DeviceError:
        # The kernel looks for a driver before it copies the descriptor in.
        try:
            file.machine.ranges.require()
        except DeviceError as error:
            return error

        return BadAddress(
            f"a {file.model.name} mem_range_desc is {file.model.desc.size} bytes, and "
            f"{len(descs)} are behind mo_desc"
        )

    def refuse(self, file: OpenFile, number: int, began: int, error: DeviceError) -> DeviceError:
        """Record an ioctl that was refused before it was one; the caller raises the error."""
        journal = self._context.journal
        if journal.active:
            now = self._context.clock.now()
            journal.note(records.malformed(file, now, began, number & 0xFFFFFFFF, error))

        return error

    # MEMRANGE_SET

    def set(self, request: SetRequest) -> Outcome:
        """MEMRANGE_SET that takes effect at once.

        Returns:
            what it changed.

        Raises:
            DeviceError: refused, with what stood in the way; nothing has changed.
        """
        check(request.file)
        context, machine = self._context, request.file.machine
        if machine.has_deadlines:
            context.catch_up(machine)

        now = context.clock.now()
        outcome = machine.ranges.set(request, now)
        if context.journal.active:
            context.seal(machine, self.record(request, now.mono_ns, outcome))

        if outcome.error is not None:
            raise outcome.error

        if request.lease is not None or machine.queue.tickets:
            self._changed(request, outcome)

        return outcome

    def _changed(self, request: SetRequest, outcome: Outcome) -> None:
        machine = request.file.machine
        if request.lease is not None and outcome.claimed:
            self._context.set_deadline(machine, self._context.clock.now().mono + request.lease)

        if machine.queue.tickets:
            self._context.pump(machine)

    def _seal(self, request: SetRequest, began: int, outcome: Outcome) -> None:
        context, machine = self._context, request.file.machine
        if context.journal.active:
            context.seal(machine, self.record(request, began, outcome))

    def record(self, request: SetRequest, began: int, outcome: Outcome) -> dict[str, object]:
        """The record of a MEMRANGE_SET that has come to an end."""
        context = self._context
        generation = request.file.machine.generation

        return records.was_set(request, context.clock.now(), began, generation, outcome)

    def begin(self, request: SetRequest, wait: float | None) -> Commit | Ticket | Outcome:
        """Start a MEMRANGE_SET that takes time or may wait.

        Args:
            request: the request.
            wait: seconds to wait for what it needs; None answers EBUSY at once.

        Returns:
            a Commit to `finish` after the machine's latency, a Ticket that is woken when its
            outcome is there, or the Outcome if there was nothing to wait for.

        Raises:
            DeviceError: refused; nothing has changed.
        """
        check(request.file)
        context, machine = self._context, request.file.machine
        context.catch_up(machine)
        now = context.clock.now()
        end = request.desc.mr_end
        ticket = Ticket(
            file=request.file,
            op="set",
            base=request.desc.mr_base,
            end=end,
            attempt=lambda: self._attempt(request),
            record=lambda outcome, _: self.record(request, now.mono_ns, outcome),
            since=now.wall,
        )
        outcome = context.try_or_wait(machine, ticket, wait)
        if outcome is None:
            return ticket

        if outcome.error is not None:
            self._seal(request, now.mono_ns, outcome)
            raise outcome.error

        if isinstance(outcome.reply, Commit):
            return outcome.reply

        self._seal(request, now.mono_ns, outcome)
        self._changed(request, outcome)

        return outcome

    def _attempt(self, request: SetRequest) -> Outcome:
        machine, now = request.file.machine, self._context.clock.now()
        if machine.commit_latency > 0:
            return machine.ranges.begin(request, now)

        return machine.ranges.set(request, now)

    def finish(self, commit: Commit) -> Outcome:
        """Let a commit take effect.

        Raises:
            DeviceError: refused after all; nothing has changed.
        """
        context, request = self._context, commit.request
        machine = request.file.machine
        if request.file.closed or commit not in machine.ranges.commits:
            machine.ranges.abort(commit)
            error = BadHandle(f"{request.file.path} was closed during the commit")
            self._seal(request, commit.began, Outcome(error=error))
            raise error

        context.catch_up(machine)
        outcome = machine.ranges.finish(commit, context.clock.now())
        try:
            self._seal(request, commit.began, outcome)
        finally:
            context.pump(machine)

        if outcome.error is not None:
            raise outcome.error

        self._changed(request, outcome)

        return outcome

    def abort(self, commit: Commit) -> None:
        """End a commit without effect: its caller was cancelled."""
        machine = commit.request.file.machine
        machine.ranges.abort(commit)
        gone = Outcome(error=Cancelled("cancelled before its effect"))
        try:
            self._seal(commit.request, commit.began, gone)
        finally:
            self._context.pump(machine)


def unknown(file: OpenFile, number: int) -> UnknownIoctl:
    """The ENOTTY of a request number that is not mem(4)'s."""
    model = file.model

    return UnknownIoctl(
        f"ioctl {number & 0xFFFFFFFF:#x} is none of {model.name}'s MEMRANGE_GET {model.get:#x} "
        f"and MEMRANGE_SET {model.set[0]:#x} (or {model.set[1]:#x} as Linux encodes it)"
    )


def bad_op(file: OpenFile, op: Buffer) -> BadAddress:
    """The EFAULT of a `struct mem_range_op` of the wrong size."""
    model = file.model

    return BadAddress(f"a {model.name} mem_range_op is {model.op.size} bytes, not {len(op)}")
