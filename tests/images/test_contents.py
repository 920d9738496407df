"""Contents in snapshots, in forks and on the wire."""

from __future__ import annotations

import errno
import zlib
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from images.test_saving import SPEC
from memhub import Hub, Snapshot
from memhub.core.memory.memfile import Frozen
from memhub.core.spec import Content
from memhub.images import fill, repeat
from memhub.images.packed import pack_contents, unpack_contents

if TYPE_CHECKING:
    import mmap
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_a_reset_brings_the_images_back_and_snapshots_have_them(tmp_path: Path) -> None:
    contents = (Content(base=0x1000, data=b"image", zeros=3), fill(0x100000, 9000, 5))
    spec = replace(SPEC, contents=contents)
    async with Hub([spec]) as hub, await hub.open("/dev/mem", "r+") as mem:
        assert await mem.pread(8, 0x1000) == b"image\0\0\0"
        await mem.pwrite(b"other", 0x1000)
        hub.snapshot().save(tmp_path / "snapshot")
        hub.reset()

        assert await mem.pread(8, 0x1000) == b"image\0\0\0"
        hub.restore(found := Snapshot.load(tmp_path / "snapshot"))
        assert await mem.pread(5, 0x1000) == b"other"

    assert found.machines["pc"].spec.contents == contents
    async with Hub([found.machines["pc"].spec]) as hub:
        assert hub.machines["pc"].memory.read(0x100000 + 8999, 2) == b"\5\0"


def test_packed_contents_that_are_damaged_are_refused() -> None:
    packed = pack_contents([Content(base=1, data=b"abc"), Content(base=9, zeros=1 << 40)])

    assert unpack_contents(packed) == (Content(base=1, data=b"abc"), fill(9, 1 << 40))
    for wrong in (b"", packed[:-1], b"x" + packed, packed.replace(b"memhub", b"memhuc")):
        with pytest.raises(ValueError, match="no packed contents, or they are damaged"):
            unpack_contents(wrong)

    for rows in (b"[[0,5,0,'']]", b'[[0,5,0,""]]', b"[[0]]", b'[[0,-1,0,""]]'):
        rest = rows + b"\n" + zlib.compress(b"abcd")
        head = f"memhub-contents 1 {sha256(rest).hexdigest()}\n".encode()
        with pytest.raises(ValueError, match="are not sound"):
            unpack_contents(head + rest)


def test_what_packed_contents_may_bring_is_limited() -> None:
    packed = pack_contents([fill(0, 1 << 20, 1), fill(1 << 20, 1 << 20, 1)])

    assert len(packed) < 1 << 16
    with pytest.raises(ValueError, match="more than 2097151 bytes, which is the limit"):
        unpack_contents(packed, (2 << 20) - 1)


async def test_a_snapshot_copies_what_the_system_does_not_map_privately(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A private mapping of a large sparse memory counts whole where accounts are kept."""

    def refuse(_: Frozen) -> mmap.mmap:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(Frozen, "map_privately", refuse)
    async with Hub([SPEC]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"before", 0x1000)
        then = hub.snapshot()
        await mem.pwrite(b"after!", 0x1000)
        hub.restore(then)

        assert await mem.pread(6, 0x1000) == b"before"


def test_a_pattern_that_is_no_bytes_is_refused() -> None:
    with pytest.raises(TypeError, match="pattern"):
        repeat(0, 10, "ab")  # type: ignore[arg-type]
