"""How many columns a line of output has: those of the terminal, or 80 without one."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # in place of typing's own, whose import costs more than this module
if TYPE_CHECKING:
    from typing import Final

#: Columns where there is no terminal, and the fewest that text is folded to.
COLUMNS: Final = 80
_FEWEST: Final = 20


def width() -> int:
    """Columns of a line of output: COLUMNS, those of the terminal, or 80."""
    try:
        columns = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        columns = 0

    if columns <= 0:
        try:
            columns = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError):
            columns = 0

    return max(columns, _FEWEST) if columns > 0 else COLUMNS
