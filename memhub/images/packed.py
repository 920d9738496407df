"""Contents as one piece of bytes and back: for snapshots, and between a client and the service.

The first line is `memhub-contents`, the format's number, and the SHA-256 of all that follows. The
second is JSON: base, bytes, zeros and source of each, and true where it is loose. Behind it are the
bytes, compressed with zlib. What it claims to hold is never allocated before it is there.
"""

from __future__ import annotations

import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.arguments import take_integer, take_text
from memhub.core.memory.contents import take_contents
from memhub.core.spec import Content
from memhub.images.sparse import DATA_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAGIC: Final = b"memhub-contents"
_FORMAT: Final = b"1"
_UNSOUND: Final = (LookupError, TypeError, ValueError, AttributeError, OverflowError, zlib.error)


def pack_contents(contents: Iterable[Content]) -> bytes:
    """The bytes from which `unpack_contents` makes equal contents."""
    squeeze, rows, blocks = zlib.compressobj(1), [], []
    for it in take_contents(contents):
        rows.append([it.base, len(it.data), it.zeros, it.source, *([True] if it.loose else [])])
        blocks.append(squeeze.compress(it.data))

    rest = b"".join([orjson.dumps(rows), b"\n", *blocks, squeeze.flush()])

    return b"%s %s %s\n%s" % (MAGIC, _FORMAT, sha256(rest).hexdigest().encode(), rest)


def unpack_contents(packed: bytes, most: int = DATA_MAX) -> tuple[Content, ...]:
    """The opposite of `pack_contents`.

    Args:
        packed: what that has made.
        most: bytes other than zeros that it may bring.

    Raises:
        ValueError: it is not what `pack_contents` makes, or is damaged.
    """
    first, _, rest = packed.partition(b"\n")
    if first[:200].split(b" ") != [MAGIC, _FORMAT, sha256(rest).hexdigest().encode()]:
        raise ValueError("these are no packed contents, or they are damaged")

    text, _, squeezed = rest.partition(b"\n")
    try:
        rows = orjson.loads(text)
        if sum(row[1] for row in rows) > most:
            raise ValueError(f"they bring more than {most} bytes, which is the limit")

        return tuple(_unpack_rows(rows, squeezed))
    except _UNSOUND as error:
        raise ValueError(f"the packed contents are not sound: {error}") from None


def _unpack_rows(rows: Any, squeezed: bytes) -> Iterator[Content]:  # noqa: ANN401 - JSON
    expand = zlib.decompressobj()
    for base, size, zeros, source, *loose in rows:
        data = b""
        if take_integer("size", size) > 0:
            data = expand.decompress(squeezed, size)
            squeezed = expand.unconsumed_tail

        if len(data) != size:
            raise ValueError(f"{size} bytes at {base:#x} are not all there")

        yield Content(
            base=take_integer("base", base),
            data=data,
            zeros=take_integer("zeros", zeros),
            source=take_text("source", source),
            loose=loose == [True],
        )
