"""A client of the protocol's first version works with the service of this one, byte for byte."""

from __future__ import annotations

import json

from service.record_conversation import record
from source_rules import ROOT

FIRST = json.loads((ROOT / "tests/data/protocol-1.json").read_text())


async def test_a_client_of_the_first_version_is_answered_with_the_same_bytes() -> None:
    now = await record()

    assert now["said"] == FIRST["said"]
    assert now["heard"] == FIRST["heard"]
    assert len(now["heard"]) > 30
