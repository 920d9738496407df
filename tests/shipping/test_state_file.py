"""The file that says how far a log was sent takes the place of no other thing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from memhub.shipping.failure import ShippingFailed
from memhub.shipping.state_file import Shipped, read_state, write_state

if TYPE_CHECKING:
    from pathlib import Path

SENT = Shipped("log", 7, "ab")


def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    write_state(str(link), SENT)
    assert link.is_symlink()
    assert read_state(str(target)) == SENT


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(ShippingFailed, match="pipe is not a state file: it is no regular file"):
        write_state(str(pipe), SENT)

    assert pipe.is_fifo()
