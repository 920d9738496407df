"""The generator behind evictions and the order of drains: splitmix64, whose state is a number.

Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

from typing import Final

_U64: Final = (1 << 64) - 1
_GAMMA: Final = 0x9E3779B97F4A7C15


def draw_number(state: int) -> tuple[int, int]:
    """The next state, and a number of 64 bits."""
    state = state + _GAMMA & _U64
    mixed = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _U64
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _U64

    return state, mixed ^ mixed >> 31
