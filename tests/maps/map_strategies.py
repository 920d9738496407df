"""Random address maps, and what tests ask of one."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, get_args

from hypothesis import settings
from hypothesis import strategies as st

from memhub.core.effective.typemap import TYPE_OF_CODE
from memhub.core.machine import Machine
from memhub.machines import load, names, pc
from memhub.maps import AddressMap, MapSlot, Piece, describe_map
from memhub.maps.address_map import PieceKind
from ownership.rig import ARCHES

if TYPE_CHECKING:
    from memhub.core.spec import MachineSpec

#: Drawing a map takes long: a few suffice by default, and a campaign looks at more.
few = settings(max_examples=max(20, settings().max_examples // 4))

_NAMES = st.text(max_size=12) | st.sampled_from(
    ["", "Xorg", "名前名前", "<&\"'>", "\x1b[31m", "x" * 90]
)
_KINDS: st.SearchStrategy[Any] = st.sampled_from(get_args(PieceKind))


@cache  # three modules ask
def shipped() -> tuple[MachineSpec, ...]:
    """Every machine that comes with memhub, and an ordinary one of each architecture."""
    return (*map(load, names()), *(pc(name=f"pc-{arch}", arch=arch) for arch in ARCHES))


def map_of(spec: MachineSpec, **more: Any) -> AddressMap:
    machine = Machine.make(spec, ARCHES[spec.arch])
    try:
        return describe_map(machine, **more)
    finally:
        machine.close()


@st.composite
def address_maps(draw: st.DrawFn) -> AddressMap:
    """A map whose borders lie anywhere in the space, close together and far apart."""
    bits = draw(st.integers(13, 52))
    end = 1 << bits
    edges = draw(st.sets(st.integers(1, end - 1), max_size=24))
    near = {edge + 1 for edge in list(edges)[:4] if edge + 1 < end}
    borders = [0, *sorted(edges | near), end]
    pieces = tuple(draw(_pieces(low, high)) for low, high in pairwise(borders))
    slots = tuple(draw(_slots(number, borders)) for number in range(draw(st.integers(0, 12))))
    note = draw(st.lists(_NAMES, max_size=2))

    return AddressMap(draw(_NAMES), draw(_NAMES), end, 12, pieces, slots, tuple(note))


@st.composite
def _pieces(draw: st.DrawFn, low: int, high: int) -> Piece:
    types = draw(st.lists(st.sampled_from(TYPE_OF_CODE), unique=True, max_size=4))

    return Piece(
        low,
        high,
        types[0] if types else None,
        tuple(types[1:]),
        draw(st.booleans()),
        draw(_KINDS),
        draw(_NAMES),
        tuple(sorted(draw(st.sets(st.integers(0, 11), max_size=4)))),
        tuple(draw(st.lists(_NAMES, max_size=2))),
    )


@st.composite
def _slots(draw: st.DrawFn, number: int, borders: list[int]) -> MapSlot:
    base, end = sorted(draw(st.sets(st.sampled_from(borders), min_size=2, max_size=2)))
    type_ = draw(st.sampled_from([*TYPE_OF_CODE, "other"]))
    busy = tuple(draw(st.lists(_NAMES, max_size=2)))

    return MapSlot(number, number, base, end, type_, draw(_NAMES), draw(st.booleans()), busy)
