"""The interface between the supervisor and the devices.

Both sides are synchronous. `over_client` implements it on a client; tests use memory of their
own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from memhub.abi import LP64, DataModel
from memhub.errors import NotSupported, UnknownIoctl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


#: The names that are files with a position of their own.
STREAMS: Final = frozenset({"/proc/mtrr", "/sys/kernel/debug/x86/pat_memtype_list"})


class CallerMemory(Protocol):
    """The memory of the program, for the nested pointers of an ioctl.

    Both raise BadAddress where the program itself would get EFAULT.
    """

    def fetch(self, address: int, size: int) -> bytes:
        """Read exactly `size` bytes at `address`."""

    def store(self, address: int, data: bytes) -> None:
        """Write all of `data` at `address`."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """A piece of memory that the program may map.

    Attributes:
        fd: a descriptor that the kernel can map; its own access mode bounds what the program
            can do, now and by a later mprotect(2). The session keeps it open and closes it; the
            supervisor does neither.
        offset: where in the file the first byte of the piece lies, in bytes, page aligned.
        length: bytes, in whole pages.
        private: the program's writes stay with it; it gets a private mapping where it may write.
    """

    fd: int
    offset: int
    length: int
    private: bool = False


class DeviceSession(Protocol):
    """One open device, as one open file description is for a kernel.

    The supervisor keeps the file offset and the access mode, and checks neither address nor
    content. Calls may come from several threads at once. `close` comes once, and may come while
    a call still waits; that call should then fail.
    """

    def may_wait(self, request: int | None) -> bool:
        """Whether the operation may have to wait, for a commit or another process.

        Args:
            request: the ioctl, or None for a transfer.

        Returns:
            True to have the operation performed on a thread of its own, so that other threads
            and processes of the program do not wait with it. That adds some 0.1 ms.
        """

    def pread(self, length: int, offset: int) -> bytes:
        """Read up to `length` bytes at `offset`; fewer is a short count.

        Raises:
            DeviceError: the program gets only its errno; `moved` advances the file offset.
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
            the argument to write back to the program, or None to leave it as it is.

        Raises:
            DeviceError: UnknownIoctl for a number that the device does not know, or the refusal.
        """

    def map(self, offset: int, length: int, *, writable: bool) -> Sequence[Mapping]:
        """Give memory for mmap(2).

        Args:
            offset: first byte, page aligned.
            length: bytes, in whole pages.
            writable: the program asks for a shared mapping that it can write.

        Returns:
            the pieces in order, of two files at most.

        Raises:
            DeviceError: there is no such memory, or it may not be mapped.
        """

    def close(self) -> None:
        """Close: every process of the program has closed its last descriptor."""


class IoctlAnswer(NamedTuple):
    """What an ioctl of a stream left behind.

    Attributes:
        argument: what to write back to the program.
        value: what the call returns.
    """

    argument: bytes
    value: int


class StreamSession(DeviceSession, Protocol):
    """An open file whose position is kept behind it, as that of `/proc/mtrr` is by its kernel.

    Its `ioctl` is `answer_ioctl`, whose value the program gets.
    """

    def read(self, length: int) -> bytes:
        """Read up to `length` bytes where the file stands."""

    def write(self, data: bytes) -> int:
        """Write `data`; bytes taken."""

    def seek(self, offset: int, whence: int) -> int:
        """Move to another position; lseek(2)."""

    def answer_ioctl(self, request: int, argument: bytes) -> IoctlAnswer:
        """Perform an ioctl; see `ioctl`."""


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
    """Decode a MEMRANGE ioctl, for a backend that has no ioctl of its own.

    Args:
        request: the number.
        argument: a packed `struct mem_range_op`.
        memory: where `mo_desc` points.
        get: answers MEMRANGE_GET: takes `mo_arg[0]`, returns its new value and the packed
            descriptors to copy out (none for a count query).
        put: performs MEMRANGE_SET: takes one packed descriptor and `mo_arg[0]`.
        model: the layout that the program uses.

    Returns:
        the changed argument of MEMRANGE_GET; None for MEMRANGE_SET, which only reads its argument.

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
            raise NotSupported(f"mo_arg[0] is {operation}, not 0 (update) or 1 (remove)")

        put(desc, operation)
        return None

    raise UnknownIoctl(f"mem(4) has no ioctl {request:#x}")
