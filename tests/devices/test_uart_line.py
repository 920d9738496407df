"""The wire of the UART as a stream, and what goes back with the machine."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from devices.strange import BASE, device, machine
from memhub import Hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from memhub.handles.handle import Handle
    from memhub_devices.uart import Uart

LCR, FCR, LSR, SCR = 3, 2, 5, 7


@asynccontextmanager
async def rig() -> AsyncIterator[tuple[Hub, Handle, Uart]]:
    async with Hub([machine(device("uart-16550"))]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"\x03", BASE + LCR)
        await mem.pwrite(b"\x07", BASE + FCR)
        yield hub, mem, hub.device("it")


async def test_a_rig_awaits_what_the_driver_writes() -> None:
    async with rig() as (_, mem, uart):
        found: list[bytes] = []

        async def listen() -> None:
            async for data in uart.line:
                found.append(data)
                if data == b"o":
                    return

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listen)
                for byte in b"hello":
                    await mem.pwrite(bytes([byte]), BASE)
                    await anyio.wait_all_tasks_blocked()

        assert b"".join(found) == b"hello"


async def test_a_rig_that_sends_waits_until_the_driver_has_room() -> None:
    async with rig() as (_, mem, uart):
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(uart.line.send, bytes(range(20)))
                await anyio.wait_all_tasks_blocked()
                assert uart.line.waiting == 4
                got = [(await mem.pread(1, BASE))[0] for _ in range(20)]

        assert got == [*range(20)]


async def test_a_closed_end_gives_what_has_come_and_takes_nothing() -> None:
    async with rig() as (_, mem, uart):
        await mem.pwrite(b"a", BASE)
        await uart.line.aclose()
        await mem.pwrite(b"b", BASE)
        assert (await mem.pread(1, BASE + LSR))[0] == 0x60
        assert await uart.line.receive() == b"a"
        with pytest.raises(anyio.ClosedResourceError):  # as of anyio's streams
            await uart.line.receive()

        with pytest.raises(anyio.ClosedResourceError):
            await uart.line.send(b"c")


async def test_one_that_waits_as_its_end_is_closed_is_told_so() -> None:
    async with rig() as (_, _mem, uart):

        async def receive() -> None:
            with pytest.raises(anyio.ClosedResourceError):
                await uart.line.receive()

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                await uart.line.aclose()


async def test_two_cannot_receive_at_once_and_a_cancelled_one_leaves_the_rest_to_others() -> None:
    async with rig() as (_, mem, uart):
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(uart.line.receive)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(anyio.BusyResourceError):
                    await uart.line.receive()

                tasks.cancel_scope.cancel()

            await mem.pwrite(b"a", BASE)
            assert await uart.line.receive() == b"a"


async def test_of_two_that_begin_to_receive_at_once_one_is_refused() -> None:
    async with rig() as (_, mem, uart):
        found: list[object] = []

        async def receive() -> None:
            try:
                found.append(await uart.line.receive())
            except anyio.BusyResourceError:
                found.append("busy")

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                tasks.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                assert found == ["busy"]
                await mem.pwrite(b"a", BASE)

        assert found == ["busy", b"a"]


@pytest.mark.parametrize("wrong", [0, -1])
async def test_at_least_one_byte_is_received(wrong: int) -> None:
    async with rig() as (_, _mem, uart):
        with pytest.raises(ValueError, match=f"max_bytes {wrong} is below 1"):
            await uart.line.receive(wrong)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"shift": 4}, "shift: 4 is not between 0 and 3"),
        ({"clock": 0}, "clock: 0 is not between"),
        ({"baud": -1}, "baud: -1 is not between 0 and"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, int], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Hub([machine(device("uart-16550", options=options))])


# Going back


async def test_registers_fifos_and_the_wire_go_back_with_the_machine() -> None:
    async with rig() as (hub, mem, uart):
        await mem.pwrite(b"\x5a", BASE + SCR)
        await mem.pwrite(b"a", BASE)
        uart.line.send_nowait(b"xyz")
        then = hub.snapshot()
        assert await mem.pread(1, BASE) == b"x"
        uart.line.receive_nowait()
        await mem.pwrite(b"\x00", BASE + SCR)
        hub.restore(then)
        assert (await mem.pread(1, BASE + SCR), uart.line.receive_nowait()) == (b"\x5a", b"a")
        assert [await mem.pread(1, BASE) for _ in "xyz"] == [b"x", b"y", b"z"]
        uart.line.send_nowait(b"q")
        async with hub.fork() as twin, twin.adopt(mem) as other:
            assert await other.pread(1, BASE) == b"q"
            await other.pwrite(b"f", BASE)
            assert twin.device("it").line.receive_nowait() == b"f"

        assert uart.line.receive_nowait() == b""
        hub.reset()
        assert await mem.pread(8, BASE) == b"\0\0\1\0\0\x60\0\0"
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(uart.line.send, bytes(3))
                await anyio.wait_all_tasks_blocked()
                hub.reset()  # what waited on the wire is gone, and so is its wait
