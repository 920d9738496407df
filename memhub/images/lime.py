"""Memory dumps of LiME: a header of 32 bytes before each stretch of RAM, version 1.

Source: LiME, `doc/README` ("LiME Memory Range Header Version 1 Specification").
"""

from __future__ import annotations

import os
from struct import Struct
from typing import IO, TYPE_CHECKING, Final

from memhub.images.failure import ImageError, place_text
from memhub.images.sparse import read_contents

if TYPE_CHECKING:
    from memhub.core.spec import Content
    from memhub.images.sparse import Budget

MAGIC: Final = 0x4C694D45
#: The magic as it stands in a file.
MAGIC_BYTES: Final = MAGIC.to_bytes(4, "little")
#: Magic, version, first address, last address (inclusive), reserved.
HEADER: Final = Struct("<IIQQ8x")


def read_lime(file: IO[bytes], shown: str, budget: Budget) -> list[Content]:
    """The contents of a dump.

    Args:
        file: the file, open without a buffer.
        shown: its name, for messages.
        budget: what it may bring.

    Raises:
        ImageError: a header is wrong, or the file ends before a stretch does.
    """
    end, at = os.fstat(file.fileno()).st_size, 0
    found: list[Content] = []
    while at < end:
        packed = os.pread(file.fileno(), HEADER.size, at)
        if len(packed) < HEADER.size:
            what = f"is truncated: {len(packed)} of the {HEADER.size} bytes of a LiME header"
            raise ImageError(shown, what, offset=at)

        first, size = _read_header(packed, shown, at)
        budget.begin(offset=at)
        at += HEADER.size
        if size > end - at:
            what = f"is truncated: {first:#x}/{size:#x} has {end - at:#x} bytes in the file"
            raise ImageError(shown, what, offset=at)

        source = place_text(shown, offset=at)
        found += read_contents(file, at, size, first, source, budget)
        at += size

    return found


def _read_header(packed: bytes, shown: str, at: int) -> tuple[int, int]:
    """The first address of a stretch, and its bytes."""
    magic, version, first, last = HEADER.unpack(packed)
    if magic != MAGIC:
        what = f"{magic:#010x} is not the magic of a LiME header, {MAGIC:#010x}"
        raise ImageError(shown, what, offset=at)

    if version != 1:
        what = f"is a LiME header of version {version}, and only version 1 is read"
        raise ImageError(shown, what, offset=at + 4)

    if last < first:
        what = f"the stretch ends at {last:#x}, before it begins at {first:#x}"
        raise ImageError(shown, what, offset=at + 8)

    return first, last - first + 1
