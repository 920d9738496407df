"""A host without memory or descriptors: ENOMEM for the request at hand, and nothing else."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import anyio
import pytest

import memhub
from memhub.abi import Errno
from memhub.core.memory import backing, memfile
from memhub.errors import DeviceError
from service.service_rig import lab as service_lab
from shell.kit import PAT, lab

if TYPE_CHECKING:
    from pathlib import Path

    from memhub import Handle


def no_descriptor(*_: object) -> int:
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
async def test_a_first_touch_without_a_descriptor_is_refused_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: bool
) -> None:
    async def touch(handle: Handle) -> object:
        return await (handle.pwrite(b"x", 0x100000) if write else handle.pread(1, 0x100000))

    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        claim = await handle.claim(0, 0x1000)
        rig.news()
        with monkeypatch.context() as full:
            full.setattr(backing, "make_memfd", no_descriptor)
            with pytest.raises(DeviceError, match=r"the host cannot hold the .*open files") as told:
                await touch(handle)

        (record,) = rig.news()
        assert told.value.code is Errno.ENOMEM
        assert (record["errno"], record["moved"]) == ("ENOMEM", 0)
        assert await touch(handle)
        assert rig.hub.claims("pat") == [claim]


async def test_a_client_that_touches_first_keeps_its_connection_and_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with anyio.fail_after(20):
        async with service_lab(tmp_path) as it, memhub.connect(it.address) as client:
            handle = await client.open("/dev/mem", "r+")
            claim = await handle.claim(0, 0x1000)
            with monkeypatch.context() as full:
                full.setattr(backing, "make_memfd", no_descriptor)
                for touch in (handle.pread(1, 0x100000), handle.pwrite(b"x", 0x100000)):
                    with pytest.raises(DeviceError, match="the host cannot hold") as told:
                        await touch

                    assert told.value.code is Errno.ENOMEM

            assert await handle.pread(1, 0x100000)
            await handle.release(0, 0x1000, fence=claim.fence)


async def test_a_snapshot_that_the_host_cannot_map_leaves_the_memory_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        await handle.pwrite(b"kept", 0x100000)
        with monkeypatch.context() as full:
            full.setattr(memfile, "map_file", no_descriptor)
            with pytest.raises(DeviceError, match=r"the host cannot hold .*open files") as told:
                rig.hub.snapshot()

        assert told.value.code is Errno.ENOMEM
        assert await handle.pread(4, 0x100000) == b"kept"
        assert rig.hub.snapshot() == rig.hub.snapshot()
