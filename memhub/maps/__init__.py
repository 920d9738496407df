"""Pictures of a machine's physical address space: one description, as text or as a figure.

    from memhub.maps import describe_map, draw_figure, map_text

    print(map_text(describe_map(hub.machines["pc"])))

address_map   the description: pieces that are alike, and the slots over them; to and from JSON
describe      the description of a machine
scale         addresses on a line on which 1 MiB and 1 TiB can both be read
strip         a description in one line
signs         the letter, colour and pattern of each type
text          a description as lines of text
figure        descriptions as SVG, and with vl-convert as PNG and PDF
lanes, svg    slots side by side; the parts of a drawing
"""

from __future__ import annotations

from memhub.maps.address_map import AddressMap as AddressMap
from memhub.maps.address_map import MapSlot as MapSlot
from memhub.maps.address_map import Piece as Piece
from memhub.maps.describe import describe_map as describe_map
from memhub.maps.describe import map_at_start as map_at_start
from memhub.maps.figure import draw_figure as draw_figure
from memhub.maps.text import map_text as map_text
