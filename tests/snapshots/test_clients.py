"""Every client takes, restores and resets alike: embedded or over a service, blocking or not."""

from __future__ import annotations

from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from memhub import Hub
from memhub.abi import MDF_UNCACHEABLE
from memhub.errors import InvalidArgument, NoSuchDevice
from memhub.rig.clients import Clients
from memhub.service.blocking import BlockingClient
from memhub.service.client import connect
from memhub.service.local import LocalClient
from service.served import served
from shell.kit import ARCHES, MTRR, PAT, M

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def blocking(kind: str, folder: Path) -> Iterator[Any]:
    if kind == "local":
        with LocalClient([MTRR, PAT], arches=ARCHES) as local:
            yield local
    elif kind == "embedded rig":
        hub = Hub([MTRR, PAT], arches=ARCHES)
        hub.begin()
        with Clients(hub, "", awaiting=False)("X") as client:
            yield client

        hub.end()
    else:
        path = folder / "socket"
        with served(path, MTRR, PAT):
            if kind == "service":
                with BlockingClient(path) as remote:
                    yield remote
            else:
                with Clients(None, str(path), awaiting=False)("X") as client:
                    yield client


KINDS = ["local", "embedded rig", "service", "rig over a service"]
WRONG: list[tuple[tuple[Any, ...], type[Exception], str]] = [
    ((1,), TypeError, "file"),
    ((None,), TypeError, "file"),
    (("text",), TypeError, "file"),
    ((bytearray(b"x"),), TypeError, "file"),
    ((b"", 1), TypeError, "machine"),
    ((b"", 0), TypeError, "machine"),
    ((b"", b"pc"), TypeError, "machine"),
    ((b"", ""), NoSuchDevice, "an empty text"),
    ((b"",), InvalidArgument, "no snapshot of memhub"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_clients_that_block_go_back(kind: str, tmp_path: Path) -> None:
    with blocking(kind, tmp_path) as client:
        mem = client.open("/dev/mem", "r+")
        then = client.take_snapshot()
        mem.set_range(16 * M, M, MDF_UNCACHEABLE)
        later = client.take_snapshot("mtrr")
        assert client.restore_snapshot(then) == ["mtrr", "pat"]
        assert not [it for it in mem.ranges() if it.mr_base == 16 * M]
        assert client.restore_snapshot(later, "mtrr") == ["mtrr"]
        assert [it for it in mem.ranges() if it.mr_base == 16 * M]
        assert client.reset("mtrr") == ["mtrr"]
        assert client.reset() == ["mtrr", "pat"]
        assert not [it for it in mem.ranges() if it.mr_base == 16 * M]
        for arguments, error, says in WRONG:
            with pytest.raises(error, match=says):
                client.restore_snapshot(*arguments)

        for call in (client.take_snapshot, client.reset):
            for wrong in (0, b"pc"):
                with pytest.raises(TypeError, match="machine"):
                    call(wrong)

            with pytest.raises(NoSuchDevice, match="an empty text"):
                call("")


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["embedded rig", "service", "rig over a service"])
async def test_clients_that_await_go_back(kind: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        if kind == "embedded rig":
            hub = await stack.enter_async_context(Hub([MTRR, PAT], arches=ARCHES))
            client: Any = await stack.enter_async_context(Clients(hub, "", awaiting=True)("X"))
        else:
            path = tmp_path / "socket"
            stack.enter_context(served(path, MTRR, PAT))
            made: Any = connect(path)
            if kind != "service":
                made = Clients(None, str(path), awaiting=True)("X")

            client = await stack.enter_async_context(made)

        mem = await client.open("/dev/mem", "r+")
        then = await client.take_snapshot()
        await mem.set_range(16 * M, M, MDF_UNCACHEABLE)
        assert await client.restore_snapshot(then) == ["mtrr", "pat"]
        assert not [it for it in await mem.ranges() if it.mr_base == 16 * M]
        assert await client.reset("mtrr") == ["mtrr"]
        for arguments, error, says in WRONG:
            with pytest.raises(error, match=says):
                await client.restore_snapshot(*arguments)
