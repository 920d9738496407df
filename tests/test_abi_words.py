"""How descriptors show themselves, and the words and labels that people give."""

from __future__ import annotations

import pytest

from memhub import abi
from memhub.abi import RangeDesc


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
