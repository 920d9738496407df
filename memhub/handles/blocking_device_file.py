"""What an open device file can do for callers that block: the twin of `AsyncDeviceFile`.

Names, parameters and replies are those of `memhub.handles.device_file`, where each is described; a
test holds the two against each other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, Self

from memhub.handles.device_caches import CacheFile
from memhub.handles.device_kernel import KernelFile

if TYPE_CHECKING:
    import mmap

    import numpy as np
    import numpy.typing as npt

    from memhub.abi import Buffer, IoctlReply, RangeDesc
    from memhub.core.replies import ClaimReply, Explanation, SetOutcome, SharedMemory


class DeviceFile(CacheFile, KernelFile, Protocol):
    """An open device file for callers that block; see `AsyncDeviceFile` for each method."""

    @property
    def path(self) -> str:
        """The name of the machine and of its device, as `NAME:/dev/mem`."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""

    # Closing

    def close(self) -> None:
        """See `AsyncDeviceFile.aclose`; closing twice does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...

    # Memory

    def read(self, length: int) -> bytes:
        """See `AsyncDeviceFile.read`."""

    def pread(self, length: int, offset: int) -> bytes:
        """See `AsyncDeviceFile.pread`."""

    def write(self, data: Buffer) -> int:
        """See `AsyncDeviceFile.write`."""

    def pwrite(self, data: Buffer, offset: int) -> int:
        """See `AsyncDeviceFile.pwrite`."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See `AsyncDeviceFile.seek`."""

    # Ranges

    def ioctl(
        self,
        request: int,
        op: Buffer,
        descs: Buffer | None = None,
        *,
        wait: float | None = None,
        fence: int | None = None,
    ) -> IoctlReply:
        """See `AsyncDeviceFile.ioctl`."""

    def ranges(self) -> tuple[RangeDesc, ...]:
        """See `AsyncDeviceFile.ranges`."""

    def range_array(self) -> npt.NDArray[np.void]:
        """See `AsyncDeviceFile.range_array`."""

    def set_range(
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
    ) -> SetOutcome | None:
        """See `AsyncDeviceFile.set_range`."""

    def remove_range(
        self, base: int, length: int, *, wait: float | None = None, fence: int | None = None
    ) -> SetOutcome | None:
        """See `AsyncDeviceFile.remove_range`."""

    def explain(self, address: int) -> Explanation:
        """See `AsyncDeviceFile.explain`."""

    def explain_array(self, addresses: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """See `AsyncDeviceFile.explain_array`."""

    # Claims

    def claim(
        self, base: int, length: int, *, lease: float | None = None, wait: float | None = None
    ) -> ClaimReply:
        """See `AsyncDeviceFile.claim`."""

    def release(self, base: int, length: int, *, fence: int | None = None) -> None:
        """See `AsyncDeviceFile.release`."""

    def renew(self, fence: int, lease: float | None) -> ClaimReply:
        """See `AsyncDeviceFile.renew`."""

    def wait_free(self, base: int, length: int, wait: float) -> None:
        """See `AsyncDeviceFile.wait_free`."""


class MappableFile(DeviceFile, Protocol):
    """As `AsyncMappableFile`, for callers that block."""

    def map(self, *, write: bool = False) -> SharedMemory:
        """See `AsyncMappableFile.map`."""

    def map_rom(self) -> SharedMemory:
        """See `AsyncMappableFile.map_rom`."""

    def map_span(self, base: int, length: int, *, write: bool = False) -> mmap.mmap:
        """See `AsyncMappableFile.map_span`."""
