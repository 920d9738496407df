"""Lines are the same wherever blocks end, and a long one is put together once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memhub.audit.reading.unfinished import UnfinishedLine

BLOCKS = st.lists(st.text("a\n\r\v", max_size=8).map(str.encode), max_size=8)


@given(BLOCKS)
def test_lines_do_not_depend_on_where_blocks_end(blocks: list[bytes]) -> None:
    *due, last = b"".join(blocks).split(b"\n")
    rest, whole = UnfinishedLine(), UnfinishedLine()

    assert [line for block in blocks for line in rest.split(block)] == due
    assert [line for block in blocks for line in whole.split_whole(block)] == [
        line + b"\n" for line in due
    ]
    assert (rest.size, rest.look(), rest.take()) == (len(last), last, last)
    assert (whole.size, whole.look(), whole.look()) == (len(last), last, last)
    assert (rest.size, rest.take()) == (0, b"")


def test_a_block_within_a_line_is_not_added_to_those_before() -> None:
    rest = UnfinishedLine()
    blocks = [b"a" * 9 for _ in range(5)]
    for block in blocks:
        assert rest.split(block) == rest.split_whole(b"") == []

    assert [id(it) for it in rest._parts if it] == [id(it) for it in blocks]
    assert rest.split_whole(b"b\nc") == [b"a" * 45 + b"b\n"]
    assert rest.take() == b"c"
