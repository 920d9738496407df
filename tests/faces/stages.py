"""The faces, each on fresh machines with a log, a clock that stands still, and two processes."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio.from_thread import start_blocking_portal

from memhub import AuditLog, Hub, MachineSpec, ManualClock
from memhub.core.files import Principal
from memhub.handles.process import Process
from memhub.service.blocking import BlockingClient
from memhub.service.client import connect
from memhub.service.local import LocalClient, LocalHandle
from memhub.service.server import Server
from memhub.service.settings import ServiceConfig
from shell.kit import ARCHES, BOARD, OLD, PAT, News

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

NET = MachineSpec(name="net", arch="amd64", msrs={0xFE: 0x508, 0x2FF: 0x800}, kernel="netbsd-7")
SPECS = (PAT, OLD, BOARD, NET)
PROCESSES = ("first", "second")


class Stage:
    """One face.

    Args:
        openers: what opens a device file, by process.
        advance: lets seconds pass.
        log: the audit log.
    """

    def __init__(
        self,
        openers: Mapping[str, Callable[..., Any]],
        advance: Callable[[float], None],
        log: AuditLog,
    ) -> None:
        self.openers = openers
        self.advance = advance
        self._log = log
        self._news = News(Path(log.path))

    def records(self) -> list[dict[str, Any]]:
        """The records since the last call, without those of the log and the service themselves."""
        self._log.flush()

        return [
            it for it in self._news.read() if it["event"].split(".")[0] not in ("log", "service")
        ]


@contextmanager
def _log(folder: Path) -> Iterator[AuditLog]:
    folder.mkdir()
    with AuditLog.open(folder / "audit.jsonl") as log:
        yield log


@asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[Stage]:
    clock = ManualClock()
    with _log(folder) as log:
        async with Hub(SPECS, arches=ARCHES, log=log, clock=clock) as hub:
            openers = {who: hub.process(who).open for who in PROCESSES}
            yield Stage(openers, clock.advance, log)


@asynccontextmanager
async def client(folder: Path) -> AsyncIterator[Stage]:
    clock = ManualClock()
    with _log(folder) as log:
        async with (
            Hub(SPECS, arches=ARCHES, log=log, clock=clock) as hub,
            Server(hub, ServiceConfig(socket=folder / "s"), grace=0.1),
            connect(folder / "s", label="first") as first,
            connect(folder / "s", label="second") as second,
        ):
            openers = {"first": first.open, "second": second.open}
            yield Stage(openers, clock.advance, log)


@asynccontextmanager
async def blocking(folder: Path) -> AsyncIterator[Stage]:
    clock = ManualClock()
    with _log(folder) as log, start_blocking_portal("asyncio") as portal:
        hub = Hub(SPECS, arches=ARCHES, log=log, clock=clock)
        server = Server(hub, ServiceConfig(socket=folder / "s"), grace=0.1)
        with (
            portal.wrap_async_context_manager(hub),
            portal.wrap_async_context_manager(server),
            BlockingClient(folder / "s", label="first") as first,
            BlockingClient(folder / "s", label="second") as second,
        ):
            openers = {"first": first.open, "second": second.open}
            yield Stage(openers, lambda seconds: portal.call(clock.advance, seconds), log)


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Stage]:
    clock = ManualClock()
    with (
        _log(folder) as log,
        LocalClient(SPECS, arches=ARCHES, log=log, name="first", clock=clock) as client,
        Process(client._engine, Principal(2, "second")) as other,
    ):

        def open_second(*given: Any, **named: Any) -> LocalHandle:
            """A client has one process; the second one is made beside it."""
            handle = other.open_nowait(*given, **named)

            return LocalHandle(client._engine, handle, client._lock, client._time)

        yield Stage({"first": client.open, "second": open_second}, clock.advance, log)


STAGES = {"client": client, "blocking": blocking, "local": local}
