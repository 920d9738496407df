"""What a record asks for: also one of a foreign log, which may have anything in its arguments."""

from __future__ import annotations

from typing import Any

import pytest

from memhub.audit.reading.asked import asked_spans

MIB = 1 << 20


@pytest.mark.parametrize(
    ("op", "args", "due"),
    [
        ("write", '{"data": "base=0xd0000000 size=0x100000 type=uncachable"}', [(0xD0000000, MIB)]),
        ("write", '{"data": "base=010 size=4096 type=uncachable"}', [(8, 4096)]),
        ("write", '{"data": "disable=1"}', []),
        ("write", '{"data": "base=8192\\u00a0size=0x1000\\u000btype=?"}', [(8192, 4096)]),
        ("write", '{"data": "base=size=0x10000000000001000type=x"}', [(0, 4096)]),
        ("write", '{"data": "base=\\u20ac size=4096"}', []),
        ("set", '{"entries": [[16, 32, 1, 5, 0], [64, 128, 1, 5, 0]]}', [(16, 32), (64, 128)]),
        ("ioctl", '{"cmd": "ADD_PAGE", "base": 2, "size": 1}', [(0x2000, 0x1000)]),
        ("memtype_reserve", '{"start": 4096, "end": 12288}', [(4096, 8192)]),
    ],
)
def test_a_call_asks_for_the_ranges_that_it_names(
    op: str, args: str, due: list[tuple[int, int]]
) -> None:
    assert asked_spans({"event": "kernel.call", "op": op, "args": args}) == due


@pytest.mark.parametrize(
    "args",
    [
        *("", "no JSON", "[1, 2]", "7", None, '{"entries": 5}', '{"entries": [[true]]}'),
        '{"data": [], "base": {}, "size": "x", "pfn": null, "end": [], "cmd": 3}',
    ],
)
def test_arguments_of_any_kind_ask_for_nothing(args: Any) -> None:
    assert asked_spans({"event": "kernel.call", "op": "set", "args": args}) == []
    assert asked_spans({"event": "kernel.call"}) == []
