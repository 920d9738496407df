"""How the address of a service is written."""

from __future__ import annotations

import pytest

from memhub.service.address import parse_address


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("unix:/run/x", ("unix", "/run/x", 0)),
        ("/run/x", ("unix", "/run/x", 0)),
        ("tcp:lab:70", ("tcp", "lab", 70)),
        ("tcp:[::1]:70", ("tcp", "::1", 70)),
    ],
)
def test_addresses(text: str, found: tuple[str, str, int]) -> None:
    assert parse_address(text) == found


@pytest.mark.parametrize("text", ["", "tcp:lab", "tcp::1", "tcp:lab:x", "tcp:lab:70000"])
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|named"):
        parse_address(text)
