"""The blocking client: the same face for scripts and threads, and nothing heavy to load."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub.abi import MDF_WRITECOMBINE
from memhub.errors import NoSuchRange
from memhub.service.blocking import BlockingClient
from service.service_rig import MIB, WINDOW, lab, machine

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_blocking_client_has_the_same_face(tmp_path: Path) -> None:
    def script(address: str) -> None:
        with BlockingClient(address, label="script") as client:
            with client.open("/dev/mem", "r+") as handle:
                handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE, owner="me")
                assert "me" in {desc.owner for desc in handle.ranges()}
                data = b"0123456789abcdef" * (2 * MIB // 16)
                assert handle.pwrite(data, MIB) == len(data)
                assert handle.pread(len(data), MIB) == data
                assert handle.map().read(MIB, 4) == b"0123"
                assert handle.claim(0, MIB, lease=5).length == MIB
                with pytest.raises(NoSuchRange):
                    handle.remove_range(0, MIB)

            assert client.report("rates")["service"]["connections"] == 1

    async with lab(tmp_path) as it:
        await anyio.to_thread.run_sync(script, it.address)


async def test_threads_share_a_blocking_client(tmp_path: Path) -> None:
    def script(address: str) -> list[int]:
        with BlockingClient(address) as client, BlockingClient(address) as other:
            held, handle = other.open("/dev/mem"), client.open("/dev/mem", "r+")
            held.claim(0, MIB)
            seen: list[int] = []
            waiter = threading.Thread(target=lambda: handle.wait_free(0, MIB, 20))
            readers = [
                threading.Thread(
                    target=lambda n=n: seen.extend(handle.pread(1, n * 4096)[0] for _ in range(50))
                )
                for n in range(4)
            ]
            for thread in (waiter, *readers):
                thread.start()

            for thread in readers:
                thread.join()

            held.release(0, MIB)
            waiter.join()

        return seen

    async with lab(tmp_path) as it:
        assert await anyio.to_thread.run_sync(script, it.address) == [0] * 200


async def test_threads_that_map_at_once_each_get_their_own_machine(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]

    def script(address: str) -> list[str]:
        wrong: list[str] = []
        with BlockingClient(address) as client:

            def map_often(name: str) -> None:
                for _ in range(40):
                    with client.open(f"{name}:/dev/mem") as handle:
                        if handle.map().read(0, 1) != name.encode():
                            wrong.append(name)

            for name in names:
                with client.open(f"{name}:/dev/mem", "r+") as handle:
                    handle.pwrite(name.encode(), 0)

            threads = [threading.Thread(target=map_often, args=(name,)) for name in names]
            for thread in threads:
                thread.start()

            for thread in threads:
                thread.join()

        return wrong

    async with lab(tmp_path, *(machine(name) for name in names)) as it:
        assert await anyio.to_thread.run_sync(script, it.address) == []


async def test_a_handle_that_threads_map_at_once_has_one_mapping(tmp_path: Path) -> None:
    def script(address: str) -> int:
        with BlockingClient(address) as client, client.open("/dev/mem") as handle:
            found: set[int] = set()
            start = threading.Barrier(4)

            def map_once() -> None:
                start.wait()
                found.add(id(handle.map()))

            threads = [threading.Thread(target=map_once) for _ in range(4)]
            for thread in threads:
                thread.start()

            for thread in threads:
                thread.join()

            return len(found)

    async with lab(tmp_path) as it:
        assert await anyio.to_thread.run_sync(script, it.address) == 1


def test_the_blocking_client_loads_nothing_heavy() -> None:
    code = "import sys, memhub.service.blocking; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"anyio", "asyncio", "numpy", "orjson", "structlog", "dataclasses", "typing", "ssl"}

    assert not heavy & set(run.stdout.split())
