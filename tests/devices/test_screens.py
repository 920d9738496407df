"""What devices of memory show: points and characters, as PNG and in a terminal."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFont

from devices.strange import BASE, device, machine
from memhub import CacheLimits, Hub, MachineSpec
from memhub.devices.screens import draw_lines, draw_png
from memhub.devices.screens.glyphs import HEIGHT, WIDTH, Glyphs, arms_of
from memhub.devices.screens.signs import SIGNS, TURNED
from memhub.errors import InvalidArgument, NoSuchDevice
from memhub.plugin.pictures import PALETTE, Pixels, TextCells
from memhub_devices.frame_buffer import FORMATS, FRAME_BUFFER, FrameBuffer
from memhub_devices.vga_text import CHARACTERS, VGA_TEXT, VgaText

FB = 0xD0000000


def points_of(png: bytes) -> np.ndarray[Any, Any]:
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.mode) == ("PNG", "RGB")

    return np.asarray(image)


# Frame buffers


@pytest.mark.parametrize(
    ("name", "red", "green", "blue"),
    [
        ("xrgb8888", b"\0\0\xff\0", b"\0\xff\0\0", b"\xff\0\0\0"),
        ("xbgr8888", b"\xff\0\0\0", b"\0\xff\0\0", b"\0\0\xff\0"),
        ("xrgb2101010", b"\0\0\xf0\x3f", b"\0\xfc\x0f\0", b"\xff\x03\0\0"),
        ("rgb888", b"\0\0\xff", b"\0\xff\0", b"\xff\0\0"),
        ("bgr888", b"\xff\0\0", b"\0\xff\0", b"\0\0\xff"),
        ("rgb565", b"\0\xf8", b"\xe0\x07", b"\x1f\0"),
        ("xrgb1555", b"\0\x7c", b"\xe0\x03", b"\x1f\0"),
    ],
)
def test_each_format_has_its_colours_where_it_says(
    name: str, red: bytes, green: bytes, blue: bytes
) -> None:
    model = FrameBuffer({**FRAME_BUFFER.options, "width": 3, "height": 1, "format": name})
    picture = model.show((red + green + blue).ljust(model.length, b"\0"))
    assert picture == Pixels(3, 1, b"\xff\0\0\0\xff\0\0\0\xff")


def test_every_format_is_tested_and_grey_is_grey() -> None:
    model = FrameBuffer({**FRAME_BUFFER.options, "width": 3, "height": 1, "format": "r8"})
    assert model.show(b"\0\x80\xff".ljust(4096)).rgb == b"\0\0\0\x80\x80\x80\xff\xff\xff"
    assert len(FORMATS) == 8


@given(
    st.sampled_from(sorted(FORMATS)),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(0, 7),
    st.data(),
)
def test_points_are_those_of_a_plain_reading_of_the_memory(
    name: str, width: int, height: int, gap: int, data: st.DataObject
) -> None:
    form = FORMATS[name]
    stride = width * form.size + gap
    options = {"width": width, "height": height, "format": name, "stride": stride}
    model = FrameBuffer(options)
    memory = data.draw(st.binary(min_size=stride * height, max_size=stride * height))
    expected = bytearray()
    for y in range(height):
        for x in range(width):
            at = y * stride + x * form.size
            number = int.from_bytes(memory[at : at + form.size], "little")
            for low, bits in form.parts:
                most = 2**bits - 1
                expected.append((2 * 255 * (number >> low & most) + most) // (2 * most))

    assert model.show(memory.ljust(model.length, b"\xee")).rgb == expected


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"width": 0}, "width: 0 is not between 1 and 16384"),
        ({"height": 16385}, "height: 16385 is not between 1 and 16384"),
        ({"format": "rgb"}, "format: 'rgb' is not a format"),
        ({"width": 16384, "height": 4097}, "height: 4097 lines of 65536 bytes, 0x10010000, are"),
        ({"stride": 1 << 40}, "stride: 480 lines of 1099511627776 bytes, 0x1e00000000000, are"),
        ({"stride": 100}, "stride: 100 is less than the 2560 bytes of a line's points"),
    ],
)
def test_wrong_options_of_a_frame_buffer_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Hub([machine(device("frame-buffer", FB, options=options))])


# Text screens


def vga(**options: Any) -> VgaText:
    return VgaText({**VGA_TEXT.options, **options})


def test_a_screen_begins_blank_in_grey_on_black() -> None:
    model = vga()
    assert model.show(model.content) == TextCells(80, 25, " " * 2000, b"\x07" * 2000)


def test_characters_are_those_of_code_page_437() -> None:
    assert (len(CHARACTERS), CHARACTERS.isprintable()) == (256, True)
    assert CHARACTERS[32:127] == "".join(map(chr, range(32, 127)))
    assert [CHARACTERS[it] for it in (1, 3, 127, 0xB0, 0xC9, 0xDB, 0xE1)] == [*"☺♥⌂░╔█ß"]


def test_each_character_of_code_page_437_has_a_picture_of_its_own() -> None:
    glyphs = Glyphs(ImageFont.load_default_imagefont())
    drawn = {mark: glyphs.draw(mark).tobytes() for mark in CHARACTERS}
    same = {(one, two) for one in drawn for two in drawn if one < two and drawn[one] == drawn[two]}

    assert not same
    assert [mark for mark, bits in drawn.items() if not any(bits)] == [" "]


@pytest.mark.parametrize("mark", [*SIGNS, *TURNED])
def test_a_sign_fits_into_its_cell(mark: str) -> None:
    sign = SIGNS[TURNED.get(mark, mark)]
    rows = sign.rows.split("/")
    assert {len(it) for it in rows} == {len(rows[0])}
    assert len(rows[0]) <= WIDTH
    assert len(rows) - 1 <= sign.bottom < HEIGHT
    assert set(sign.rows) <= {*"#./"}


def test_bit_7_blinks_or_is_a_bright_background() -> None:
    data = b"A\xf1".ljust(0x8000, b"\0")
    assert vga(columns=1, rows=1).show(data).colours == b"\x71"
    assert vga(columns=1, rows=1, blink=False).show(data).colours == b"\xf1"


def test_the_first_cell_can_be_another() -> None:
    data = b"".join(bytes([65 + it, 7]) for it in range(26)).ljust(0x8000, b"\0")
    assert vga(columns=3, rows=2, start=4).show(data).lines() == ["EFG", "HIJ"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"rows": 0}, "rows: 0 is not between 1 and 255"),
        ({"columns": 132, "rows": 200}, "start: 0: 26400 cells from there on do not fit"),
        ({"start": 14385}, "start: 14385: 2000 cells"),
        ({"start": -1}, "start: -1"),
    ],
)
def test_wrong_options_of_a_text_screen_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Hub([machine(device("vga-text", None, options=options))])


# A hub


async def test_a_hub_shows_what_was_written() -> None:
    spec = machine(
        device("vga-text", None, "vga"),
        device("frame-buffer", FB, "fb", options={"width": 2, "height": 1}),
        device("uart-16550", BASE, "com1"),
    )
    async with Hub([spec]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"H\x1fi\x1f", 0xB8000)
        await mem.pwrite(b"\x01\x02\x03\x00\xff\xff\xff\x00", FB)
        screen = hub.show("vga")
        assert isinstance(screen, TextCells)
        assert screen.lines()[0].rstrip() == "Hi"
        assert hub.show("fb", "pc") == Pixels(2, 1, b"\x03\x02\x01\xff\xff\xff")
        with pytest.raises(InvalidArgument, match="several devices that show memory: vga, fb"):
            hub.show()

        with pytest.raises(InvalidArgument, match="is no memory, and shows nothing"):
            hub.show("com1")

        with pytest.raises(NoSuchDevice, match="no device 'x'"):
            hub.show("x")

        then = hub.snapshot()
        await mem.pwrite(b"o", 0xB8002)
        hub.restore(then)
        assert hub.show("vga") == screen
        async with hub.fork() as twin:
            assert twin.show("vga") == screen

        hub.reset()
        cleared = hub.show("vga")
        assert isinstance(cleared, TextCells)
        assert cleared.text == " " * 2000


async def test_a_snapshot_does_not_fit_a_machine_with_other_devices() -> None:
    one = machine(device("frame-buffer", FB, options={"width": 64, "height": 64}))
    two = machine(device("frame-buffer", FB, options={"width": 32, "height": 128}))
    async with Hub([one]) as here, Hub([two]) as there:
        with pytest.raises(InvalidArgument, match=r"does not fit pc: devices it \(frame-buffer"):
            there.restore(here.snapshot())


@pytest.mark.parametrize("kind", ["write-combine", "write-back"])
@pytest.mark.parametrize("bus", ["blind", "snooping"])
async def test_where_memory_is_not_coherent_what_cpus_hold_is_not_shown(
    kind: str, bus: Any
) -> None:
    spec = replace(
        machine(device("frame-buffer", FB, options={"width": 8, "height": 8})),
        coherent=False,
        msrs={0x2FF: 0x806},
        bus=bus,
        caches=CacheLimits(seed=7),
    )
    async with Hub([spec]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.set_range(FB, 4096, kind)
        await mem.pwrite(b"\xff" * 8, FB)
        missing = kind == "write-combine" or bus == "blind"
        assert (first_points(hub) == bytes(6)) == missing
        names = {it.name for it in hub.hazards()} - {"undrained-buffers"}
        cure = "stale-bus-read" if kind == "write-back" else "undrained-read"
        assert names == ({cure} if missing else set())
        await (mem.fence() if kind == "write-combine" else mem.writeback(FB, 8))
        assert first_points(hub) == b"\xff" * 6


def first_points(hub: Hub) -> bytes:
    picture = hub.show()
    assert isinstance(picture, Pixels)

    return picture.rgb[:6]


# PNG


def test_a_png_of_points_has_them_each_as_often_as_the_scale_says() -> None:
    picture = Pixels(2, 1, b"\x01\x02\x03\xff\xfe\xfd")
    assert points_of(draw_png(picture)).tolist() == [[[1, 2, 3], [255, 254, 253]]]
    assert points_of(draw_png(picture, scale=3)).shape == (3, 6, 3)


def test_a_png_of_text_has_cells_of_8_by_16_in_their_colours() -> None:
    points = points_of(draw_png(TextCells(2, 1, "█A", b"\x4e\x1f")))
    assert points.shape == (16, 16, 3)
    assert {tuple(map(int, it)) for it in points[:, :8].reshape(-1, 3)} == {PALETTE[14]}
    assert {tuple(map(int, it)) for it in points[:, 8:].reshape(-1, 3)} == {PALETTE[1], PALETTE[15]}


def test_every_character_of_a_text_screen_but_blanks_is_drawn() -> None:
    points = points_of(draw_png(TextCells(256, 1, CHARACTERS, b"\x0f" * 256)))
    drawn = [bool(points[:, 8 * it : 8 * it + 8].any()) for it in range(256)]
    assert [code for code, it in enumerate(drawn) if not it] == [0, 32, 255]


def test_lines_join_those_of_neighbouring_cells() -> None:
    points = points_of(draw_png(TextCells(3, 3, "╔═╗║ ║╚═╝", b"\x0f" * 9))).max(axis=2)
    across = points[:, 8:16]
    assert across[6].all()
    assert across[9].all()
    for column in (points[:, 2], points[:, 5]):
        assert column[9:39].all()


@pytest.mark.parametrize(
    ("mark", "arms"),
    [
        ("─", {"LEFT": 1, "RIGHT": 1}),
        ("┼", {"UP": 1, "DOWN": 1, "LEFT": 1, "RIGHT": 1}),
        ("╔", {"DOWN": 2, "RIGHT": 2}),
        ("╖", {"DOWN": 2, "LEFT": 1}),
        ("╞", {"UP": 1, "DOWN": 1, "RIGHT": 2}),
        ("╫", {"UP": 2, "DOWN": 2, "LEFT": 1, "RIGHT": 1}),
        ("A", None),
        ("┏", None),
    ],
)
def test_arms_are_read_from_the_names_of_characters(mark: str, arms: Any) -> None:
    assert arms_of(mark) == arms


def test_wrong_arguments_are_refused_and_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = Pixels(1, 1, bytes(3))
    with pytest.raises(ValueError, match="scale 17 is not between 1 and 16"):
        draw_png(picture, scale=17)

    with pytest.raises(TypeError, match="picture"):
        draw_png(b"x")  # type: ignore[arg-type]

    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ModuleNotFoundError, match=r"the extra memhub\[screen\] brings"):
        draw_png(picture)


# Terminals


def test_text_is_shown_as_it_is_and_cut_where_the_terminal_ends() -> None:
    picture = TextCells(4, 2, "ab  cdef", b"\x07\x07\x17\x17\x07\x07\x07\x07")
    assert draw_lines(picture, 80, 24, colour=False) == [
        [("ab", None, None)],
        [("cdef", None, None)],
    ]
    grey, black, blue = PALETTE[7], PALETTE[0], PALETTE[1]
    assert draw_lines(picture, 3, 24, colour=True) == [
        [("ab", grey, black), (" ", grey, blue)],
        [("cde", grey, black)],
    ]


@given(st.integers(1, 200), st.integers(1, 120), st.integers(1, 100), st.integers(1, 40))
def test_points_fit_the_terminal_and_keep_their_shape(
    width: int, height: int, columns: int, rows: int
) -> None:
    for colour in (False, True):
        lines = draw_lines(
            Pixels(width, height, b"\x80" * (3 * width * height)), columns, rows, colour=colour
        )
        wide = {sum(len(it[0]) for it in line) for line in lines}
        assert len(wide) == 1
        assert 1 <= max(wide) <= min(columns, width)
        assert 1 <= len(lines) <= max(rows, 1)


def test_points_are_means_and_half_blocks_have_two_of_them() -> None:
    rgb = b"\0\0\0\xff\xff\xff" * 2 + b"\x10\x20\x30" * 4
    assert draw_lines(Pixels(4, 2, rgb), 2, 24, colour=True) == [
        [("▀▀", (127,) * 3, (0x10, 0x20, 0x30))]
    ]
    ramp = draw_lines(Pixels(2, 1, b"\0\0\0\xff\xff\xff"), 80, 24, colour=False)
    assert ramp == [[(" @", None, None)]]


def test_a_machine_is_described_by_plain_values() -> None:
    assert isinstance(machine(device("vga-text", None)), MachineSpec)
