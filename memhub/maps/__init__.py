"""Pictures of a machine's physical address space: one description, as text or as a figure.

    from memhub.maps import describe_map, draw_figure, map_text

    print(map_text(describe_map(hub.machines["pc"])))

address_map   the description: pieces that are alike, and the slots over them; to and from JSON
describe      the description of a machine      kernel_ranges  those of other kernels than FreeBSD
scale         addresses on a line on which 1 MiB and 1 TiB can both be read
strip         a description in one line
signs, words  the letter, colour and pattern of each type; words for pieces
text          a description as lines of text
figure        descriptions as SVG, and with vl-convert as PNG and PDF
lanes, svg    slots side by side; the parts of a drawing
"""

from __future__ import annotations

# Type checkers take this name for true; see `memhub/__init__.py`.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Final

    from memhub.maps.address_map import AddressMap as AddressMap
    from memhub.maps.address_map import MapSlot as MapSlot
    from memhub.maps.address_map import Piece as Piece
    from memhub.maps.describe import describe_map as describe_map
    from memhub.maps.describe import map_at_start as map_at_start
    from memhub.maps.figure import draw_figure as draw_figure
    from memhub.maps.text import map_text as map_text

_HOMES: Final = {
    "AddressMap": "memhub.maps.address_map",
    "MapSlot": "memhub.maps.address_map",
    "Piece": "memhub.maps.address_map",
    "describe_map": "memhub.maps.describe",
    "draw_figure": "memhub.maps.figure",
    "map_at_start": "memhub.maps.describe",
    "map_text": "memhub.maps.text",
}

__all__ = (
    "AddressMap",
    "MapSlot",
    "Piece",
    "describe_map",
    "draw_figure",
    "map_at_start",
    "map_text",
)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'memhub.maps' has no attribute {name!r}")

    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value

    return value
