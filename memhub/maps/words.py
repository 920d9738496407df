"""How a piece of a map is told: the sign of its type, and words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.maps.signs import KIND_WORDS, NO_TYPE, SIGNS

if TYPE_CHECKING:
    from memhub.maps.address_map import Piece
    from memhub.maps.signs import Sign


def sign_of(piece: Piece) -> Sign:
    """The sign of a piece's type; of its largest where it has several."""
    return NO_TYPE if piece.type is None else SIGNS[piece.type]


def type_words(piece: Piece) -> str:
    """The types of a piece: `WB`, `WB UC` where several alternate."""
    if piece.type is None:
        return "-"

    mark = "*" if piece.implementation_defined else ""

    return " ".join(piece.types) + mark


def place_words(piece: Piece) -> str:
    """What lies at a piece: `RAM`, or the name of a device."""
    return piece.device if piece.kind == "device" else KIND_WORDS[piece.kind]
