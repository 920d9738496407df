"""`memhub screen`: on a file's machine and on a running service, in a pipe and on a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from memhub import Hub, connect, load_config
from memhub.errors import DeviceError, InvalidArgument, NotPermitted, NotSupported
from memhub.service import wire
from memhub.service.blocking import BlockingClient
from memhub.service.server import Server
from memhub.service.settings import RightsRule, ServiceConfig
from service.served import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clirun import Run

CONFIG = """
[machines.pc]
arch = "amd64"
[machines.pc.devices.vga]
kind = "vga-text"
[machines.pc.devices.card]
kind = "frame-buffer"
base = 0xd0000000
options = { width = 160, height = 100, format = "r8" }
[machines.pc.devices.com1]
kind = "uart-16550"
base = 0xfe000000
[machines.plain]
arch = "amd64"
"""


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 columns."""
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "m.toml"
    path.write_text('default = "pc"\n' + CONFIG)

    return path


@pytest.fixture
def service(config: Path) -> Iterator[str]:
    """A service whose screen says something, and whose card is half light."""
    address = str(config.parent / "s")
    with served(config.parent / "s", *load_config(config).machines.values(), default="pc"):
        with BlockingClient(address) as client, client.open("/dev/mem", "r+") as mem:
            cells = b"".join(bytes([it, 0x1F]) for it in "║ login: ║".encode("cp437"))
            mem.pwrite(cells, 0xB8000)
            mem.pwrite(bytes(8000) + b"\xff" * 8000, 0xD0000000)

        yield address


def test_a_files_machine_shows_what_it_begins_with(run: Run, config: Path) -> None:
    done = run("screen", "vga", "--config", str(config))
    assert (done.code, done.out) == (0, "\n" * 25)


def test_devices_are_listed(run: Run, config: Path) -> None:
    done = run("screen", "--list", "--config", str(config))
    assert "card: frame-buffer at 0xd0000000/0x4000, shows its memory\n" in done.out
    assert "com1: uart-16550 at 0xfe000000/0x8\n" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    rows = json.loads(run("screen", "--list", "--json", "--config", str(config)).out)
    assert [(it["name"], it["shows"]) for it in rows] == [
        ("vga", True),
        ("card", True),
        ("com1", False),
    ]
    none = run("screen", "--list", "--config", str(config), "--machine", "plain")
    assert none.out == "no devices\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "say which device: vga, card"),
        (["com1"], "device com1 (uart-16550) shows nothing"),
        (["x"], "the machine has no device 'x' (devices: vga, card, com1)"),
        (["--machine", "plain"], "no device that shows something (devices: none)"),
        (["vga", "--out", "x.png", "--scale", "0"], "scale 0 is not between 1 and 16"),
        (["vga", "--out", "x.gif"], "--out writes a PNG: x.gif does not end with .png"),
        (["vga", "--scale", "4"], "--scale is of the PNG that --out writes"),
    ],
)
def test_what_cannot_be_shown_is_an_error(
    run: Run, config: Path, words: list[str], problem: str
) -> None:
    done = run("screen", *words, "--config", str(config))
    assert done.code == 2
    assert problem in " ".join(done.err.split())


def test_a_service_shows_characters_and_points(run: Run, service: str) -> None:
    text = run("screen", "vga", "--connect", service)
    assert text.out.startswith("║ login: ║\n\n")
    points = run("screen", "card", "--connect", service).out.splitlines()
    assert max(map(len, points)) <= 80
    assert set(points[0]) <= {" "}
    assert set(points[-1]) == {"@"}


def test_a_png_is_written(run: Run, service: str, tmp_path: Path) -> None:
    file = tmp_path / "card.png"
    done = run("screen", "card", "--connect", service, "--out", str(file), "--scale", "2")
    assert (done.code, done.out) == (0, "")
    image = Image.open(io.BytesIO(file.read_bytes()))
    assert (image.size, image.getpixel((0, 0)), image.getpixel((319, 199))) == (
        (320, 200),
        (0, 0, 0),
        (255, 255, 255),
    )


def test_on_a_terminal_it_is_live_and_in_colours_until_interrupted(service: str) -> None:
    master, slave = pty.openpty()
    words = ["screen", "vga", "--connect", service, "--interval", "0.01"]
    environ = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environ.pop("NO_COLOR", None)
    child = subprocess.Popen(
        [sys.executable, "-m", "memhub", *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environ,
    )
    os.close(slave)
    seen = bytearray()
    try:
        read_until(master, seen, b"login")
        with BlockingClient(service) as client, client.open("/dev/mem", "r+") as mem:
            mem.pwrite(b"h\x1fe\x1fr\x1fe\x1f", 0xB8000 + 160)

        read_until(master, seen, b"here")
        with BlockingClient(service) as client, client.open("/dev/mem", "r+") as mem:
            client.hardware.suspend()
            with pytest.raises(DeviceError, match="EAGAIN: machine pc is suspended"):
                client.read_device("vga")

            client.hardware.resume()
            mem.pwrite(b"a\x1fw\x1fa\x1fk\x1fe\x1f", 0xB8000 + 320)

        read_until(master, seen, b"awake")
        child.send_signal(signal.SIGINT)
        read_until(master, seen, None)
        assert child.wait(30) == 130
    finally:
        child.kill()
        child.wait()
        os.close(master)

    assert b"\x1b[38;2;255;255;255;48;2;0;0;170m" in seen


def read_until(master: int, seen: bytearray, wanted: bytes | None) -> None:
    """Read a terminal until it has shown something, or None: until it is closed."""
    while wanted is None or wanted not in seen:
        assert select.select([master], [], [], 30)[0], seen
        try:
            seen += os.read(master, 65536)
        except OSError:
            assert wanted is None, seen
            return


# The frame


async def test_a_client_needs_rights_and_a_service_that_knows_devices(
    config: Path, tmp_path: Path
) -> None:
    only = RightsRule(uid=os.getuid(), machine="pc", allow=frozenset({"read-ranges"}))
    settings = ServiceConfig(socket=tmp_path / "s", rights=(only,))
    async with (
        Hub(load_config(config).machines.values(), default="pc") as hub,
        Server(hub, settings),
        connect(tmp_path / "s") as client,
    ):
        assert [it["base"] for it in await client.list_devices()] == [
            0xB8000,
            0xD0000000,
            0xFE000000,
        ]
        with pytest.raises(NotPermitted, match="read-memory"):
            await client.read_device("vga")

        with pytest.raises(NotPermitted):
            await client.list_devices("plain")

        client._greeted().features &= ~wire.FEATURE_DEVICES
        with pytest.raises(NotSupported, match="of a version without devices"):
            await client.list_devices()


async def test_a_large_device_comes_in_pieces_and_a_wrong_one_is_refused(
    config: Path, tmp_path: Path
) -> None:
    async with (
        Hub(load_config(config).machines.values(), default="pc") as hub,
        Server(hub, ServiceConfig(socket=tmp_path / "s")),
        connect(tmp_path / "s") as client,
    ):
        assert await client.read_device("vga") == b" \x07" * 0x4000
        with pytest.raises(InvalidArgument, match="several devices that show memory"):
            await client.read_device()


@pytest.mark.skipif(sys.platform != "linux", reason="needs memory files")
def test_clients_may_map_the_memory_of_a_device(service: str) -> None:
    with (
        BlockingClient(service) as client,
        client.open("/dev/mem", "r+") as mem,
        mem.map_span(0xD0000000, 16384, write=True) as view,
    ):
        assert view[8000] == 255
        view[0] = 128
        assert client.read_device("card")[0] == 128
