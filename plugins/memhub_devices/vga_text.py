"""A VGA text screen: 32 KiB at 0xb8000, of which it shows columns times rows cells.

A cell is two bytes: the character in code page 437, and its attribute. Of the attribute, bits 0 to
3 are the colour of the character and bits 4 to 6 that of the background. Bit 7 lets the character
blink as BIOS modes are set up, and is the fourth bit of the background otherwise. A picture is of
one moment, and shows a character that blinks.

Source: IBM, "Personal System/2 and Personal Computer BIOS Interface Technical Reference", and
"IBM VGA Technical Reference" (alphanumeric modes, attribute byte); the mode control register's bit
3 chooses between blinking and background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.plugin.devices import DeviceKind, OptionError, TextCells

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Bytes of the memory of colour text modes, 0xb8000 to 0xbffff.
LENGTH: Final = 0x8000

_LOW: Final = "\0☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
_CODES: Final = {code: mark for code, mark in enumerate(_LOW) if code}

#: The characters of code page 437 as a VGA draws them: 0 and 255 are blank.
CHARACTERS: Final = (
    "".join(_CODES.get(code, bytes([code]).decode("cp437")) for code in range(256))
    .replace("\0", " ")
    .replace("\x7f", "⌂")
    .replace("\xa0", " ")
)

_MOST: Final = 255


class VgaText:
    """The memory of a text screen.

    Args:
        options: `columns`, `rows`, `start` (the first cell that is shown) and `blink` (what bit 7
            of an attribute means).
    """

    length = LENGTH

    def __init__(self, options: Mapping[str, Any]) -> None:
        for key in ("columns", "rows"):
            if not 1 <= options[key] <= _MOST:
                raise OptionError(key, f"{options[key]} is not between 1 and {_MOST}")

        self._columns, self._rows = options["columns"], options["rows"]
        self._start, self._blink = options["start"], options["blink"]
        cells = self._columns * self._rows
        if not 0 <= self._start <= LENGTH // 2 - cells:
            raise OptionError(
                "start",
                f"{self._start}: {cells} cells from there on do not fit the {LENGTH // 2} of the "
                "screen's memory",
            )

    @property
    def content(self) -> bytes:
        """Blanks in grey on black, as firmware clears the screen."""
        return b" \x07" * (LENGTH // 2)

    def show(self, data: bytes) -> TextCells:
        """The characters and colours of the cells that are shown."""
        first = 2 * self._start
        shown = data[first : first + 2 * self._columns * self._rows]
        colours = shown[1::2]
        if self._blink:
            colours = bytes(it & 0x7F for it in colours)

        text = "".join([CHARACTERS[code] for code in shown[::2]])

        return TextCells(self._columns, self._rows, text, colours)


VGA_TEXT: Final = DeviceKind(
    name="vga-text",
    summary="the text screen of a VGA: characters and attributes",
    options={"columns": 80, "rows": 25, "start": 0, "blink": True},
    base=0xB8000,
    make=VgaText,
)
