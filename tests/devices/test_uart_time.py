"""How long characters of the UART take, on the clock of the hub; nothing runs in between."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from devices.strange import BASE, device, machine
from memhub import Hub
from memhub.clock import ManualClock
from memhub.rig import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from memhub.handles.handle import Handle

THR = RBR = DLL = 0
IER, DLM = 1, 1
IIR = FCR = 2
LCR, MCR, LSR = 3, 4, 5

#: Nanoseconds of a character of 10 bits at 9600 baud, which a divisor of 12 makes.
CHARACTER = 1_041_667
EMPTY, IDLE, DATA = 0x20, 0x40, 0x01


class Chip:
    """The registers, as a driver reaches them."""

    def __init__(self, hub: Hub, mem: Handle) -> None:
        self.hub, self.mem = hub, mem
        self.uart: Any = hub.device("it")

    async def get(self, register: int) -> int:
        return (await self.mem.pread(1, BASE + register))[0]

    async def put(self, register: int, *values: int) -> None:
        for value in values:
            await self.mem.pwrite(bytes([value]), BASE + register)

    async def set_up(self, divisor: int = 12, lcr: int = 0x03, fcr: int = 0x01) -> None:
        await self.put(LCR, 0x80)
        await self.put(DLL, divisor & 0xFF)
        await self.put(DLM, divisor >> 8)
        await self.put(LCR, lcr)
        await self.put(FCR, fcr)

    async def ready(self) -> int:
        return await self.get(LSR) & (EMPTY | IDLE | DATA)


@asynccontextmanager
async def rig(clock: Any, /, **options: Any) -> AsyncIterator[Chip]:
    spec = machine(device("uart-16550", options=options))
    async with Hub([spec], clock=clock) as hub, await hub.open("/dev/mem", "r+") as mem:
        yield Chip(hub, mem)


def pass_ns(clock: ManualClock, nanoseconds: int) -> None:
    clock.advance(nanoseconds / 1e9)


async def test_a_transmitter_is_empty_when_the_last_character_begins_and_idle_when_it_is_gone() -> (
    None
):
    clock = ManualClock()
    async with rig(clock) as chip:
        await chip.set_up()
        await chip.put(THR, *b"ab")
        assert await chip.ready() == 0
        assert chip.uart.line.receive_nowait() == b""
        pass_ns(clock, CHARACTER)
        assert await chip.ready() == EMPTY
        assert chip.uart.line.receive_nowait() == b"a"
        pass_ns(clock, CHARACTER - 2)
        assert await chip.ready() == EMPTY
        pass_ns(clock, 2)
        assert await chip.ready() == EMPTY | IDLE
        assert chip.uart.line.receive_nowait() == b"b"


@pytest.mark.parametrize(("fcr", "sent"), [(0x00, b"AT"), (0x01, b"ABCDEFGHIJKLMNOPQ")])
async def test_a_full_fifo_keeps_what_it_has_and_thr_alone_has_the_newest(
    fcr: int, sent: bytes
) -> None:
    clock = ManualClock()
    async with rig(clock) as chip:
        await chip.set_up(fcr=fcr)
        await chip.put(THR, *b"ABCDEFGHIJKLMNOPQRST")
        pass_ns(clock, 20 * CHARACTER)
        assert await chip.ready() == EMPTY | IDLE
        assert chip.uart.line.receive_nowait() == sent


async def test_what_a_rig_sends_comes_character_by_character() -> None:
    clock = ManualClock()
    async with rig(clock) as chip:
        await chip.set_up()
        chip.uart.line.send_nowait(b"xy")
        assert await chip.ready() & DATA == 0
        pass_ns(clock, CHARACTER)
        assert [await chip.get(RBR), await chip.ready() & DATA] == [ord("x"), 0]
        pass_ns(clock, CHARACTER)
        assert [await chip.ready() & DATA, await chip.get(RBR)] == [DATA, ord("y")]


@pytest.mark.parametrize(
    ("divisor", "lcr", "options", "micros"),
    [
        (1, 0x03, {}, 86.8),
        (12, 0x03, {}, 1041.7),
        (1, 0x1F, {}, 104.2),  # parity and two stop bits: 12
        (1, 0x00, {}, 60.8),  # five bits of data: 7
        (1, 0x04, {}, 65.1),  # and one and a half stop bits: 7.5
        (1, 0x03, {"clock": 18432000}, 8.7),
        (12, 0x03, {"baud": 115200}, 86.8),
        (0, 0x03, {"baud": 115200}, 86.8),
        (0, 0x03, {}, 0),
        (12, 0x03, {"timed": False}, 0),
    ],
)
async def test_a_character_takes_the_bits_of_its_frame_at_the_rate_of_the_divisor(
    divisor: int, lcr: int, options: dict[str, Any], micros: float
) -> None:
    async with VirtualClock() as clock, rig(clock, **options) as chip:
        await chip.set_up(divisor, lcr)
        began = clock.mono_ns()
        await chip.put(THR, 0x05)
        assert await chip.uart.line.receive() == b"\x05"
        assert (clock.mono_ns() - began) / 1000 == pytest.approx(micros, abs=0.05)


async def test_a_fifo_of_16_is_sent_back_to_back_and_time_stands_where_nothing_is_under_way() -> (
    None
):
    async with VirtualClock() as clock, rig(clock) as chip:
        await chip.set_up()
        await chip.put(THR, *range(17))
        assert clock.next_ns == CHARACTER
        got = b""
        while len(got) < 17:
            got += await chip.uart.line.receive()

        assert (got, clock.mono_ns()) == (bytes(range(17)), 17 * CHARACTER)
        assert await chip.ready() == EMPTY | IDLE
        await anyio.wait_all_tasks_blocked()
        assert clock.next_ns is None


async def test_an_interrupt_comes_when_its_time_comes() -> None:
    async with VirtualClock() as clock, rig(clock) as chip:
        await chip.set_up(fcr=0x41)  # a trigger of 4
        await chip.put(IER, 0x01)
        rung: list[int] = []
        event = anyio.Event()

        def ring() -> None:
            rung.append(clock.mono_ns())
            event.set()

        chip.uart.on_interrupt = ring
        chip.uart.line.send_nowait(b"one")
        await event.wait()
        assert rung == [7 * CHARACTER]  # the last of three, and a timeout of four
        assert await chip.get(IIR) == 0xCC
        chip.uart.line.send_nowait(b"!")
        assert [await chip.get(RBR) for _ in "one"] == [*b"one"]
        event = anyio.Event()
        chip.uart.line.send_nowait(b"!!!")
        await event.wait()
        assert await chip.get(IIR) == 0xC4


async def test_in_loopback_a_character_is_heard_once_it_has_left() -> None:
    clock = ManualClock()
    async with rig(clock) as chip:
        await chip.set_up()
        await chip.put(MCR, 0x10)
        await chip.put(THR, 0x55)
        assert await chip.ready() == EMPTY
        pass_ns(clock, CHARACTER)
        assert await chip.ready() == EMPTY | IDLE | DATA
        assert await chip.get(RBR) == 0x55


async def test_clearing_the_fifo_does_not_stop_the_character_that_leaves() -> None:
    clock = ManualClock()
    async with rig(clock) as chip:
        await chip.set_up()
        await chip.put(THR, *b"abc")
        await chip.put(FCR, 0x05)
        assert await chip.ready() == EMPTY
        pass_ns(clock, 3 * CHARACTER)
        assert (await chip.ready(), chip.uart.line.receive_nowait()) == (EMPTY | IDLE, b"a")


async def test_what_is_under_way_goes_back_with_the_machine_and_on_in_a_fork() -> None:
    clock = ManualClock()
    async with rig(clock) as chip:
        await chip.set_up()
        await chip.put(THR, *b"ab")
        chip.uart.line.send_nowait(b"z")
        pass_ns(clock, CHARACTER // 2)
        then = chip.hub.snapshot()
        pass_ns(clock, 9 * CHARACTER)
        assert chip.uart.line.receive_nowait() == b"ab"
        chip.hub.restore(then)
        assert await chip.ready() == 0
        assert chip.uart.line.receive_nowait() == b""
        async with chip.hub.fork() as twin, twin.adopt(chip.mem) as mem:
            other = Chip(twin, mem)
            pass_ns(clock, CHARACTER // 2 + 2)
            assert await other.ready() == EMPTY | DATA
            assert other.uart.line.receive_nowait() == b"a"

        assert await chip.ready() == EMPTY | DATA


async def test_a_rig_on_the_systems_clock_waits_for_the_character() -> None:
    async with rig(None) as chip:
        await chip.set_up(divisor=1)
        with anyio.fail_after(5):
            await chip.put(THR, 0x41)
            assert await chip.uart.line.receive() == b"A"
            await chip.uart.line.send(b"B")  # waits until the chip has taken it
            assert await chip.get(RBR) == ord("B")


async def test_an_interrupt_of_a_rig_that_fails_in_between_is_a_warning_and_harms_nobody() -> None:
    clock = ManualClock()
    async with rig(clock) as chip:
        await chip.set_up()
        await chip.put(IER, 0x01)

        def fail() -> None:
            raise RuntimeError("the rig's mistake")

        chip.uart.on_interrupt = fail
        chip.uart.line.send_nowait(b"x")
        clock.advance(CHARACTER / 1e9)
        with pytest.warns(
            UserWarning,
            match=r"alarm of device 'it' .* of pc, .*mistake",
        ):
            await anyio.wait_all_tasks_blocked()

        assert await chip.get(RBR) == ord("x")


async def test_a_model_that_the_rig_maps_goes_by_the_time_of_the_hub() -> None:
    clock = ManualClock()
    async with rig(None) as other, Hub([machine()], clock=clock) as hub:
        uart = other.uart
        hub.map_device(BASE, 8, uart)
        async with await hub.open("/dev/mem", "r+") as mem:
            for register, value in ((LCR, 0x80), (DLL, 12), (LCR, 0x03), (THR, 0x41)):
                await mem.pwrite(bytes([value]), BASE + register)

            assert uart.line.receive_nowait() == b""
            clock.advance(CHARACTER / 1e9)
            assert await mem.pread(1, BASE + LSR) == bytes([EMPTY | IDLE])
            assert uart.line.receive_nowait() == b"A"
