"""What the supervisor asks of whoever owns the devices.

Both sides are synchronous: one implementation stands on the blocking client, another on an
embedded hub, and tests use memory of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from memhub.abi import LP64, DataModel
from memhub.errors import NotSupported, UnknownIoctl

if TYPE_CHECKING:
    from collections.abc import Callable


class CallerMemory(Protocol):
    """The memory of the program, as an ioctl's nested pointers need it.

    Both raise BadAddress where the program itself would get EFAULT.
    """

    def fetch(self, address: int, size: int) -> bytes:
        """Read exactly `size` bytes at `address`."""

    def store(self, address: int, data: bytes) -> None:
        """Write all of `data` at `address`."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """Memory that the program may map.

    Attributes:
        fd: a descriptor that the kernel can map; its own access mode bounds what the program
            can do, now and by a later mprotect(2). It stays the session's: the supervisor
            neither keeps nor closes it.
        offset: where in the file the first byte asked for lies, in bytes, page aligned.
    """

    fd: int
    offset: int


class DeviceSession(Protocol):
    """One open device: what one open file description is to a kernel.

    The supervisor keeps the file offset and the access mode, and checks neither address nor
    content. Calls may come from several threads at once. `close` comes once, and may come while
    a call that waits is in progress; that call should then fail.
    """

    def may_wait(self, request: int | None) -> bool:
        """Whether the operation could wait for something other than the machine itself.

        Args:
            request: the ioctl, or None for a transfer.

        Returns:
            True to have the operation made on a thread of its own, so that other threads and
            processes of the program do not wait with it. It costs that operation some 0.1 ms.
        """

    def pread(self, length: int, offset: int) -> bytes:
        """Read up to `length` bytes at `offset`; fewer is a short count.

        Raises:
            DeviceError: nothing is returned to the program but its errno; `moved` advances the
                file offset.
        """

    def pwrite(self, data: bytes, offset: int) -> int:
        """Write `data` at `offset`.

        Returns:
            bytes written; fewer is a short count.

        Raises:
            DeviceError: as `pread`.
        """

    def ioctl(self, request: int, argument: bytes, memory: CallerMemory) -> bytes | None:
        """Perform an ioctl.

        Args:
            request: the number, as an unsigned 32-bit integer.
            argument: the bytes that the program's argument points to, as many as the number
                declares; empty where it declares none.
            memory: for what the argument points to in turn.

        Returns:
            the argument as the program shall find it, or None to leave it alone.

        Raises:
            DeviceError: UnknownIoctl for a number that the device does not know, or the refusal.
        """

    def map(self, offset: int, length: int, *, writable: bool) -> Mapping:
        """Offer memory for mmap(2).

        Args:
            offset: first byte, page aligned.
            length: bytes; the whole of it must lie together in one file.
            writable: the program asks for a shared mapping that it can write.

        Raises:
            DeviceError: there is no such memory, or it may not be mapped.
        """

    def close(self) -> None:
        """The last descriptor is gone, in every process of the program."""


class DeviceBackend(Protocol):
    """The devices, as one process of the hub sees them."""

    def open(self, path: str, flags: int) -> DeviceSession:
        """Open a device.

        Args:
            path: one of the names that the supervisor was given.
            flags: the host's `O_*` flags.

        Raises:
            DeviceError: the open is refused.
        """


def memrange_ioctl(
    request: int,
    argument: bytes,
    memory: CallerMemory,
    *,
    get: Callable[[int], tuple[int, bytes]],
    put: Callable[[bytes, int], None],
    model: DataModel = LP64,
) -> bytes | None:
    """Take a MEMRANGE ioctl apart, for a backend that has no ioctl face of its own.

    Args:
        request: the number.
        argument: a packed `struct mem_range_op`.
        memory: where `mo_desc` points.
        get: answers MEMRANGE_GET: takes `mo_arg[0]`, returns its new value and the packed
            descriptors to copy out (none for a count query).
        put: performs MEMRANGE_SET: takes one packed descriptor and `mo_arg[0]`.
        model: the layout that the program uses.

    Returns:
        the changed argument of MEMRANGE_GET; None for MEMRANGE_SET, which only reads its own.

    Raises:
        UnknownIoctl: the number is neither.
        NotSupported: `mo_arg[0]` of MEMRANGE_SET is neither UPDATE nor REMOVE.
        BadAddress: `mo_desc` cannot be reached.
    """
    if request == model.get:
        mo_desc, limit, rest = model.op.unpack(argument)
        count, table = get(limit)
        if table:
            memory.store(mo_desc, table)

        return model.op.pack(mo_desc, count, rest)

    if request in model.set:
        mo_desc, operation, _ = model.op.unpack(argument)
        desc = memory.fetch(mo_desc, model.desc.size)
        if operation not in (0, 1):
            raise NotSupported(f"mo_arg[0] {operation} is neither update 0 nor remove 1")

        put(desc, operation)
        return None

    raise UnknownIoctl(f"ioctl {request:#x} is none of mem(4)'s")
