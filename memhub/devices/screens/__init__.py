"""Pictures of devices, as PNG and as text for a terminal.

png        a PNG, by Pillow
glyphs     characters as bits
signs      those that no font has
terminal   lines of text, with colours or without
"""

from __future__ import annotations

from memhub.devices.screens.png import draw_png as draw_png
from memhub.devices.screens.terminal import draw_lines as draw_lines
