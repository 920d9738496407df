"""The values that CALL carries: plain ones, whose integers every language can read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.service import wire

scalars = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=9)
plain = st.recursive(scalars, st.lists, max_leaves=12)


@given(plain)
def test_a_value_comes_back_from_its_json(value: Any) -> None:
    assert wire.read_plain(wire.pack_plain(value)) == value


@given(plain)
def test_no_number_of_the_json_is_beyond_what_a_double_holds(value: Any) -> None:
    numbers: list[int] = []
    json.loads(wire.pack_plain(value), parse_int=lambda it: numbers.append(int(it)))
    assert all(float(it) == it and abs(it) < 1 << 53 for it in numbers)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"{", "Expecting"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"int":5}', "int 5 is no number of at most 20 digits"),
        (b'{"int":"--1"}', "is no number"),
        (b'{"int":""}', "is no number"),
        (b'{"int":"' + b"9" * 30 + b'"}', "is no number"),
    ],
)
def test_what_is_no_such_json_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        wire.read_plain(raw)
