"""The asynchronous face of an open device file: `memhub.handles.device_file.AsyncDeviceFile`.

Each method awaits a checkpoint first and then does its work in one go (`Engine.submit`), so that
a cancelled caller has either changed nothing or changed it whole, with its record. The
`*_nowait` methods are the same without the checkpoint.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Self, TypeVar, final

import anyio

from memhub.arguments import take_seconds
from memhub.core.deciding.explain_many import ExplainMany
from memhub.core.memory.physical import NeedsDevice
from memhub.core.requests import (
    AwaitFree,
    ClaimRange,
    Explain,
    GetRanges,
    Pread,
    Pwrite,
    Read,
    ReleaseRange,
    RenewClaim,
    Seek,
    SetRange,
    Write,
)
from memhub.engine.lifecycle import abandon_file, close_file
from memhub.engine.pending import Pending
from memhub.escape import escape_controls
from memhub.faces.choice import face_of
from memhub.faces.freebsd import EVERY_SLOT, IoctlReply, remove_request, update_request
from memhub.handles.async_shell import await_answer, close_cause
from memhub.handles.cache_calls import CacheCalls
from memhub.handles.late_requests import LATE, find_submit, finish_late

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from memhub.abi import Buffer, RangeDesc
    from memhub.core.claims import Claim
    from memhub.core.files import OpenFile, Principal
    from memhub.core.machine import Machine
    from memhub.core.replies import Explanation, SetOutcome
    from memhub.core.requests import Request
    from memhub.engine.engine import Engine
    from memhub.handles.async_shell import OwnTurns

    OnClose = Callable[[int], None]

R = TypeVar("R")


@final
class Handle(CacheCalls):
    """An open `/dev/mem` or `/dev/kmem`; made by `Hub.open` and `Process.open`.

    Arguments, replies and errors of its methods are those of `AsyncDeviceFile`. A handle that
    is dropped unclosed is closed when it is collected, with a ResourceWarning.

    Attributes:
        number: the hub's number for it.
        file: what the hub knows of this open.
        machine: the machine.
    """

    def __init__(self, engine: Engine, number: int, on_close: OnClose, turns: OwnTurns) -> None:
        self._engine = engine
        self._submit = find_submit(engine)
        self._on_close = on_close
        self._checkpoint, self._last_turn = turns
        self.number = number
        self.file: OpenFile = engine.files.file(number)
        self.machine: Machine = engine.files.machine_of(number)
        self._ask_ioctl, self._encode = face_of(self.file.caller.device)

    def __repr__(self) -> str:
        name = escape_controls(f"{self.path} of {self.process.name}")

        return f"<Handle {self.number} on {name}{' closed' * self.closed}>"

    @property
    def path(self) -> str:
        """The name of the machine and of its device, as `NAME:/dev/mem`."""
        return self.file.caller.path

    @property
    def process(self) -> Principal:
        """Who opened it."""
        return self.file.caller.process

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return not self._engine.files.is_open(self.number)

    # Closing

    def close(self) -> None:
        """Close at once; nothing in it waits. Closing twice does nothing."""
        self._close_file("close")

    def _close_file(self, cause: str) -> None:
        if not self.closed:
            try:
                close_file(self._engine, self.number, cause)
            finally:
                self._on_close(self.number)

    async def aclose(self) -> None:
        """Close; done before the first await, so that no cancellation can prevent it."""
        await self._last_turn()
        self.close()
        await self._checkpoint()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close_file(close_cause(kind))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self._last_turn()
        self._close_file(close_cause(kind))

    def __del__(self) -> None:
        number = getattr(self, "number", None)
        if number is not None and self._engine.files.is_open(number):
            try:
                warnings.warn(f"{self!r} was never closed", ResourceWarning, 2, self)
            finally:
                abandon_file(self._engine, number)
                self._on_close(number)

    async def read(self, length: int) -> bytes:
        """Read at the handle's offset, and move it on."""
        await self._checkpoint()
        request = Read(self.number, length)
        try:
            return self._submit(request)
        except LATE as late:
            return await finish_late(self._engine, request, late, self._last_turn)

    async def pread(self, length: int, offset: int) -> bytes:
        """Read at `offset`, an unsigned 64-bit number; the handle's own does not move."""
        await self._checkpoint()
        request = Pread(self.number, length, offset)
        try:
            return self._submit(request)
        except LATE as late:
            return await finish_late(self._engine, request, late, self._last_turn)

    async def write(self, data: Buffer) -> int:
        """Write at the handle's offset, and move it on."""
        await self._checkpoint()
        request = Write(self.number, data)
        try:
            return self._submit(request)
        except LATE as late:
            return await finish_late(self._engine, request, late, self._last_turn)

    async def pwrite(self, data: Buffer, offset: int) -> int:
        """Write at `offset`, an unsigned 64-bit number; the handle's own does not move."""
        await self._checkpoint()
        request = Pwrite(self.number, data, offset)
        try:
            return self._submit(request)
        except LATE as late:
            return await finish_late(self._engine, request, late, self._last_turn)

    def read_nowait(self, length: int) -> bytes:
        """`read` without a checkpoint; `anyio.WouldBlock` where a device model takes part."""
        return self._move_nowait(Read(self.number, length))

    def pread_nowait(self, length: int, offset: int) -> bytes:
        """`pread` without a checkpoint; `anyio.WouldBlock` where a device model takes part."""
        return self._move_nowait(Pread(self.number, length, offset))

    def write_nowait(self, data: Buffer) -> int:
        """`write` without a checkpoint; `anyio.WouldBlock` where a device model takes part."""
        return self._move_nowait(Write(self.number, data))

    def pwrite_nowait(self, data: Buffer, offset: int) -> int:
        """`pwrite` without a checkpoint; `anyio.WouldBlock` where a device model takes part."""
        return self._move_nowait(Pwrite(self.number, data, offset))

    def _move_nowait(self, request: Request[R]) -> R:
        try:
            return self._engine.submit(request)
        except NeedsDevice as error:
            raise anyio.WouldBlock from error

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the handle's offset."""
        await self._checkpoint()
        return await self._answer_request(Seek(self.number, offset, whence))

    def seek_nowait(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """`seek` without a checkpoint."""
        return self._engine.submit(Seek(self.number, offset, whence))

    async def ioctl(
        self,
        request: int,
        op: Buffer,
        descs: Buffer | None = None,
        *,
        wait: float | None = None,
        fence: int | None = None,
    ) -> IoctlReply:
        """Make an ioctl in the device's own binary layout."""
        await self._checkpoint()
        asked = self._ask_ioctl(self.file.model, self.number, request, op, descs, wait, fence)
        if isinstance(asked, SetRange):
            await self._answer_request(asked)
            return IoctlReply(bytes(op), b"")
        try:
            reply = self._submit(asked)
        except LATE as late:
            reply = await finish_late(self._engine, asked, late, self._last_turn)
        return self._encode(self.file.model, op, reply)  # type: ignore[no-any-return]

    def ioctl_nowait(
        self, request: int, op: Buffer, descs: Buffer | None = None, *, fence: int | None = None
    ) -> IoctlReply:
        """`ioctl` without a checkpoint or a wait; `anyio.WouldBlock` if a commit takes time."""
        model = self.file.model
        asked = self._ask_ioctl(model, self.number, request, op, descs, None, fence)
        if isinstance(asked, SetRange):
            if self.machine.commit_ns:
                raise anyio.WouldBlock

            self._engine.submit(asked)
            return IoctlReply(bytes(op), b"")

        return self._encode(model, op, self._engine.submit(asked))  # type: ignore[no-any-return]

    async def ranges(self) -> tuple[RangeDesc, ...]:
        """The whole table as this process sees it; others' slots show MDF_BUSY."""
        await self._checkpoint()
        _, image = await self._answer_request(GetRanges(self.number, EVERY_SLOT))
        return self.file.model.unpack_table(image)

    async def range_array(self) -> npt.NDArray[np.void]:
        """The whole table as a structured array of shape `(slots,)`; see `DataModel.dtype`."""
        await self._checkpoint()
        _, image = await self._answer_request(GetRanges(self.number, EVERY_SLOT))
        return self.file.model.array(image)

    async def set_range(
        self,
        base: int,
        length: int,
        attribute: int | str,
        *,
        owner: str | bytes = "user",
        force: bool = False,
        wait: float | None = None,
        fence: int | None = None,
        lease: float | None = None,
    ) -> SetOutcome:
        """MEMRANGE_SET with MEMRANGE_SET_UPDATE."""
        await self._checkpoint()
        request = update_request(
            self.file.model,
            self.number,
            base,
            length,
            attribute,
            owner,
            force=force,
            wait=wait,
            fence=fence,
            lease=lease,
        )

        return await self._answer_request(request)

    async def remove_range(
        self, base: int, length: int, *, wait: float | None = None, fence: int | None = None
    ) -> SetOutcome:
        """MEMRANGE_SET with MEMRANGE_SET_REMOVE; arguments are those of `set_range`."""
        await self._checkpoint()
        model = self.file.model

        return await self._answer_request(
            remove_request(model, self.number, base, length, wait=wait, fence=fence)
        )

    async def explain(self, address: int) -> Explanation:
        """Which memory type an address has, and why."""
        await self._checkpoint()
        return await self._answer_request(Explain(self.number, address))

    async def explain_array(self, addresses: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Which memory types many addresses have, in one look-up."""
        await self._checkpoint()
        return await self._answer_request(ExplainMany(self.number, addresses))

    # Claims

    async def claim(
        self, base: int, length: int, *, lease: float | None = None, wait: float | None = None
    ) -> Claim:
        """Claim a stretch of addresses for this process, without changing an attribute."""
        await self._checkpoint()
        return await self._answer_request(ClaimRange(self.number, base, length, lease, wait))

    async def release(self, base: int, length: int, *, fence: int | None = None) -> None:
        """Give back this process's claims inside a range; the ranges stay programmed."""
        await self._checkpoint()
        await self._answer_request(ReleaseRange(self.number, base, length, fence))

    async def renew(self, fence: int, lease: float | None) -> Claim:
        """Let a claim run for `lease` more seconds from now; None lets it last."""
        await self._checkpoint()
        return await self._answer_request(RenewClaim(self.number, fence, lease))

    async def wait_free(self, base: int, length: int, wait: float) -> None:
        """Wait until nobody else holds a byte of a range, and claim nothing."""
        await self._checkpoint()
        await self._answer_request(AwaitFree(self.number, base, length, take_seconds("wait", wait)))

    async def _answer_request(self, request: Request[R]) -> R:
        try:
            answer: R | Pending[R] = self._submit(request)
        except LATE as late:
            return await finish_late(self._engine, request, late, self._last_turn)

        if not isinstance(answer, Pending):
            return answer
        return await await_answer(self._engine, answer, self._last_turn)
