"""Figures: labels never overlap, nothing leaves the picture, no type is told by colour alone."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

import pytest
from hypothesis import given

from maps.map_strategies import address_maps, few, map_of, shipped
from memhub.machines import load
from memhub.maps import AddressMap, Piece, draw_figure
from memhub.maps.address_map import MapSlot, reduce_pieces
from memhub.maps.lanes import box_slots, lanes_of
from memhub.maps.scale import LEAST, PieceScale
from memhub.maps.signs import SIGNS
from memhub.maps.svg import fitted, width_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.core.spec import MachineSpec

SVG = "{http://www.w3.org/2000/svg}"


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float
    text: str

    def meets(self, other: Box) -> bool:
        return (
            self.left < other.right and other.left < self.right
            and self.top < other.bottom and other.top < self.bottom
        )  # fmt: skip


def drawn(svg: str) -> tuple[ElementTree.Element, list[Box]]:
    """A figure, and the box of each text: from the top of capitals to the end of descenders."""
    root = ElementTree.fromstring(svg)
    boxes = []
    for top, part in _parts(root, 0.0):
        if part.tag == f"{SVG}text":
            size, wide = float(part.attrib["font-size"]), float(part.attrib["textLength"])
            x, y = float(part.attrib["x"]), float(part.attrib["y"]) + top
            left = x - wide if part.attrib.get("text-anchor") == "end" else x
            boxes.append(Box(left, y - 0.73 * size, left + wide, y + 0.22 * size, part.text or ""))

    return root, boxes


def _parts(element: ElementTree.Element, top: float) -> Iterator[tuple[float, ElementTree.Element]]:
    for part in element:
        moved = re.fullmatch(r"translate\(0 ([\d.]+)\)", part.attrib.get("transform", ""))
        here = top + (float(moved[1]) if moved else 0.0)
        yield here, part
        yield from _parts(part, here)


def check_figure(svg: str) -> list[Box]:
    root, boxes = drawn(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for box in boxes:
        assert 0 <= box.left < box.right <= width, box
        assert 0 <= box.top < box.bottom <= height, box

    assert [pair for pair in combinations(boxes, 2) if pair[0].meets(pair[1])] == []

    return boxes


@pytest.mark.parametrize("spec", shipped(), ids=lambda it: it.name)
def test_labels_of_a_shipped_machine_do_not_overlap(spec: MachineSpec) -> None:
    it = map_of(spec)
    for most in (48, 7):
        texts = [box.text for box in check_figure(draw_figure([it], most))]
        assert spec.name in texts


@few
@given(address_maps())
def test_labels_of_any_map_do_not_overlap(it: AddressMap) -> None:
    for most in (48, 6):
        check_figure(draw_figure([it], most))


def test_maps_below_one_another_do_not_overlap() -> None:
    maps = [map_of(load(name)) for name in ("acer", "nehalem", "athlon-xp")]
    texts = [box.text for box in check_figure(draw_figure(maps, 48))]

    assert {it.machine for it in maps} <= set(texts)


def test_a_reduced_figure_says_so() -> None:
    it = map_of(load("nehalem"))
    texts = [box.text for box in check_figure(draw_figure([it], 8))]

    told = re.compile(r"\d of 19 pieces drawn one by one; others summed up\.")
    assert any(told.fullmatch(text) for text in texts)
    assert not any("summed up" in box.text for box in check_figure(draw_figure([it], 48)))


@few
@given(address_maps())
def test_every_piece_is_high_enough_for_its_label_and_larger_ones_are_higher(
    it: AddressMap,
) -> None:
    scale = PieceScale(it.pieces)
    highs = {p.length: scale.place(p.end) - scale.place(p.base) for p in it.pieces}

    assert min(highs.values()) >= LEAST
    ordered = [highs[length] for length in sorted(highs)]
    assert ordered == sorted(ordered)
    assert scale.place(it.end) == scale.height


def test_a_tebibyte_and_a_mebibyte_are_in_one_picture() -> None:
    borders = [0, 0xA0000, 1 << 20, 1 << 32, 1 << 40, 1 << 52]
    scale = PieceScale([Piece(low, high, "WB") for low, high in pairwise(borders)])
    highs = [scale.place(high) - scale.place(low) for low, high in pairwise(borders)]

    assert min(highs) >= LEAST
    assert max(highs) <= 3 * LEAST


@few
@given(address_maps())
def test_slots_of_a_lane_never_overlap_and_no_lane_is_needless(it: AddressMap) -> None:
    lanes = lanes_of(it.slots)
    for lane in lanes:
        for one, other in combinations(lane, 2):
            assert one.end <= other.base or other.end <= one.base

    most = max((sum(s.base <= at.base < s.end for s in it.slots) for at in it.slots), default=0)
    assert len(lanes) == most
    assert sorted(s for lane in lanes for s in [x.first for x in lane]) == sorted(
        s.first for s in it.slots
    )


@few
@given(address_maps())
def test_each_slot_is_in_a_box_that_fits_a_label_and_holds_it(it: AddressMap) -> None:
    for most in (48, 6):
        pieces, _ = reduce_pieces(it.pieces, most)
        scale = PieceScale(pieces)
        boxes = box_slots(it.slots, pieces, scale, 16.0)
        for box in boxes:
            assert scale.place(box.end) - scale.place(box.base) >= 16
            for slot in box.slots:
                assert box.base <= slot.base < slot.end <= box.end

        held = sorted(slot for box in boxes for slot in box.slots)
        assert held == sorted(it.slots)


def test_small_slots_of_a_summed_piece_share_its_box_and_are_named() -> None:
    kinds = [("WC", 0, 1), ("WB", 1, 16), ("UC", 16, 17), ("WB", 17, 1 << 20)]
    pieces = tuple(Piece(low << 12, high << 12, kind) for kind, low, high in kinds)
    slots = (
        MapSlot(1, 1, 0, 1 << 12, "WC", "one", busy=("Xorg",)),
        MapSlot(2, 2, 16 << 12, 17 << 12, "UC", "two"),
    )
    it = AddressMap("pc", "amd64", 1 << 32, 8, pieces, slots)
    texts = [box.text for box in check_figure(draw_figure([it], 48))]
    assert {"1 WC one BUSY Xorg", "2 UC two"} <= {*texts}

    texts = [box.text for box in check_figure(draw_figure([it], 2))]
    assert "1 WC, 2 UC BUSY Xorg" in texts


def test_an_address_is_an_amount_only_where_that_is_exact() -> None:
    borders = [0, 1 << 32, 0xF7F800000, 0xF80000000, 1 << 40]
    pieces = tuple(Piece(low, high, "WB") for low, high in pairwise(borders))
    texts = [
        box.text
        for box in check_figure(draw_figure([AddressMap("pc", "amd64", 1 << 40, 8, pieces)]))
    ]
    assert texts.count("62G") == 1


def test_types_differ_in_letter_and_pattern_beside_their_colour() -> None:
    told = [sign for name, sign in SIGNS.items() if name != "undefined"]

    assert len({sign.letter for sign in SIGNS.values()}) == len(SIGNS)
    assert len({sign.pattern for sign in told}) == len(told)


@pytest.mark.parametrize("text", ["", "a", "some text", "名前 and more", "x" * 100])
@pytest.mark.parametrize("room", [0, 5, 20, 100, 1000])
def test_a_text_is_cut_to_its_room(text: str, room: float) -> None:
    shown = fitted(text, room, 12)

    assert width_of(shown, 12) <= room or not shown
    assert shown == text or (shown == "" or shown.endswith("…"))


def test_foreign_text_cannot_leave_its_place() -> None:
    it = map_of(load("acer"))
    evil = AddressMap("</text><script>", "\x1b[31m&", it.end, 8, it.pieces, it.slots, ("<b>",))
    svg = draw_figure([evil], 48)

    assert "<script" not in svg
    assert "\x1b" not in svg
    ElementTree.fromstring(svg)
