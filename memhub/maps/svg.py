"""The few parts of an SVG that maps are drawn with. Every text has a known width."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable

INK: Final = "#1a1a1a"
QUIET: Final = "#5f6368"
FONT: Final = "DejaVu Sans Mono, Consolas, Menlo, monospace"

#: Width of a character for each pixel of the font's size, in a font whose characters are alike.
_WIDE: Final = 0.602

#: Where the middle of small letters is above the line, for each pixel of the font's size.
_MIDDLE: Final = 0.36


def width_of(text: str, size: float) -> float:
    """Pixels of a text; some characters take two places."""
    return cells(text) * _WIDE * size


def cells(text: str) -> int:
    """Places that a text takes."""
    from unicodedata import east_asian_width

    return len(text) if text.isascii() else sum(1 + (east_asian_width(it) in "WF") for it in text)


def fitted(text: str, room: float, size: float) -> str:
    """As much of a text as fits, with a sign where it is cut; nothing where none fits."""
    if width_of(text, size) <= room:
        return text

    while text and width_of(text + "…", size) > room:
        text = text[:-1]

    return text.rstrip() + "…" if text else ""


def text_at(
    x: float,
    y: float,
    text: str,
    *,
    room: float,
    size: float = 12,
    right: bool = False,
    bold: bool = False,
    colour: str = INK,
    behind: str = "",
) -> Iterable[str]:
    """A text in one line.

    Args:
        x: its left edge, or its right one.
        y: its middle.
        text: foreign text in it is escaped.
        room: pixels that it may take; it is cut to these.
        size: of the font, in pixels.
        right: whether `x` is the right edge.
        bold: whether it is bold.
        colour: of the letters.
        behind: the colour of a box behind it; none if empty.
    """
    shown = fitted(escape_controls(text), room, size)
    if not shown:
        return

    wide = width_of(shown, size)
    if behind:
        left = x - wide if right else x
        yield rect(left - 3, y - size * 0.65, wide + 6, size * 1.3, fill=behind)

    # The length holds in whatever font a viewer has
    yield (
        f'<text x="{x:.1f}" y="{y + size * _MIDDLE:.1f}" font-size="{size:g}" fill="{colour}" '
        f'textLength="{wide:.1f}" lengthAdjust="spacingAndGlyphs"'
        + (' text-anchor="end"' if right else "")
        + (' font-weight="bold"' if bold else "")
        + f' xml:space="preserve">{escape(shown)}</text>'
    )


def rect(
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    fill: str = "none",
    stroke: str = "",
    thick: float = 1,
    dashes: str = "",
) -> str:
    """A rectangle."""
    line = f' stroke="{stroke}" stroke-width="{thick:g}"' if stroke else ""
    line += f' stroke-dasharray="{dashes}"' if dashes else ""

    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{fill}"{line}/>'
    )


def line(x1: float, y1: float, x2: float, y2: float, *, stroke: str, thick: float = 1) -> str:
    """A straight line."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{stroke}" stroke-width="{thick:g}"/>'
    )


def group(parts: Iterable[str], y: float) -> str:
    """Parts that are moved down."""
    return f'<g transform="translate(0 {y:g})">\n' + "\n".join(parts) + "\n</g>"


def document(parts: Iterable[str], width: float, height: float, title: str) -> str:
    """A whole SVG; the title is for those who cannot see it."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}" '
        f'font-family="{FONT}">\n<title>{escape(title)}</title>\n'
        + rect(0, 0, width, height, fill="white")
        + "\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )
