"""What a device shows: points of colour, or characters in cells."""

from __future__ import annotations

from typing import Final, NamedTuple

#: The sixteen colours of a text screen as red, green and blue; the first eight are backgrounds too.
PALETTE: Final = (
    (0x00, 0x00, 0x00),
    (0x00, 0x00, 0xAA),
    (0x00, 0xAA, 0x00),
    (0x00, 0xAA, 0xAA),
    (0xAA, 0x00, 0x00),
    (0xAA, 0x00, 0xAA),
    (0xAA, 0x55, 0x00),
    (0xAA, 0xAA, 0xAA),
    (0x55, 0x55, 0x55),
    (0x55, 0x55, 0xFF),
    (0x55, 0xFF, 0x55),
    (0x55, 0xFF, 0xFF),
    (0xFF, 0x55, 0x55),
    (0xFF, 0x55, 0xFF),
    (0xFF, 0xFF, 0x55),
    (0xFF, 0xFF, 0xFF),
)


class Pixels(NamedTuple):
    """A picture of points.

    Attributes:
        width: points of a line.
        height: lines.
        rgb: red, green and blue of each point, a byte each, line by line from the top left.
    """

    width: int
    height: int
    rgb: bytes

    def check(self) -> None:
        """Refuse one that contradicts itself.

        Raises:
            ValueError: it has another number of bytes than its size says.
        """
        due = 3 * self.width * self.height
        if min(self.width, self.height) < 1 or len(self.rgb) != due:
            raise ValueError(
                f"a picture of {self.width}x{self.height} points has {due} bytes, not "
                f"{len(self.rgb)}"
            )


class TextCells(NamedTuple):
    """A picture of characters in cells.

    Attributes:
        columns: cells of a line.
        rows: lines.
        text: the character of each cell, line by line; printable.
        colours: of each cell, the number of the character's colour in the low half of a byte, and
            of the background's in the high half; see PALETTE.
    """

    columns: int
    rows: int
    text: str
    colours: bytes

    def lines(self) -> list[str]:
        """The characters, a text for each line."""
        ends = range(0, self.columns * self.rows, self.columns)

        return [self.text[at : at + self.columns] for at in ends]

    def check(self) -> None:
        """Refuse one that contradicts itself.

        Raises:
            ValueError: it has another number of cells than its size says, or a character that is
                not printable.
        """
        due = self.columns * self.rows
        if min(self.columns, self.rows) < 1 or (len(self.text), len(self.colours)) != (due, due):
            raise ValueError(
                f"a picture of {self.columns}x{self.rows} cells has {due} characters and colours, "
                f"not {len(self.text)} and {len(self.colours)}"
            )

        if not self.text.isprintable():
            wrong = next(it for it in self.text if not it.isprintable())
            raise ValueError(f"{wrong!r} is not printable")
