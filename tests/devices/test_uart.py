"""The UART after its data sheet, and its wire as a stream."""

from __future__ import annotations

import copy
import pickle
import re
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub_devices.uart import UART, Uart

RBR = THR = DLL = 0
IER = DLM = 1
IIR = FCR = 2
LCR, MCR, LSR, MSR, SCR = 3, 4, 5, 6, 7


class Driver:
    """Reads and writes registers of a model without a machine around it."""

    def __init__(self, **options: Any) -> None:
        self.uart = Uart({**UART.options, **options})
        self.line = self.uart.line

    def __getitem__(self, register: int) -> int:
        found: bytes = next_of(self.uart.read(register, 1))

        return found[0]

    def __setitem__(self, register: int, value: int) -> None:
        next_of(self.uart.write(register, bytes([value])))

    def set_up(self, fcr: int = 0xC7, ier: int = 0) -> Driver:
        """Eight bits, FIFOs with a trigger of 14, and these interrupts."""
        self[LCR], self[FCR], self[IER] = 0x03, fcr, ier

        return self


def next_of(step: Any) -> Any:
    """The result of a coroutine that does not wait."""
    with pytest.raises(StopIteration) as end:
        step.send(None)

    return end.value.value


# Registers


def test_after_a_reset_registers_are_as_table_ii_says() -> None:
    assert [Driver()[it] for it in range(8)] == [0, 0, 0x01, 0, 0, 0x60, 0, 0]


def test_what_is_written_is_read_as_far_as_there_are_bits() -> None:
    chip = Driver()
    for register, mask in ((IER, 0x0F), (LCR, 0x7F), (MCR, 0x1F), (SCR, 0xFF)):
        chip[register] = mask
        assert chip[register] == mask
        chip[register] = 0

    chip[IER] = 0xFF
    chip[MCR] = 0xFF
    assert (chip[IER], chip[MCR]) == (0x0F, 0x1F)


def test_the_divisor_lies_behind_dlab_and_makes_the_baud_rate() -> None:
    chip = Driver()
    assert Driver().uart.baud is None
    chip[LCR] = 0x83
    chip[DLL], chip[DLM] = 0x0C, 0x01
    assert (chip[DLL], chip[DLM], chip.uart.baud) == (0x0C, 0x01, 1843200 // (16 * 0x10C))
    chip[LCR] = 0x03
    assert (chip[RBR], chip[IER]) == (0, 0)
    chip[LCR] = 0x83
    assert (chip[DLL], chip[DLM]) == (0x0C, 0x01)


def test_lsr_and_msr_take_nothing() -> None:
    chip = Driver().set_up()
    chip[LSR], chip[MSR] = 0xFF, 0xFF
    assert (chip[LSR], chip[MSR]) == (0x60, 0)


@pytest.mark.parametrize(("lcr", "mask"), [(0, 0x1F), (1, 0x3F), (2, 0x7F), (3, 0xFF)])
def test_characters_have_the_bits_that_lcr_says(lcr: int, mask: int) -> None:
    chip = Driver()
    chip[LCR] = lcr
    chip[THR] = 0xFF
    chip.line.send_nowait(b"\xff")
    assert (chip.line.receive_nowait(), chip[RBR]) == (bytes([mask]), mask)


# FIFOs


def test_iir_says_whether_the_fifos_are_on_and_fcr_needs_its_bit_0() -> None:
    chip = Driver()
    chip[FCR] = 0xC0
    assert chip[IIR] == 0x01
    chip[FCR] = 0x01
    assert chip[IIR] == 0xC1
    chip[FCR] = 0x00
    assert chip[IIR] == 0x01


def test_bytes_of_a_rig_wait_until_there_is_room() -> None:
    chip = Driver().set_up()
    data = bytes(range(40))
    chip.line.send_nowait(data)
    assert chip.line.waiting == 24
    assert bytes(chip[RBR] for _ in data) == data
    assert chip[LSR] == 0x60


def test_bytes_at_line_speed_overrun_a_full_fifo_which_keeps_what_it_has() -> None:
    chip = Driver().set_up()
    chip.uart.arrive(bytes(range(20)))
    assert chip[LSR] == 0x63
    assert chip[LSR] == 0x61  # read is told
    assert [chip[RBR] for _ in range(17)] == [*range(16), 0]


@pytest.mark.parametrize(
    "data", [b"\1\2", bytearray(b"\1\2"), memoryview(b"\1\2"), array("H", [0x0201])]
)
def test_any_buffer_arrives_as_its_bytes_and_can_be_saved(data: Any) -> None:
    chip = Driver().set_up()
    chip.uart.arrive(data)
    assert copy.deepcopy(chip.uart) == chip.uart
    assert [chip[RBR], chip[RBR], chip[RBR]] == [1, 2, 0]


@pytest.mark.parametrize("wrong", ["a", 5, None, [1, 2], [300]])
def test_what_is_no_buffer_does_not_arrive(wrong: Any) -> None:
    chip = Driver().set_up()
    with pytest.raises(TypeError, match=rf"data {re.escape(repr(wrong))} is not a buffer of bytes"):
        chip.uart.arrive(wrong)

    assert chip[LSR] == 0x60


@pytest.mark.parametrize("name", ["cts", "dsr", "ri", "dcd"])
@pytest.mark.parametrize("wrong", ["x", 5, 1, [], 0.0])
def test_an_input_of_the_modem_is_a_truth_value(name: str, wrong: Any) -> None:
    chip = Driver()
    given = {"cts": True, "dcd": True, name: wrong}
    with pytest.raises(TypeError, match=rf"{name} .* is not True, False or None"):
        chip.uart.set_modem(**given)

    assert chip[MSR] == 0


def test_without_fifos_the_newer_byte_takes_the_place_of_the_older() -> None:
    chip = Driver()
    chip[LCR] = 0x03
    chip.uart.arrive(b"ab")
    assert chip[LSR] & 0x03 == 0x03
    assert chip[RBR] == ord("b")


@pytest.mark.parametrize("fcr", [0x03, 0x00])
def test_clearing_or_leaving_the_fifo_loses_what_it_holds(fcr: int) -> None:
    chip = Driver().set_up()
    chip.uart.arrive(b"abc")
    chip[FCR] = fcr
    assert chip[LSR] & 0x01 == 0


def test_a_transmitter_holds_what_the_wire_does_not_take() -> None:
    chip = Driver().set_up()
    for _ in range(65536):
        chip[THR] = 0x55

    assert chip[LSR] & 0x60 == 0x60
    chip[THR] = 0x56
    assert chip[LSR] & 0x60 == 0
    assert chip.line.receive_nowait(10) == b"\x55" * 10
    assert chip[LSR] & 0x60 == 0x60


# Interrupts


@pytest.mark.parametrize(("fcr", "level"), [(0x01, 1), (0x41, 4), (0x81, 8), (0xC1, 14)])
def test_received_data_interrupts_at_the_trigger_and_below_it_by_timeout(
    fcr: int, level: int
) -> None:
    chip = Driver().set_up(fcr, ier=0x01)
    chip.uart.arrive(bytes(level))
    assert chip[IIR] == 0xC4
    _ = chip[RBR]
    assert chip[IIR] == (0xCC if level > 1 else 0xC1)
    for _ in range(level - 1):
        _ = chip[RBR]

    assert (chip[IIR], chip.uart.interrupt) == (0xC1, False)


def test_an_empty_transmitter_interrupts_until_it_is_told_or_fed() -> None:
    chip = Driver().set_up()
    chip[IER] = 0x02
    assert chip.uart.interrupt
    assert (chip[IIR], chip[IIR]) == (0xC2, 0xC1)
    chip[THR] = 0x41
    assert (chip[IIR], chip[IIR]) == (0xC2, 0xC1)


def test_interrupts_have_the_order_of_table_iv() -> None:
    chip = Driver().set_up(ier=0x0F)
    chip.uart.arrive(bytes(20))
    chip.uart.set_modem(cts=True)
    found = [chip[IIR]]
    _ = chip[LSR]
    found.append(chip[IIR])
    chip[FCR] = 0xC3
    found += [chip[IIR], chip[IIR]]
    _ = chip[MSR]
    found.append(chip[IIR])
    assert found == [0xC6, 0xC4, 0xC2, 0xC0, 0xC1]


def test_the_pin_tells_when_it_becomes_active() -> None:
    chip, rung = Driver().set_up(ier=0x01), []
    chip.uart.on_interrupt = lambda: rung.append(chip.uart.interrupt)
    chip.uart.arrive(b"ab")
    _ = chip[RBR], chip[RBR]
    chip.uart.arrive(b"c")
    assert rung == [True, True]


# Modem, break and loopback


def test_changes_of_modem_inputs_are_told_once() -> None:
    chip = Driver()
    chip.uart.set_modem(cts=True, dsr=True, ri=True, dcd=True)
    assert (chip[MSR], chip[MSR]) == (0xFB, 0xF0)  # RI tells its end only
    chip.uart.set_modem(ri=False, cts=False)
    assert (chip[MSR], chip[MSR]) == (0xA5, 0xA0)


def test_a_break_is_a_character_0_whose_error_is_told_once() -> None:
    chip = Driver().set_up(ier=0x04)
    chip.uart.arrive(b"a")
    chip.uart.break_line()
    assert chip[LSR] == 0xE1  # the error is in the FIFO, and not of the oldest
    assert chip[RBR] == ord("a")
    assert (chip[IIR], chip[LSR], chip[LSR]) == (0xC6, 0xF1, 0x61)
    assert chip[RBR] == 0


def test_a_break_of_the_driver_loses_what_it_transmits() -> None:
    chip = Driver().set_up()
    chip[LCR] = 0x43
    chip[THR] = 0x41
    assert (chip.uart.sends_break, chip.line.receive_nowait(), chip[LSR]) == (True, b"", 0x60)


def test_in_loopback_the_chip_hears_itself_and_nobody_else() -> None:
    chip = Driver().set_up()
    chip[MCR] = 0x13
    assert (chip.uart.dtr, chip.uart.rts) == (False, False)
    chip.line.send_nowait(b"from outside")
    chip.uart.arrive(b"lost")
    for byte in b"itself":
        chip[THR] = byte

    assert bytes(chip[RBR] for _ in b"itself") == b"itself"
    assert chip.line.receive_nowait() == b""
    assert chip[MSR] == 0x33
    chip[MCR] = 0x1F
    assert chip[MSR] == 0xF8
    chip[MCR] = 0x03
    assert (chip.uart.dtr, chip.uart.rts) == (True, True)
    assert bytes(chip[RBR] for _ in b"from outside") == b"from outside"


# Accesses


def test_wide_accesses_are_split_and_bytes_between_registers_are_empty() -> None:
    chip = Driver(shift=2)
    next_of(chip.uart.write(12, b"\x03\xff\xff\xff\x01"))
    assert next_of(chip.uart.read(0, 32)) == bytes(
        it for value in (0, 0, 1, 3, 1, 0x60, 0, 0) for it in (value, 0, 0, 0)
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.binary(min_size=1, max_size=40)),
        st.tuples(st.just("put"), st.integers(0, 255)),
        st.tuples(st.just("get"), st.integers(1, 20)),
        st.tuples(st.just("take"), st.integers(1, 20)),
        st.tuples(st.just("copy"), st.just(0)),
    ),
    max_size=60,
)


@given(STEPS, st.sampled_from([0x00, 0x01, 0xC1]))
def test_nothing_is_lost_or_out_of_order_in_either_direction(steps: list[Any], fcr: int) -> None:
    chip = Driver().set_up(fcr)
    to_driver, to_rig, got, taken = bytearray(), bytearray(), bytearray(), bytearray()
    for what, given_it in steps:
        if what == "send":
            chip.line.send_nowait(given_it)
            to_driver += given_it
        elif what == "put" and chip[LSR] & 0x20:
            chip[THR] = given_it
            to_rig.append(given_it)
        elif what == "get":
            for _ in range(given_it):
                if chip[LSR] & 0x01:
                    got.append(chip[RBR])
        elif what == "take":
            taken += chip.line.receive_nowait(given_it)
        elif what == "copy":
            twin = pickle.loads(pickle.dumps(chip.uart))
            assert twin == chip.uart == copy.deepcopy(chip.uart)
            chip.uart, chip.line = twin, twin.line

        assert not chip[LSR] & 0x02

    while chip[LSR] & 0x01:
        got.append(chip[RBR])

    assert (got, taken + chip.line.receive_nowait()) == (to_driver, to_rig)
