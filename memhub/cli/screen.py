"""Show what a device of a machine shows: a text screen, or a frame buffer.

On a terminal a running service's device is shown as it changes, until interrupted. Elsewhere, with
--once, and of the machines of a file, one picture is shown: characters as text, and points by how
light they are where there are no colours. The device reads its memory over the bus: what is in a
cache or a combining buffer is not in the picture, and each look has its record in the log.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memhub.abi import Errno
from memhub.cli.failures import CommandFailed
from memhub.cli.file_output import write_output
from memhub.cli.target import add_target_arguments, open_target
from memhub.cli.terminal import complain, output, print_json, print_line, print_text, shows_colour
from memhub.cli.top import parse_interval
from memhub.errors import DeviceError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from memhub.cli.target import Client
    from memhub.core.memory.placed import PlacedDevice
    from memhub.plugin.pictures import Pixels, TextCells

    Picture = Pixels | TextCells

_CLEAR = "\x1b[H\x1b[J"


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub screen`."""
    add_target_arguments(parser)
    parser.add_argument("device", nargs="?", metavar="DEVICE", help="which (the only one)")
    parser.add_argument("--list", action="store_true", help="the machine's devices instead")
    parser.add_argument("--json", action="store_true", help="with --list: a list of objects")
    parser.add_argument("--out", metavar="FILE", help="write a PNG instead; needs memhub[screen]")
    parser.add_argument(
        "--scale", type=int, metavar="N", help="with --out: points of the PNG for each point (1)"
    )
    parser.add_argument("--once", action="store_true", help="one picture")
    parser.add_argument(
        "--interval", type=parse_interval, default=0.5, metavar="S", help="seconds (0.5)"
    )
    chosen = parser.parse_args(arguments)
    _check_out(chosen)
    target = open_target(chosen, "memhub screen")
    with target.client as client:
        rows = client.list_devices(target.machine)
        if chosen.list:
            _print_list(rows, as_json=chosen.json)
        elif chosen.out is not None:
            _write_png(chosen, _Source(client, target.machine, rows, chosen.device))
        else:
            once = chosen.once or target.local or not sys.stdout.isatty()
            source = _Source(client, target.machine, rows, chosen.device)
            _watch(source, chosen.interval, once=once)

    return 0


def _check_out(chosen: argparse.Namespace) -> None:
    if chosen.out is None:
        if chosen.scale is not None:
            raise CommandFailed("--scale is of the PNG that --out writes")
    elif Path(chosen.out).suffix.lower() != ".png":
        raise CommandFailed(f"--out writes a PNG: {chosen.out} does not end with .png")


class _Source:
    """A device that shows memory, of a service or of this command's own machines."""

    def __init__(
        self, client: Client, machine: str | None, rows: list[dict[str, Any]], name: str | None
    ) -> None:
        from memhub.core.memory.placed import DeviceRefused
        from memhub.device_kinds import remake_device

        row = _choose(rows, name)
        self.title = f"{row['name']} ({row['kind']}) at {row['base']:#x}"
        self._client = client
        self._machine = machine
        self._name = str(row["name"])
        try:
            self._device: PlacedDevice = remake_device(row)
        except DeviceRefused as error:
            raise CommandFailed(str(error)) from error

    def read(self) -> bytes:
        """The bytes of the device, as the bus has them."""
        data = self._client.read_device(self._name, self._machine)
        if len(data) != self._device.length:
            raise CommandFailed(f"{len(data)} bytes of {self._name} came, not all of them")

        return data

    def draw(self, data: bytes) -> Picture:
        """The picture of these bytes."""
        from memhub.shown import draw_picture

        return draw_picture(self._machine or "the default machine", self._device, data)


def _choose(rows: list[dict[str, Any]], name: str | None) -> dict[str, Any]:
    known = ", ".join(str(row["name"]) for row in rows) or "none"
    if name is not None:
        for row in rows:
            if row["name"] == name:
                if not row["shows"]:
                    raise CommandFailed(f"device {name} ({row['kind']}) shows nothing")

                return row

        raise CommandFailed(f"the machine has no device {name!r} (devices: {known})")

    shown = [row for row in rows if row["shows"]]
    if len(shown) == 1:
        return shown[0]

    if shown:
        names = ", ".join(str(row["name"]) for row in shown)
        raise CommandFailed(f"say which device: {names}")

    raise CommandFailed(f"the machine has no device that shows something (devices: {known})")


def _print_list(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return

    if not rows:
        print_line("no devices")

    for row in rows:
        shows = ", shows its memory" if row["shows"] else ""
        print_line(
            f"{row['name']}: {row['kind']} at {row['base']:#x}/{row['length']:#x}{shows}", hang=2
        )
        options = ", ".join(f"{key} = {value}" for key, value in row["options"].items())
        print_line(f"  {options or 'no options'}; from {row['source']}", hang=2)


def _write_png(chosen: argparse.Namespace, source: _Source) -> None:
    from memhub.screens import draw_png

    try:
        data = draw_png(
            source.draw(source.read()), scale=1 if chosen.scale is None else chosen.scale
        )
    except (ModuleNotFoundError, ValueError) as error:
        raise CommandFailed(str(error)) from error

    write_output(chosen.out, data)


def _watch(source: _Source, interval: float, *, once: bool) -> None:
    with _open_view(source.title, live=not once) as show:
        before: bytes | None = None
        while True:
            try:
                data = source.read()
            except DeviceError as error:
                # what is shown stays until the machine is resumed
                if once or before is None or error.code != Errno.EAGAIN:
                    raise

                data = before

            if data != before:
                show(source.draw(data))

            if once:
                return

            before = data
            time.sleep(interval)


@contextmanager
def _open_view(title: str, *, live: bool) -> Iterator[Callable[[Picture], None]]:
    """Shows one picture after the other, with rich where it is installed."""
    colour = shows_colour(sys.stdout)
    if colour:
        try:
            from rich.console import Console
        except ImportError:
            complain("plain text; the extra memhub[cli] adds colour")
            colour = False

    if not colour:
        yield lambda picture: _print_plain(picture, title if live else "")
        return

    console = Console(highlight=False, markup=False, emoji=False)
    if not live:
        yield lambda picture: _print_colours(console, picture)
        return

    from rich.live import Live

    with Live(
        console=console, auto_refresh=False, screen=True, vertical_overflow="crop"
    ) as display:
        yield lambda picture: display.update(_make_text(console, picture, title), refresh=True)


def _print_plain(picture: Picture, title: str) -> None:
    import shutil

    from memhub.cli.width import width
    from memhub.plugin.pictures import TextCells
    from memhub.screens import draw_lines

    columns = width()
    if isinstance(picture, TextCells) and not sys.stdout.isatty():
        columns = picture.columns

    rows = shutil.get_terminal_size().lines
    lines = draw_lines(picture, columns, rows, colour=False)
    text = "\n".join(line[0][0] for line in lines)
    if title:
        text += f"\n{title}"

    print_text(f"{text}\n", before=_CLEAR if title else "")


def _print_colours(console: Any, picture: Picture) -> None:  # noqa: ANN401 - rich is optional
    with output():
        console.print(_make_text(console, picture, ""), soft_wrap=True, end="")


def _make_text(console: Any, picture: Picture, title: str) -> Any:  # noqa: ANN401 - rich is optional
    from rich.color import Color
    from rich.style import Style
    from rich.text import Text

    from memhub.screens import draw_lines

    text = Text(no_wrap=True, overflow="crop")
    rows = max(1, console.height - bool(title))
    for line in draw_lines(picture, console.width, rows, colour=True):
        for shown, front, back in line:
            colours = [it and Color.from_rgb(*it) for it in (front, back)]
            text.append(shown, Style(color=colours[0], bgcolor=colours[1]))

        text.append("\n")

    text.append(title)

    return text
