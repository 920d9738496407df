"""Clients load memory over the service, with the right for it; mappings see what was loaded."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any

import pytest

from memhub.core.spec import Content
from memhub.errors import InvalidArgument, NotPermitted
from memhub.images import fill
from memhub.service import wire
from memhub.service.settings import RightsRule
from service.service_rig import MIB, lab, machine

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.service.settings import Right

pytestmark = pytest.mark.anyio


async def test_a_client_loads_memory_that_another_has_mapped(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("gdb") as gdb:
        mem = await gdb.open("/dev/mem", "r+")
        await mem.pwrite(b"before", 5 * MIB)
        shared = await mem.map()
        base, length, offset, _ = next(row for row in shared.rows if row[0] <= MIB < sum(row[:2]))
        with mmap.mmap(shared.fd, length, offset=offset, prot=mmap.PROT_READ) as view:
            contents = [Content(base=MIB, data=b"kernel", zeros=3 * MIB)]

            assert await gdb.load_memory(contents) == 6 + 3 * MIB
            assert view[MIB - base : MIB - base + 6] == b"kernel"
            assert await mem.pread(6, 5 * MIB) == b"before"
            assert await gdb.load_memory(contents, "pc", clear=True) == 6 + 3 * MIB
            assert await mem.pread(6, 5 * MIB) == bytes(6)


async def test_what_does_not_fit_is_refused_with_its_reason(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("gdb") as gdb:
        wrong = [fill(MIB, 4, 1), Content(base=1 << 35, data=b"x", source="a.hex line 3")]
        with pytest.raises(InvalidArgument, match=r"a\.hex line 3: 0x800000000/0x1 does not fit"):
            await gdb.load_memory(wrong)

        request = gdb._snapshot_request("load", None)
        with pytest.raises(InvalidArgument, match="no packed contents"):
            await gdb._greeted().ask(request)

        assert it.hub.machines["pc"].memory.read(MIB, 4) == bytes(4)


@pytest.mark.parametrize("wrong", ["x", None, [5], [Content(base=0, data="s")]])  # type: ignore[arg-type]
async def test_what_is_no_list_of_contents_is_named_on_both_sides(
    tmp_path: Path, wrong: Any
) -> None:
    async with lab(tmp_path) as it, it.connect("gdb") as gdb:
        with pytest.raises(TypeError, match="contents"):
            await gdb.load_memory(wrong)

        with pytest.raises(TypeError, match="contents"):
            it.hub.load_memory(wrong)


async def test_loading_needs_the_right_to_restore(tmp_path: Path) -> None:
    looks: frozenset[Right] = frozenset({"read-memory", "write-memory", "read-ranges"})
    rules = (RightsRule(uid=os.getuid(), machine="*", allow=looks),)
    async with lab(tmp_path, machine(), rights=rules) as it, it.connect("gdb") as gdb:
        with pytest.raises(NotPermitted, match="restore-machines"):
            await gdb.load_memory([fill(MIB, 4, 1)])

        with pytest.raises(NotPermitted, match="restore-machines"):
            await gdb._greeted().ask(wire.Snapshot(0, "replace", "", b""))
