"""How an amd64 machine starts: its options, its palette, its first ranges."""

from __future__ import annotations

from typing import Any

import pytest

from memhub import abi
from memhub.abi import RangeDesc, owner_bytes
from memhub.core.drivers.driver import Cpu, RangeDriver
from memhub.core.kernel import OptionError
from memhub.x86.pat import PALETTES
from memhub_amd64 import AMD64

PAGE = 4096
UC, WC = abi.MDF_UNCACHEABLE, abi.MDF_WRITECOMBINE
HOLE = {"base": 0xA0000, "length": 0x60000, "type": "UC"}
FIRMWARE = {0xFE: 0, 0x2FF: 0x806}


def _driver(**options: Any) -> RangeDriver:
    assert AMD64.driver is not None

    return AMD64.driver(Cpu(phys_bits=36), options)


def test_a_machine_starts_with_64_empty_slots_and_the_freebsd_palette() -> None:
    """The MTRRs that firmware left are kept beside register 0x277."""
    state = _driver().attach(FIRMWARE)

    assert state.slots == (RangeDesc(0, 0),) * 64
    assert state.msrs == {**FIRMWARE, 0x277: 0x0001050600070406}


def test_configured_ranges_come_from_firmware() -> None:
    """They are active, owned by BIOS unless somebody else is named, fixed where it says so."""
    plain = {**HOLE, "owner": "vga", "fixed": True}
    state = _driver(slots=3, ranges=[HOLE, plain]).attach(FIRMWARE)

    flags = abi.MDF_ACTIVE | abi.MDF_FIRMWARE | UC
    assert state.slots == (
        RangeDesc(0xA0000, 0x60000, flags, owner_bytes("BIOS")),
        RangeDesc(0xA0000, 0x60000, flags | abi.MDF_FIXACTIVE, owner_bytes("vga")),
        RangeDesc(0, 0),
    )


@pytest.mark.parametrize("word", ["write-combine", "WC"])
@pytest.mark.parametrize("key", ["type", "attribute"])
def test_a_configured_attribute_has_two_names(key: str, word: str) -> None:
    """memcontrol(8)'s word, or the manual's."""
    state = _driver(ranges=[{"base": 0, "length": PAGE, key: word}]).attach(FIRMWARE)

    assert state.slots[0].mr_flags & abi.MDF_ATTRMASK == WC


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"slot": 1}, "slot"),
        ({"slots": 0}, "slots"),
        ({"slots": True}, "slots"),
        ({"slots": "64"}, "slots"),
        ({"slots": 1 << 20}, "slots"),
        ({"palette": "openbsd"}, "palette"),
        ({"palette": ["WB"] * 7}, "palette"),
        ({"palette": ["WB"] * 7 + ["write-back"]}, "palette"),
        ({"palette": 6}, "palette"),
        ({"palette": [6] * 8}, "palette"),
        ({"ranges": "all"}, "ranges"),
        ({"ranges": [HOLE, HOLE], "slots": 1}, "ranges"),
        ({"ranges": [7]}, "ranges[0]"),
        ({"ranges": [{"base": 0, "type": "UC"}]}, "ranges[0].length"),
        ({"ranges": [{**HOLE, "length": 0}]}, "ranges[0].length"),
        ({"ranges": [{**HOLE, "base": -1}]}, "ranges[0].base"),
        ({"ranges": [{**HOLE, "base": "0xa0000"}]}, "ranges[0].base"),
        ({"ranges": [{**HOLE, "type": "UC-"}]}, "ranges[0].type"),
        ({"ranges": [{**HOLE, "attribute": "uncacheable"}]}, "ranges[0].type"),
        ({"ranges": [{"base": 0, "length": PAGE}]}, "ranges[0].type"),
        ({"ranges": [{**HOLE, "owner": "eight888"}]}, "ranges[0].owner"),
        ({"ranges": [{**HOLE, "owner": 8}]}, "ranges[0].owner"),
        ({"ranges": [{**HOLE, "owner": "\u0416"}]}, "ranges[0].owner"),
        ({"ranges": [{**HOLE, "fixed": 1}]}, "ranges[0].fixed"),
        ({"ranges": [{**HOLE, "size": 1}]}, "ranges[0].size"),
    ],
)
def test_a_wrong_option_is_refused_by_its_key(options: dict[str, Any], key: str) -> None:
    """Before the machine exists."""
    with pytest.raises(OptionError) as caught:
        _driver(**options)

    assert caught.value.key == key


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**HOLE, "base": 0xA0800}, "whole pages"),
        ({**HOLE, "base": 1 << 36}, "36 physical address bits"),
        ({**HOLE, "type": "WC"}, "palette has no write-combine"),
    ],
)
def test_a_configured_range_keeps_the_rules_of_the_driver(row: Any, reason: str) -> None:
    """Whether the palette is configured, or firmware left it."""
    with pytest.raises(OptionError, match=reason) as caught:
        _driver(palette="power-on", ranges=[HOLE, row])

    assert caught.value.key == "ranges[1]"
    with pytest.raises(OptionError, match=reason):
        _driver(ranges=[row]).attach({0x277: PALETTES["power-on"].encode()})


def test_configured_ranges_must_agree_where_they_overlap() -> None:
    """Two types for one page is no start."""
    with pytest.raises(OptionError, match="overlaps slot 0"):
        _driver(ranges=[HOLE, {**HOLE, "base": 0xB0000, "type": "WB"}])


def test_the_palette_comes_from_the_register_unless_configured() -> None:
    """Firmware's IA32_PAT stands where configuration says nothing."""
    linux, power_on = PALETTES["linux"].encode(), PALETTES["power-on"].encode()

    assert _driver().attach({0x277: linux}).msrs[0x277] == linux
    assert _driver(palette="power-on").attach({0x277: linux}).msrs[0x277] == power_on


def test_a_reserved_type_in_the_register_is_refused() -> None:
    """2, 3 and above 7 are no page attributes."""
    with pytest.raises(OptionError, match="PA0 holds the reserved type 0x2") as caught:
        _driver().attach({0x277: 0x0007040600070402})

    assert caught.value.key == "msr 0x277"
