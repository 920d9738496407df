"""Every face is the stated one, as mypy sees it; checked with the rest, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memhub.blocking_device_file import MappableFile
    from memhub.device_file import AsyncDeviceFile, AsyncMappableFile
    from memhub.handle import Handle
    from memhub.service.blocking import BlockingHandle
    from memhub.service.client.handle import RemoteHandle
    from memhub.service.local import LocalHandle


def embedded(handle: Handle) -> AsyncDeviceFile:
    return handle


def client(handle: RemoteHandle) -> AsyncMappableFile:
    return handle


def blocking(handle: BlockingHandle) -> MappableFile:
    return handle


def local(handle: LocalHandle) -> MappableFile:
    return handle
