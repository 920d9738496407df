"""Machines in this process, with the blocking client's methods: the hub's own answers."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub import AuditLog, DeviceError, Hub, ManualClock
from memhub.abi import LP64, MDF_UNCACHEABLE, MDF_WRITECOMBINE, MEMRANGE_SET_REMOVE, RangeDesc
from memhub.audit import read_records
from memhub.errors import (
    BadHandle,
    NotPermitted,
    NotSupported,
    RangeBusy,
    UnknownIoctl,
)
from memhub.service.local import LocalClient
from shell.kit import ARCHES, BOARD, DIRECT, MTRR, OLD, PAT, SECURE, check_log
from strategies import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from memhub import MachineSpec
    from memhub.service.local.handle import LocalHandle

BASE, LENGTH = 0x200000, 0x1000


def local(*specs: MachineSpec, **options: Any) -> LocalClient:
    return LocalClient(specs or (PAT,), arches=ARCHES, **options)


@pytest.fixture
def handle() -> Iterator[LocalHandle]:
    with local(PAT) as client, client.open("/dev/mem", "r+") as handle:
        yield handle


# One process, its handles, its machines


def test_memory_is_read_and_written_at_offsets_and_in_turn(handle: LocalHandle) -> None:
    assert handle.write(b"abcdef") == 6
    assert handle.seek(-4, os.SEEK_CUR) == 2
    assert handle.read(3) == b"cde"
    assert handle.pwrite(b"XY", 4) == 2
    assert handle.pread(6, 0) == b"abcdXY"


def test_names_mean_machines_and_the_default_one_has_none() -> None:
    with local(MTRR, OLD, default="old") as client:
        assert client.default == "old"
        with client.open("/dev/kmem") as bare, client.open("mtrr:/dev/mem") as named:
            assert (bare.path, named.path) == ("old:/dev/kmem", "mtrr:/dev/mem")
            assert "old:/dev/kmem of local" in repr(bare)


def test_wrong_machines_are_refused_before_anything_starts() -> None:
    for specs, default, words in (
        ([], None, "at least one machine"),
        ([PAT, PAT], None, "two machines are named 'pat'"),
        ([PAT], "nosuch", "'nosuch' is not among"),
    ):
        with pytest.raises(ValueError, match=words):
            LocalClient(specs, default=default, arches=ARCHES)


def test_a_closed_client_opens_nothing_and_its_handles_are_closed() -> None:
    client = local(PAT)
    handle = client.open("/dev/mem")
    client.close()
    client.close()

    assert handle.closed
    with pytest.raises(BadHandle):
        handle.ranges()

    with pytest.raises(BadHandle):
        client.open("/dev/mem")


def test_ranges_are_set_listed_and_removed(handle: LocalHandle) -> None:
    outcome = handle.set_range(BASE, LENGTH, MDF_WRITECOMBINE, owner="rig")
    found = [desc for desc in handle.ranges() if desc.mr_base == BASE]

    assert [(desc.mr_len, desc.owner) for desc in found] == [(LENGTH, "rig")]
    assert outcome.fence == 1
    handle.remove_range(BASE, LENGTH)
    assert not [desc for desc in handle.ranges() if desc.mr_base == BASE]


def test_an_ioctl_goes_in_and_out_in_the_devices_own_bytes(handle: LocalHandle) -> None:
    desc = RangeDesc(BASE, LENGTH, MDF_UNCACHEABLE, b"bytes\0\0\0")
    done = handle.ioctl(LP64.set[1], LP64.op.pack(0x1000, 0, 0), LP64.pack(desc))
    count = handle.ioctl(LP64.get, LP64.op.pack(0, 0, 0))
    reply = handle.ioctl(LP64.get, LP64.op.pack(0x1000, 1, 0))

    assert done.descs == b""
    assert LP64.op.unpack(count.op) == (0, 4, 0)
    assert LP64.unpack(reply.descs).owner == "bytes"
    with pytest.raises(UnknownIoctl):
        handle.ioctl(0xDEAD, b"")


def test_a_claim_lasts_until_it_is_released_or_its_lease_ends() -> None:
    clock = ManualClock()
    with local(PAT, clock=clock) as client, client.open("/dev/mem") as handle:
        claim = handle.claim(BASE, LENGTH, lease=5)
        handle.claim(BASE + LENGTH, LENGTH)
        renewed = handle.renew(claim.fence, 7)
        assert (renewed.fence, renewed.expires_ns) == (claim.fence, 7_000_000_000)
        handle.wait_free(BASE, LENGTH, 1)
        handle.release(BASE + LENGTH, LENGTH)
        (held,) = client.report()["machines"][0]["claims"]
        assert (held["fence"], held["lease"], held["process"]) == (claim.fence, 7, "local")
        clock.advance(8)
        with pytest.raises(RangeBusy):
            handle.renew(claim.fence, 1)


def test_the_report_counts_active_slots_and_names_the_labels_of_claims() -> None:
    with local(PAT, BOARD) as client, client.open("/dev/mem") as handle:
        handle.set_range(BASE, LENGTH, MDF_WRITECOMBINE, owner="Xorg")
        handle.set_range(BASE + LENGTH, LENGTH, MDF_UNCACHEABLE, owner="fb")
        handle.release(BASE + LENGTH, LENGTH)
        pat, board = client.report()["machines"]

        assert (pat["used"], pat["slots"]) == (2, 4)
        assert (board["used"], board["slots"]) == (0, 0)
        assert [claim["owners"] for claim in pat["claims"]] == [["Xorg"]]


# Mapping


def test_the_machines_memory_can_be_mapped_and_never_written_through_a_read_only_file() -> None:
    with local(replace(PAT, wp_writes="allow")) as client:
        with client.open("/dev/mem", "r+") as handle:
            handle.pwrite(b"shared", 0x100000)
            shared, writable = handle.map(), handle.map(write=True)
            ((place, kind),) = [(at, kind) for base, _, at, kind in shared.rows if base == 0x100000]

            assert kind == "ram"
            assert os.pread(shared.fd, 6, place) == b"shared"
            os.pwrite(writable.fd, b"SHARED", place)
            assert handle.pread(6, 0x100000) == b"SHARED"
            assert handle.map().fd == shared.fd
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.pwrite(shared.fd, b"no", place)

        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(shared.fd)


def test_what_may_not_be_mapped_is_refused() -> None:
    with local(PAT, SECURE) as client:
        with client.open("/dev/kmem") as kmem, pytest.raises(NotSupported):
            kmem.map()

        with client.open("/dev/mem") as reader, pytest.raises(NotPermitted):
            reader.map(write=True)


# The same as the hub's

OPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("set_range"),
            st.tuples(
                st.sampled_from((0, BASE, BASE + LENGTH, 0x201800)),
                st.sampled_from((0, LENGTH, 2 * LENGTH)),
                st.sampled_from(ATTRIBUTES),
            ),
        ),
        st.tuples(
            st.sampled_from(("remove_range", "claim", "release")),
            st.tuples(st.sampled_from((0, BASE, BASE + LENGTH)), st.just(LENGTH)),
        ),
        st.tuples(
            st.just("pread"),
            st.tuples(st.integers(0, 16), st.sampled_from((0, 0x9FFFC, DIRECT, (1 << 64) - 1))),
        ),
        st.tuples(st.just("write"), st.tuples(st.binary(max_size=8))),
        st.tuples(st.just("read"), st.tuples(st.integers(0, 8))),
        st.tuples(st.just("seek"), st.tuples(st.sampled_from((-1, 0, 0xFFFF8, 1 << 36)))),
        st.tuples(st.just("ranges"), st.just(())),
    ),
    max_size=12,
)


@given(ops=OPS, spec=st.sampled_from((PAT, MTRR, OLD, BOARD)), device=st.sampled_from("mk"))
def test_answers_and_log_are_those_of_the_hub(
    tmp_path_factory: pytest.TempPathFactory, ops: list[Any], spec: MachineSpec, device: str
) -> None:
    path = {"m": "/dev/mem", "k": "/dev/kmem"}[device]
    folder = tmp_path_factory.mktemp("logs")
    here = _answers_here(spec, path, ops, folder / "here")
    there = anyio.run(_answers_there, spec, path, ops, folder / "there")

    assert here == there
    assert _records(folder / "here") == _records(folder / "there")
    check_log(folder / "here")


def _log(path: Path) -> AuditLog:
    return AuditLog.open(path, wall=lambda: 0, mono=lambda: 0, log_id="same")


def _answers_here(spec: MachineSpec, path: str, ops: list[Any], file: Path) -> list[Any]:
    with _log(file) as log, local(spec, log=log, clock=ManualClock()) as client:
        handle = client.open(path, "r+")

        return [_answer(lambda: getattr(handle, name)(*given)) for name, given in ops]  # noqa: B023


async def _answers_there(spec: MachineSpec, path: str, ops: list[Any], file: Path) -> list[Any]:
    answers: list[Any] = []
    with _log(file) as log:
        async with Hub([spec], arches=ARCHES, log=log, clock=ManualClock()) as hub:
            process = hub.process("local")
            handle = await process.open(path, "r+")
            for name, given in ops:
                try:
                    found = await getattr(handle, name)(*given)
                    answers.append(_plain(found))
                except DeviceError as error:
                    answers.append((str(error), error.obstacles))

            process.close("stop")

    return answers


def _answer(call: Callable[[], Any]) -> Any:
    try:
        return _plain(call())
    except DeviceError as error:
        return str(error), error.obstacles


def _plain(found: Any) -> Any:
    if hasattr(found, "released"):
        return found.slots, found.before, found.after, found.fence

    if hasattr(found, "expires"):
        return found.fence, found.base, found.end, found.slots

    return found


def _records(path: Path) -> list[dict[str, Any]]:
    return list(read_records(path))


def test_a_removal_asked_for_in_bytes_is_a_removal(handle: LocalHandle) -> None:
    handle.set_range(BASE, LENGTH, MDF_UNCACHEABLE)
    desc = LP64.pack(RangeDesc(BASE, LENGTH))
    handle.ioctl(LP64.set[0], LP64.op.pack(1, MEMRANGE_SET_REMOVE, 0), desc)

    assert not [row for row in handle.ranges() if row.mr_base == BASE]
