"""Logs of machines with devices replayed: the models are made anew, and asked again."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import AuditLog, DeviceSpec, Hub, MachineSpec
from memhub.device_kinds import DeviceBook, load_device_kinds
from memhub.errors import DeviceError
from memhub.plugin.devices import DeviceKind, hookimpl
from memhub.rig import replay_log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

UART, CARD = 0xFE000000, 0xD0000000
#: Kinds that are there in every test.
USUAL = load_device_kinds()


class Card:
    """Four bytes; refuses to be written other than with zeros, and fails where it is told to."""

    length = 4

    def __init__(self, options: dict[str, Any]) -> None:
        self.fails = options["fails"]

    async def read(self, _offset: int, size: int) -> bytes:
        if self.fails == "raises":
            raise ZeroDivisionError("planted")

        if self.fails == "hangs":
            await anyio.sleep_forever()

        return bytes(size)

    async def write(self, _offset: int, data: bytes) -> None:
        if any(data):
            raise DeviceError("not zeros")


def book(**usual: Any) -> DeviceBook:
    """The usual kinds, and one of a plugin whose option has another default."""
    options = {"fails": "", **usual}

    @hookimpl
    def memhub_devices() -> list[DeviceKind]:
        return [DeviceKind(name="card", summary="", options={"fails": ""}, make=make)]

    def make(given: Mapping[str, Any]) -> Card:
        return Card({**given, **options})

    module = ModuleType("a_card")
    vars(module)["memhub_devices"] = memhub_devices
    kinds = load_device_kinds(plugins=[("card", module)], installed=False).kinds

    return DeviceBook({**USUAL.kinds, **kinds})


SPEC = MachineSpec(
    name="pc",
    arch="amd64",
    devices=(
        DeviceSpec(name="com1", kind="uart-16550", base=UART),
        DeviceSpec(name="vga", kind="vga-text"),
        DeviceSpec(name="card", kind="card", base=CARD, limit=0.05),
    ),
)


async def write_log(path: Path) -> None:
    with AuditLog.open(path) as log:
        async with (
            Hub([SPEC], log=log, device_kinds=book()) as hub,
            hub.process("X") as process,
            await process.open("/dev/mem", "r+") as mem,
        ):
            await mem.pwrite(b"\x03", UART + 3)
            await mem.pread(16, UART - 8)  # over the border of its window
            await mem.pwrite(b"x\x07", 0xB8000)
            await mem.pread(4, CARD)
            with pytest.raises(DeviceError, match="not zeros"):
                await mem.pwrite(b"1234", CARD)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of accesses of devices, one of which is refused."""
    found = tmp_path / "log"
    anyio.run(write_log, found)

    return found


def test_devices_answer_again_and_what_one_refuses_is_not_compared(path: Path) -> None:
    done = replay_log(path, device_kinds=book())

    assert (done.differences, done.notes) == ([], [])
    assert list(done.unplayed.items()) == [
        ("a device refuses it, which may depend on bytes that a log does not have", 1)
    ]
    assert done.steps == 6


@pytest.mark.parametrize(
    ("fails", "why"), [("raises", "ZeroDivisionError: planted"), ("hangs", "did not answer read")]
)
def test_a_model_that_fails_now_is_a_difference(path: Path, fails: str, why: str) -> None:
    done = replay_log(path, device_kinds=book(fails=fails))

    assert [(it.what, it.expected) for it in done.differences] == [
        ("errno", "ok"),
        ("moved", "4"),
    ]
    assert why in done.differences[0].found


@pytest.mark.anyio
async def test_a_replay_inside_an_event_loop_asks_them_too(tmp_path: Path) -> None:
    await write_log(tmp_path / "log")
    assert replay_log(tmp_path / "log", device_kinds=book()).differences == []


def test_a_device_whose_kind_is_not_installed_is_named(path: Path) -> None:
    done = replay_log(path, device_kinds=USUAL)

    (note,) = done.notes
    assert note.startswith(
        "pc: devices.card.kind: 'card' is not installed (installed: frame-buffer"
    )
    assert note.endswith("; what lies there answers as without it")
    assert done.facts()["notes"] == [note]


def test_on_another_architecture_the_devices_are_there_too(path: Path) -> None:
    done = replay_log(path, arch="amd64-mtrr", device_kinds=book(fails="raises"))

    assert [it.what for it in done.differences] == ["errno", "moved"]
