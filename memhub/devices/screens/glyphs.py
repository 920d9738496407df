"""The characters of a text screen as bits, eight points wide and sixteen high.

Letters come from the bitmap font that Pillow brings, which has Latin-1. Lines and blocks are drawn
so that they join those of neighbouring cells: their names in Unicode say where their arms lead. The
other signs of code page 437 are in `signs`; a character that is nowhere is a question mark.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from memhub.devices.screens.signs import SIGNS, TURNED

if TYPE_CHECKING:
    import numpy.typing as npt

    from memhub.devices.screens.signs import Sign

    Bits = npt.NDArray[np.bool_]

WIDTH: Final = 8
HEIGHT: Final = 16

_TOP, _LEFT = 3, 1
_ARMS: Final = {
    "VERTICAL": ("UP", "DOWN"),
    "HORIZONTAL": ("LEFT", "RIGHT"),
    **{name: (name,) for name in ("UP", "DOWN", "LEFT", "RIGHT")},
}
_BLOCKS: Final = {
    "█": np.s_[:, :],
    "▀": np.s_[: HEIGHT // 2, :],
    "▄": np.s_[HEIGHT // 2 :, :],
    "▌": np.s_[:, : WIDTH // 2],
    "▐": np.s_[:, WIDTH // 2 :],
    "■": np.s_[5:12, 1:7],
}
_SHADES: Final = {"░": 4, "▒": 2, "▓": 4}


class Glyphs:
    """Draws characters, each once.

    Args:
        font: Pillow's bitmap font.
    """

    def __init__(self, font: Any) -> None:  # noqa: ANN401 - Pillow is optional
        self._font = font
        self._drawn: dict[str, Bits] = {}

    def draw(self, mark: str) -> Bits:
        """The bits of a character, of shape `(HEIGHT, WIDTH)`."""
        found = self._drawn.get(mark)
        if found is None:
            found = self._drawn[mark] = self._draw_new(mark)

        return found

    def _draw_new(self, mark: str) -> Bits:
        bits = np.zeros((HEIGHT, WIDTH), np.bool_)
        if mark in _BLOCKS:
            bits[_BLOCKS[mark]] = True
        elif mark in _SHADES:
            y, x = np.indices((HEIGHT, WIDTH))
            bits = (x + _SHADES[mark] // 2 * y) % _SHADES[mark] == 0
            bits = ~bits if mark == "▓" else bits
        elif (arms := arms_of(mark)) is not None:
            _draw_arms(bits, arms)
        elif mark in TURNED:
            bits = ~self.draw(TURNED[mark])
        elif mark in SIGNS:
            _draw_sign(bits, SIGNS[mark])
        else:
            _draw_letter(bits, self._font, mark)

        return bits


def arms_of(mark: str) -> dict[str, int] | None:
    """The arms of a character that draws lines: how many lines each has, 1 or 2.

    Returns:
        by direction; None for a character that is not of thin or double lines.
    """
    name = unicodedata.name(mark, "")
    if not name.startswith("BOX DRAWINGS "):
        return None

    words = name.removeprefix("BOX DRAWINGS ").split()
    if not {"LIGHT", "DOUBLE", "SINGLE"} & {*words} or {"DASH", "ARC", "HEAVY"} & {*words}:
        return None

    # The weight is said once for all arms, before them, or after each pair of them.
    arms: dict[str, int] = {}
    pair: list[str] = []
    weight = 2 if words[0] == "DOUBLE" else 1
    for word in words:
        if word in _ARMS:
            pair += _ARMS[word]
            arms.update(dict.fromkeys(_ARMS[word], weight))
        elif word in {"SINGLE", "DOUBLE"} and pair:
            arms.update(dict.fromkeys(pair, 2 if word == "DOUBLE" else 1))
            pair = []
        elif word == "AND" and words[-1] in {"SINGLE", "DOUBLE"}:
            pair = []

    return arms


def _draw_arms(bits: Bits, arms: dict[str, int]) -> None:
    y, x = HEIGHT // 2, WIDTH // 2
    across = [y - 2, y + 1] if 2 in (arms.get("LEFT"), arms.get("RIGHT")) else [y - 1]
    down = [x - 2, x + 1] if 2 in (arms.get("UP"), arms.get("DOWN")) else [x - 1]
    low, high = (across[0], across[-1]) if {"LEFT", "RIGHT"} & {*arms} else (y - 1, y - 1)
    left, right = (down[0], down[-1]) if {"UP", "DOWN"} & {*arms} else (x - 1, x - 1)
    for column in down:
        if "UP" in arms:
            bits[: high + 1, column] = True

        if "DOWN" in arms:
            bits[low:, column] = True

    for row in across:
        if "LEFT" in arms:
            bits[row, : right + 1] = True

        if "RIGHT" in arms:
            bits[row, left:] = True


def _draw_sign(bits: Bits, sign: Sign) -> None:
    rows = sign.rows.split("/")
    top, left = sign.bottom + 1 - len(rows), (WIDTH - len(rows[0])) // 2
    for y, row in enumerate(rows, top):
        for x, point in enumerate(row, left):
            bits[y, x] = point == "#"


def _draw_letter(bits: Bits, font: Any, mark: str) -> None:  # noqa: ANN401 - Pillow is optional
    try:
        mark.encode("latin-1")
    except UnicodeEncodeError:
        mark = "?"

    if mark != " ":
        mask = font.getmask(mark)
        columns, rows = mask.size
        drawn = np.array(mask, np.uint8).reshape(rows, columns) > 0
        drawn = drawn[: HEIGHT - _TOP, : WIDTH - _LEFT]
        bits[_TOP : _TOP + drawn.shape[0], _LEFT : _LEFT + drawn.shape[1]] = drawn
