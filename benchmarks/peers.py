"""Peers: pymodbus, grpcio and rpyc, each as a server in its own process and as its clients.

`python -m benchmarks.peers KIND BACKEND SOCKET CORE` serves until its standard input ends. Each
answers a read of 28 registers or an echo of 64 bytes, about what MEMRANGE_GET moves.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import socket
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.loading import Load
from benchmarks.serving import served

if TYPE_CHECKING:
    from collections.abc import Iterator

_REGISTERS = 28
#: The method of the gRPC server.
ECHO = "/bench.Echo/Call"
#: Modbus/TCP: transaction, protocol, length, unit, function 3, address, count.
_MODBUS_READ = bytes([0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, _REGISTERS])


def missing(package: str) -> str | None:
    """The note of a row whose peer is not installed."""
    return None if importlib.util.find_spec(package) else wanted(package)


def wanted(package: str) -> str:
    """What is needed for a peer."""
    return f"--peers, with {package} installed"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))

        return int(probe.getsockname()[1])


@contextmanager
def modbus_served(folder: Path, core: int) -> Iterator[tuple[int, int]]:
    """A pymodbus server; yields its port and process id."""
    port = _free_port()
    with served("modbus", str(port), folder, core, program="benchmarks.peers") as (_, pid):
        yield port, pid


@contextmanager
def rpyc_served(folder: Path, core: int) -> Iterator[tuple[int, int]]:
    """An rpyc server; yields its port and process id."""
    port = _free_port()
    with served("rpyc", str(port), folder, core, program="benchmarks.peers") as (_, pid):
        yield port, pid


@contextmanager
def grpc_served(folder: Path, core: int) -> Iterator[tuple[str, int]]:
    """A grpc.aio server; yields its target and process id."""
    with served("grpc", "asyncio", folder, core, program="benchmarks.peers") as (path, pid):
        yield f"unix:{path}", pid


def modbus_load(port: int, pid: int, connections: int) -> Load:
    """The C client's load on it."""
    return Load(str(port), pid, connections, 1, b"", _MODBUS_READ, "modbus")


async def _modbus(port: int) -> None:
    server: Any = importlib.import_module("pymodbus.server")
    simulator: Any = importlib.import_module("pymodbus.simulator")
    block = simulator.SimData(0, count=100, values=7, datatype=simulator.DataType.REGISTERS)
    device = simulator.SimDevice(1, simdata=[block])
    running = server.ModbusTcpServer(device, address=("127.0.0.1", port))
    await running.serve_forever(background=True)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await running.shutdown()


async def _grpc(path: Path) -> None:
    grpc: Any = importlib.import_module("grpc")

    async def call(request: bytes, _context: object) -> bytes:
        return request

    handler = grpc.method_handlers_generic_handler(
        "bench.Echo", {"Call": grpc.unary_unary_rpc_method_handler(call)}
    )
    server = importlib.import_module("grpc.aio").server()
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


def _rpyc(port: int) -> None:
    rpyc: Any = importlib.import_module("rpyc")

    class Echo(rpyc.Service):  # type: ignore[misc,unused-ignore]
        def exposed_echo(self, data: bytes) -> bytes:
            return data

    servers: Any = importlib.import_module("rpyc.utils.server")
    server = servers.ThreadedServer(Echo, hostname="127.0.0.1", port=port)
    threading.Thread(target=server.start, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    server.close()


def main() -> None:
    """Serve what the command line names."""
    kind, port, path, core = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    if kind == "modbus":
        asyncio.run(_modbus(int(port)))
    elif kind == "grpc":
        asyncio.run(_grpc(Path(path)))
    else:
        _rpyc(int(port))


if __name__ == "__main__":
    main()
