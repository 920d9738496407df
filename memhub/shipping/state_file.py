"""How far a log was sent: the last record that was acknowledged, in a small file of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from memhub.shipping.failure import ShippingFailed
from memhub.whole_file import NotRegular, write_whole


class Shipped(NamedTuple):
    """The record that was sent last.

    Attributes:
        log_id: identity of its log.
        seq: its number.
        hash: its hash.
    """

    log_id: str
    seq: int
    hash: str


def read_state(path: str) -> Shipped | None:
    """What a state file says; None if there is none yet.

    Raises:
        ShippingFailed: it is not a state file.
        OSError: it cannot be read.
    """
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        return None

    try:
        found = json.loads(text)
        shipped = Shipped(found["log_id"], found["seq"], found["hash"])
    except (ValueError, TypeError, KeyError):
        shipped = None

    if shipped is None or tuple(map(type, shipped)) != (str, int, str):
        raise ShippingFailed(f"{path} is not a state file: log_id, seq and hash are due", 2)

    return shipped


def write_state(path: str, shipped: Shipped) -> None:
    """Replace a state file; at any moment the old one or the new one is there as a whole.

    Args:
        path: the file; a symbolic link is followed.
        shipped: what it is to say.

    Raises:
        ShippingFailed: it is a device, a pipe or a folder, which a state file would replace.
        OSError: it cannot be written.
    """
    text = json.dumps(shipped._asdict()) + "\n"
    try:
        write_whole(path, text.encode(), special="refuse")
    except (NotRegular, IsADirectoryError) as error:
        raise ShippingFailed(f"{path} is not a state file: it is no regular file", 2) from error
