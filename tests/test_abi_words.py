"""How descriptors show themselves, and the words and labels that people give."""

from __future__ import annotations

import re
from typing import Any

import pytest

from memhub import abi
from memhub.abi import RangeDesc
from memhub.arguments import take_attribute


def test_a_descriptor_shows_itself_in_hexadecimal_with_words_for_its_flags() -> None:
    desc = RangeDesc(0xD0000000, 0x1000000, abi.MDF_WRITECOMBINE | abi.MDF_ACTIVE, b"Xorg\0\0x\0")

    assert repr(desc) == (
        "RangeDesc(0xd0000000/0x1000000, 0x8000002 write-combine active, b'Xorg\\x00\\x00x')"
    )


@pytest.mark.parametrize(("bit", "word"), abi.FLAG_WORDS)
def test_every_word_of_memcontrol_stands_for_its_flag(bit: int, word: str) -> None:
    assert abi.flags_of_words(word) == bit
    assert abi.flags_of_words(f"{word}  force") == bit | abi.MDF_FORCE


def test_an_owner_that_does_not_fit_is_refused_as_text_and_cut_as_bytes() -> None:
    with pytest.raises(ValueError, match="owner 'eight888' has 8 characters; a descriptor holds 7"):
        abi.owner_field("eight888")

    assert abi.owner_field("seven77") == b"seven77\0" == abi.owner_field(b"seven777")


def test_text_with_a_nul_is_no_owner() -> None:
    with pytest.raises(ValueError, match=r"owner 'a\\x00b' has a NUL, which ends a label"):
        abi.owner_field("a\0b")

    assert abi.owner_field(b"a\0b") == b"a\0b\0\0\0\0\0"


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("uncachable", "uncacheable"),
        ("WC", "write-combine"),
        ("uc", "uncacheable"),
        ("wp", "write-protect"),
        ("Write-Back", "write-back"),
    ],
)
def test_a_word_that_is_none_is_refused_with_those_that_can_be_set(word: str, near: str) -> None:
    says = (
        f"attribute '{word}' is none of uncacheable, write-combine, write-through, write-back, "
        f"write-protect, force; did you mean '{near}'?"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
        abi.flags_of_words(word)


@pytest.mark.parametrize("attribute", ["", ["uncacheable", "force"], ("uncacheable",)])
def test_what_are_no_words_is_refused_with_how_to_say_them(attribute: Any) -> None:
    says = "is not an integer, or words in one text, such as 'write-combine force'"
    with pytest.raises(TypeError, match=f"mr_flags {re.escape(repr(attribute))} {says}"):
        take_attribute(attribute)
