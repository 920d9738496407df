"""The two faces of a kvm descriptor: `Kvm` blocks, `AsyncKvm` awaits. Both read `/dev/kmem`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, final

from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.abi import Buffer
    from memhub.core.memory.kvm import Nlist
    from memhub.kvm.session import Session


class KmemFile(Protocol):
    """What `Kvm` reads: an open `/dev/kmem`, or an image that answers as one."""

    def pread(self, length: int, offset: int) -> bytes:
        """See `AsyncDeviceFile.pread`."""

    def pwrite(self, data: Buffer, offset: int) -> int:
        """See `AsyncDeviceFile.pwrite`."""

    def close(self) -> None:
        """See `AsyncDeviceFile.aclose`."""


class AsyncKmemFile(Protocol):
    """What `AsyncKvm` reads: an open `/dev/kmem`."""

    async def pread(self, length: int, offset: int) -> bytes:
        """See `AsyncDeviceFile.pread`."""

    async def pwrite(self, data: Buffer, offset: int) -> int:
        """See `AsyncDeviceFile.pwrite`."""

    async def aclose(self) -> None:
        """See `AsyncDeviceFile.aclose`."""


@final
class Kvm:
    """A kvm descriptor for callers that block; made by `memhub.kvm.open_live` and `open_image`.

    Args:
        file: what is read and written; it is closed with this.
        session: symbols and the last error.
    """

    def __init__(self, file: KmemFile, session: Session) -> None:
        self._file = file
        self._session = session

    def nlist(self, names: Iterable[str]) -> tuple[Nlist, ...]:
        """kvm_nlist(3): addresses of symbols.

        Args:
            names: the names, with or without a leading `_`.

        Returns:
            one entry for each name; `found` says whether there is such a symbol.

        Raises:
            KvmError: EBADF; it is closed.
        """
        return self._session.nlist(names)

    def read(self, address: int, length: int) -> bytes:
        """kvm_read(3): bytes of kernel memory, by the transfer rules of `/dev/kmem`.

        Args:
            address: kernel virtual.
            length: bytes.

        Returns:
            the bytes; fewer where the kernel answers a short count, and then `geterr` says
            `short read`.

        Raises:
            KvmError: EFAULT; nothing is mapped there, or no right to it. EBADF; closed. EINVAL; no
                length of a transfer. Else what the device says.
        """
        address, length = self._session.begin_read(address, length)
        try:
            return self._session.end_read(self._file.pread(length, address), length)
        except DeviceError as error:
            raise self._session.failed("kvm_read", error) from error

    def write(self, address: int, data: Buffer) -> int:
        """kvm_write(3): bytes into kernel memory, by the transfer rules of `/dev/kmem`.

        Args:
            address: kernel virtual.
            data: the bytes.

        Returns:
            how many were written; fewer where the kernel answers a short count.

        Raises:
            KvmError: EOPNOTSUPP; the kernel is dead. EBADF; closed, or not opened for writing.
                EFAULT; not mapped, or without the right. Else what the device says.
        """
        address, data = self._session.begin_write(address, data)
        try:
            return self._session.end_write(self._file.pwrite(data, address), len(data))
        except DeviceError as error:
            raise self._session.failed("kvm_write", error) from error

    def geterr(self) -> str:
        """kvm_geterr(3): the last error in words; empty where there was none."""
        return self._session.error

    @property
    def alive(self) -> bool:
        """Whether the kernel runs; an image of one is dead."""
        return self._session.alive

    def close(self) -> None:
        """kvm_close(3); twice is once."""
        if not self._session.closed:
            self._session.closed = True
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@final
class AsyncKvm:
    """A kvm descriptor on a live machine; see `Kvm` for each method.

    Args:
        file: the open `/dev/kmem`; it is closed with this.
        session: symbols and the last error.
    """

    def __init__(self, file: AsyncKmemFile, session: Session) -> None:
        self._file = file
        self._session = session

    def nlist(self, names: Iterable[str]) -> tuple[Nlist, ...]:
        """See `Kvm.nlist`; nothing in it waits."""
        return self._session.nlist(names)

    async def read(self, address: int, length: int) -> bytes:
        """See `Kvm.read`."""
        address, length = self._session.begin_read(address, length)
        try:
            return self._session.end_read(await self._file.pread(length, address), length)
        except DeviceError as error:
            raise self._session.failed("kvm_read", error) from error

    async def write(self, address: int, data: Buffer) -> int:
        """See `Kvm.write`."""
        address, data = self._session.begin_write(address, data)
        try:
            return self._session.end_write(await self._file.pwrite(data, address), len(data))
        except DeviceError as error:
            raise self._session.failed("kvm_write", error) from error

    def geterr(self) -> str:
        """See `Kvm.geterr`."""
        return self._session.error

    @property
    def alive(self) -> bool:
        """Whether the kernel runs, which it does."""
        return self._session.alive

    async def aclose(self) -> None:
        """kvm_close(3); twice is once."""
        if not self._session.closed:
            self._session.closed = True
            await self._file.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
