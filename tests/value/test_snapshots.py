"""A state that is reached from the last snapshot is the one that the whole log tells."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from audit.test_damage import KEY
from memhub.audit import AuditError, AuditLog, DamagedLog, read_records, state_at, verify
from memhub.audit.history.travel import Travel, _Moment
from memhub.audit.reading.snapshots import find_start
from memhub.audit.writing.folder import pack_segment
from memhub.audit.writing.keeping import Keeping
from ownership.rig import ARCHES, SPECS
from value.test_state_at import Witness, alike
from value.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

every_arch = pytest.mark.parametrize("arch", sorted(SPECS))
OFTEN = Keeping(max_bytes=1 << 16, snapshot_every=20)


def kept(path: str, arch: str, steps: int, latency: float = 0.0) -> Witness:
    """A log of random traffic, kept as a hub keeps it; and every state that it had."""
    with AuditLog.open(path, keeping=OFTEN, key=KEY) as log:
        traffic = Traffic(arch, 4, latency=latency, log=log)
        keeper = traffic.hub.log_keeper
        assert keeper is not None
        witness = Witness(traffic.machine, traffic.engine, log)
        for _ in range(steps):
            traffic.step()
            witness.look()
            keeper.keep()
            assert keeper.failure is None
            witness.look()

    return witness


def check(path: Path, witness: Witness, stride: int) -> None:
    name = witness._of[0].name
    for seq in sorted(witness.seen)[::stride]:
        state = Travel(path, ARCHES).states([seq])[0]
        assert (state.seq, state.notes) == (seq, ())
        assert alike(state.machines[name], witness.seen[seq]), seq


@every_arch
@pytest.mark.parametrize("latency", [0.0, 1.0], ids=["at-once", "in-time"])
def test_every_state_of_a_folder_is_that_of_the_live_machine(
    tmp_path: Path, arch: str, latency: float
) -> None:
    witness = kept(f"{tmp_path}/log/", arch, 250, latency)
    segments = sorted((tmp_path / "log").iterdir())
    for segment in segments[:-1]:
        pack_segment(str(segment))

    assert len(segments) > 1
    assert verify(tmp_path / "log", keys=[KEY.verifier()]).ok
    check(tmp_path / "log", witness, 7)


@pytest.mark.campaign
@every_arch
def test_every_state_of_long_folders(tmp_path: Path, arch: str) -> None:
    witness = kept(f"{tmp_path}/log/", arch, 2000, 1.0)
    check(tmp_path / "log", witness, 3)


def test_every_state_of_one_file_is_reached_from_its_snapshots(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    witness = kept(str(path), "amd64-mtrr", 300)
    starts = [find_start(path, _Moment(seq).is_before) for seq in witness.seen]

    assert len({it.offset for it in starts if it is not None}) > 5
    check(path, witness, 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "log"
    kept(f"{path}/", "amd64", 300)

    return path


def test_a_time_is_found_as_by_reading_all(folder: Path) -> None:
    records = [it for it in read_records(folder) if not it["event"].startswith("log.")]
    times = sorted({record["wall_ns"] for record in records})[1::9]
    moments = [
        datetime.fromtimestamp(0, UTC) + timedelta(microseconds=it // 1000 + 1) for it in times
    ]
    whole = Travel(folder, ARCHES).states(moments)
    for moment, state in zip(moments, whole, strict=True):
        near = state_at(folder, moment, arches=ARCHES)
        assert (near.seq, near.machines) == (state.seq, state.machines)


def test_a_moment_inside_a_snapshot_is_reached_from_the_one_before(folder: Path) -> None:
    whole = {it["seq"]: it["event"] for it in read_records(folder)}
    inside = [seq for seq, event in whole.items() if event.startswith("held.")][3::11]
    states = Travel(folder, ARCHES).states(inside)
    for seq, state in zip(inside, states, strict=True):
        assert state_at(folder, seq, arches=ARCHES).machines == state.machines


def test_a_moment_that_is_not_there_is_refused_likewise(folder: Path) -> None:
    count = sum(1 for _ in read_records(folder))
    with pytest.raises(AuditError, match=f"which ends with record {count}"):
        state_at(folder, count + 1, arches=ARCHES)

    with pytest.raises(AuditError, match="the log begins later"):
        state_at(folder, 0, arches=ARCHES)


def test_what_is_read_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    kept(str(path), "amd64", 200)
    lines = path.read_bytes().splitlines(keepends=True)
    count = len(lines)
    lines[count - 3] = lines[count - 3].replace(b'"v":1', b'"v":1 ', 1)
    path.write_bytes(b"".join(lines))

    assert state_at(path, count - 3, arches=ARCHES).seq == count - 3
    with pytest.raises(DamagedLog) as caught:
        state_at(path, count, arches=ARCHES)

    broken = verify(path).broken
    assert broken is not None
    assert str(broken) in str(caught.value)


@pytest.mark.parametrize("form", ["gzip", "binary", "cut line"])
def test_a_file_that_cannot_be_searched_is_read_from_its_start(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.jsonl"
    kept(str(path), "amd64", 100)
    data = path.read_bytes()
    last = data.count(b"\n")
    before = state_at(path, last, arches=ARCHES)
    if form == "gzip":
        path.write_bytes(gzip.compress(data))
        assert state_at(path, last, arches=ARCHES) == before
    elif form == "binary":
        path.write_bytes(bytes(range(256)) * 10)
        with pytest.raises(AuditError):
            state_at(path, last, arches=ARCHES)
    else:
        path.write_bytes(data[:-9])
        assert state_at(path, last - 1, arches=ARCHES).seq == last - 1
