"""A service of some machines in a thread of this process, for tests that block."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from anyio.from_thread import start_blocking_portal

from memhub import Hub
from memhub.service.server import Server
from memhub.service.settings import ServiceConfig
from shell.kit import ARCHES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from memhub import MachineSpec


@asynccontextmanager
async def _serving(
    specs: tuple[MachineSpec, ...],
    path: Path,
    settings: ServiceConfig,
    addresses: list[str],
    options: dict[str, Any],
) -> AsyncIterator[Hub]:
    async with (
        Hub(specs, arches=ARCHES, **options) as hub,
        Server(hub, settings, socket_path=path, grace=0.1) as server,
    ):
        addresses += [it.replace("127.0.0.1", "localhost") for it in server.addresses]
        yield hub


@contextmanager
def served(
    path: Path,
    *specs: MachineSpec,
    settings: ServiceConfig | None = None,
    addresses: list[str] | None = None,
    **options: Any,
) -> Iterator[Hub]:
    """Serve machines on a socket.

    Args:
        path: the socket.
        specs: the machines.
        settings: of the service.
        addresses: is given the addresses, that of the socket first.
        options: of the hub.

    Yields:
        the hub; it belongs to another thread, so look at it and no more.
    """
    with start_blocking_portal("asyncio") as portal:
        found = [] if addresses is None else addresses
        serving = _serving(specs, path, settings or ServiceConfig(), found, options)
        with portal.wrap_async_context_manager(serving) as hub:
            yield hub
