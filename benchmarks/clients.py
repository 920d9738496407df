"""memhub's own clients against bare streams and sockets, and against pymodbus, grpcio and rpyc.

One request at a time is measured with both ends on one core, since waking another core costs more
than all of the code; a hundred connections with one core for each end. The clock is the CPU time of
both ends together.
"""

from __future__ import annotations

import importlib
import os
import socket
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

import memhub.service.blocking
import memhub.service.client
from benchmarks import loading, peers
from benchmarks.harness import (
    AsyncWork,
    Goal,
    Plan,
    Row,
    Work,
    backends,
    cores,
    measure,
    measure_sync,
    pinned,
    run_on,
    skipped,
    together,
)
from benchmarks.rig import GET
from benchmarks.serving import served
from memhub.abi import ILP32

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from pathlib import Path

    from anyio.abc import ByteStream

    Served = tuple[Path, int]

_ONE = ILP32.op.pack(1, 1, 0)
_FRAME = loading.getting(1)
_ASYNC = "own async client, one at a time"
_BLOCKING = "own blocking client, one at a time"
_MANY = "own async clients, 100 connections"
_PEERS = (("pymodbus", Goal(5, 7)), ("grpc", Goal(9, 12)), ("rpyc", Goal(1.3, 2)))


def _asking(handle: Any) -> AsyncWork:  # noqa: ANN401 - a RemoteHandle
    async def work(count: int) -> None:
        for _ in range(count):
            await handle.ioctl(GET, _ONE)

    return work


def _echoing(stream: ByteStream) -> AsyncWork:
    async def work(count: int) -> None:
        for _ in range(count):
            await stream.send(_FRAME)
            size = len(await stream.receive())
            while size < len(_FRAME):
                size += len(await stream.receive())

    return work


async def _one_by_one(backend: str, hub: Served, echo: Served, plan: Plan) -> Row:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(memhub.service.client.connect(hub[0]))
        handle = await stack.enter_async_context(await client.open("/dev/mem"))
        stream = await stack.enter_async_context(await anyio.connect_unix(echo[0]))
        cases = {"memhub": _asking(handle), "anchor": _echoing(stream)}
        samples = await measure(cases, plan, together(hub[1], echo[1]))

    return samples.row(_ASYNC, "memhub", "anchor", Goal(0.7, 0.85), column=backend, more=True)


def _raw(path: Path, stack: ExitStack) -> Work:
    sock = stack.enter_context(socket.socket(socket.AF_UNIX))
    sock.connect(str(path))

    def work(count: int) -> None:
        for _ in range(count):
            sock.sendall(_FRAME)
            size = len(sock.recv(65536))
            while size < len(_FRAME):
                size += len(sock.recv(65536))

    return work


def _memhub(path: Path, stack: ExitStack) -> Work:
    client = stack.enter_context(memhub.service.blocking.BlockingClient(path))
    handle = stack.enter_context(client.open("/dev/mem"))

    def work(count: int) -> None:
        for _ in range(count):
            handle.ioctl(GET, _ONE)

    return work


def _pymodbus(plan: Plan, stack: ExitStack) -> tuple[Work, int]:
    port, pid = stack.enter_context(peers.modbus_served(plan.folder, cores()[0]))
    clients: Any = importlib.import_module("pymodbus.client")
    client = clients.ModbusTcpClient("127.0.0.1", port=port)
    client.connect()
    stack.callback(client.close)

    assert len(client.read_holding_registers(0, count=28, device_id=1).registers) == 28

    return _repeating(lambda: client.read_holding_registers(0, count=28, device_id=1)), pid


def _grpc(plan: Plan, stack: ExitStack) -> tuple[Work, int]:
    target, pid = stack.enter_context(peers.grpc_served(plan.folder, cores()[0]))
    grpc: Any = importlib.import_module("grpc")
    channel = stack.enter_context(grpc.insecure_channel(target))
    call = channel.unary_unary(peers.ECHO)

    return _repeating(lambda: call(_FRAME)), pid


def _rpyc(plan: Plan, stack: ExitStack) -> tuple[Work, int]:
    port, pid = stack.enter_context(peers.rpyc_served(plan.folder, cores()[0]))
    rpyc: Any = importlib.import_module("rpyc")
    client = rpyc.connect("127.0.0.1", port)
    stack.callback(client.close)
    echo = client.root.echo

    return _repeating(lambda: echo(_FRAME)), pid


def _repeating(call: Callable[[], object]) -> Work:
    def work(count: int) -> None:
        for _ in range(count):
            call()

    return work


def _blocking(hub: Served, echo: Served, plan: Plan) -> Iterator[Row]:
    makers = {"pymodbus": _pymodbus, "grpc": _grpc, "rpyc": _rpyc}
    with ExitStack() as stack:
        cases = {"memhub": _memhub(hub[0], stack), "anchor": _raw(echo[0], stack)}
        pids = [hub[1], echo[1]]
        for name, make in makers.items():
            if plan.peers and peers.missing(name) is None:
                cases[name], pid = make(plan, stack)
                pids.append(pid)

        samples = measure_sync(cases, plan.with_rounds(9), together(*pids))

    yield samples.row(_BLOCKING, "memhub", "anchor", Goal(0.5, 0.7), more=True)
    for name, goal in _PEERS:
        if name in cases:
            yield samples.row(_BLOCKING, "memhub", name, goal, more=True)
        else:
            yield skipped(_BLOCKING, peers.wanted(name), against=name)


def _together(calls: Sequence[Callable[[], Coroutine[Any, Any, object]]]) -> AsyncWork:
    """Every connection asks in a loop of its own until all together have asked enough."""

    async def work(count: int) -> None:
        turns = iter(range(count))

        async def ask(call: Callable[[], Coroutine[Any, Any, object]]) -> None:
            for _ in turns:
                await call()

        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(ask, call)

    return work


async def _own(path: Path, many: int, stack: AsyncExitStack) -> AsyncWork:
    calls = []
    for _ in range(many):
        client = await stack.enter_async_context(memhub.service.client.connect(path))
        handle = await stack.enter_async_context(await client.open("/dev/mem"))
        calls.append(partial(handle.ioctl, GET, _ONE))

    return _together(calls)


async def _grpc_aio(target: str, many: int, stack: AsyncExitStack) -> AsyncWork:
    aio: Any = importlib.import_module("grpc.aio")

    def caller(channel: Any) -> Callable[[], Coroutine[Any, Any, object]]:  # noqa: ANN401
        method = channel.unary_unary(peers.ECHO)

        async def call() -> object:
            return await method(_FRAME)

        return call

    alone = [("grpc.use_local_subchannel_pool", 1)]
    channels = [aio.insecure_channel(target, options=alone) for _ in range(many)]
    for channel in channels:
        stack.push_async_callback(channel.close)

    return _together([caller(channel) for channel in channels])


async def _modbus_aio(port: int, many: int, stack: AsyncExitStack) -> AsyncWork:
    clients: Any = importlib.import_module("pymodbus.client")
    calls = []
    for _ in range(many):
        client = clients.AsyncModbusTcpClient("127.0.0.1", port=port)
        await client.connect()
        stack.callback(client.close)
        calls.append(partial(client.read_holding_registers, 0, count=28, device_id=1))

    return _together(calls)


async def _crowd(
    hub: Served, target: tuple[str, int] | None, port: tuple[int, int] | None, plan: Plan
) -> list[Row]:
    many = plan.scaled(100, 3)
    async with AsyncExitStack() as stack:
        cases = {"memhub": await _own(hub[0], many, stack)}
        if target is not None:
            cases["grpc"] = await _grpc_aio(target[0], many, stack)

        if port is not None:
            cases["pymodbus"] = await _modbus_aio(port[0], many, stack)

        slow = Plan(min(plan.rounds, 7), plan.chunk * 5, plan.peers, plan.folder)
        pids = [found[1] for found in (hub, target, port) if found is not None]
        samples = await measure(cases, slow, together(*pids))

    goals = {"grpc": Goal(4, 8), "pymodbus": Goal(1.2, 2)}

    return [
        samples.row(_MANY, "memhub", name, goal, more=True)
        if name in cases
        else skipped(_MANY, peers.wanted(name), against=name)
        for name, goal in goals.items()
    ]


def _crowded(plan: Plan) -> list[Row]:
    server, client = cores()
    with ExitStack() as stack:
        hub = stack.enter_context(served("memhub", "asyncio", plan.folder, server))
        target = port = None
        if plan.peers and peers.missing("grpc") is None:
            target = stack.enter_context(peers.grpc_served(plan.folder, server))

        if plan.peers and peers.missing("pymodbus") is None:
            port = stack.enter_context(peers.modbus_served(plan.folder, server))

        stack.enter_context(pinned(client))
        rows: list[Row] = run_on("asyncio", _crowd, hub, target, port, plan)

    return rows


@contextmanager
def _both(backend: str, plan: Plan) -> Iterator[tuple[Served, Served]]:
    core = cores()[0]
    with (
        served("memhub", backend, plan.folder, core) as hub,
        served("echo", backend, plan.folder, core) as echo,
        pinned(core),
    ):
        yield hub, echo


def rows(plan: Plan) -> Iterator[Row]:
    """One at a time, asynchronous and blocking; then a hundred."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for backend in backends(plan):
        with _both(backend, plan) as (hub, echo):
            yield run_on(backend, _one_by_one, backend, hub, echo, plan)
            if plan.quick:  # a quick run starts no servers twice
                yield from _blocking(hub, echo, plan)

    if not plan.quick:
        with _both("asyncio", plan) as (hub, echo):
            yield from _blocking(hub, echo, plan)

    yield from _crowded(plan)
