"""MEMRANGE_GET, and ioctls that are refused before they are one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.core.decision import Decision
from memhub.core.events import IoctlRefused, RangesRead
from memhub.core.instant import make_tuple
from memhub.errors import BadAddress, DeviceError

if TYPE_CHECKING:
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.core.requests import GetRanges, RefuseIoctl


def decide_get(machine: Machine, request: GetRanges, now: Instant) -> Decision:
    """MEMRANGE_GET (`sys/dev/mem/memutil.c`, `mem_range_attr_get`)."""
    file = machine.files.files[request.handle]
    count, reply = request.count, (0, b"")
    error: DeviceError | None = None
    try:
        table = machine.table
        if table is None or not table.state.slots:
            table = machine.require_table()

        size = len(table.state.slots)
        if count <= 0:
            reply = (size, b"")
        else:
            image = machine.views.show(
                table, machine.claims, machine.commits, file.caller.process, file.model
            )
            if count < size:
                size, image = count, image[: count * file.model.desc.size]

            reply = (size, image)
            if request.room is not None and len(image) > request.room:
                raise BadAddress(
                    f"{size} descriptors take {len(image)} bytes, "
                    f"and only {request.room} are behind mo_desc"
                )
    except DeviceError as refusal:
        error = refusal

    if not machine.recorded:
        return make_tuple(Decision, (reply, error, (), False, None))

    event = make_tuple(RangesRead, (file.caller, now, count, machine.generation, error))

    return make_tuple(Decision, (reply, error, (event,), False, None))


def decide_refuse_ioctl(machine: Machine, request: RefuseIoctl, now: Instant) -> Decision:
    """An ioctl that was refused before it was one."""
    caller, error = machine.files.files[request.handle].caller, request.error
    if request.needs_driver:
        try:
            machine.require_table()
        except DeviceError as earlier:
            error = earlier

    event = IoctlRefused(caller, now, request.number, error)

    return Decision(None, error, (event,), changes=False)
