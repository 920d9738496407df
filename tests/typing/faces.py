"""Every face is the stated one, as mypy sees it; checked with the rest, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from memhub.handles.blocking_device_file import MappableFile
    from memhub.handles.device_file import AsyncDeviceFile, AsyncMappableFile
    from memhub.handles.handle import Handle
    from memhub.rig import AsyncClient, BlockingRigClient
    from memhub.service.blocking import BlockingClient, BlockingHandle
    from memhub.service.client import RemoteHub
    from memhub.service.client.handle import RemoteHandle
    from memhub.service.local import LocalClient, LocalHandle


class SnapshotCalls(Protocol):
    """What every client that blocks can do with all machines."""

    def take_snapshot(self, machine: str | None = None) -> bytes: ...
    def restore_snapshot(self, file: bytes, machine: str | None = None) -> list[str]: ...
    def reset(self, machine: str | None = None) -> list[str]: ...


class AsyncSnapshotCalls(Protocol):
    """The same for clients that await."""

    async def take_snapshot(self, machine: str | None = None) -> bytes: ...
    async def restore_snapshot(self, file: bytes, machine: str | None = None) -> list[str]: ...
    async def reset(self, machine: str | None = None) -> list[str]: ...


def embedded(handle: Handle) -> AsyncDeviceFile:
    return handle


def client(handle: RemoteHandle) -> AsyncMappableFile:
    return handle


def blocking(handle: BlockingHandle) -> MappableFile:
    return handle


def local(handle: LocalHandle) -> MappableFile:
    return handle


def blocking_client(
    client: BlockingClient | LocalClient | BlockingRigClient,
) -> SnapshotCalls:
    return client


def async_client(client: RemoteHub | AsyncClient) -> AsyncSnapshotCalls:
    return client
