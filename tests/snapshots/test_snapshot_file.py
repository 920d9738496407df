"""Snapshots in files: what comes back, and what is refused."""

from __future__ import annotations

import json
import os
import tracemalloc
import zlib
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub import Hub, MachineSpec, Snapshot, SnapshotError
from memhub.arches import ArchNotInstalled
from memhub.core.asking.asked_driver import AskedDriver
from memhub.core.files import Principal
from memhub.core.requests import ClaimRange, Open
from memhub.engine.lifecycle import open_file
from memhub.errors import DriverFailed, NoSuchDevice
from ownership.rig import ARCHES, SPECS
from shell.kit import ARCHES as ALL
from shell.kit import PAT
from shell.kit import SPECS as KINDS
from value.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable


def snapshot_of(arch: str, seed: int, steps: int = 150) -> tuple[Traffic, Snapshot]:
    traffic = Traffic(arch, seed)
    for _ in range(steps):
        traffic.step()

    traffic.engine.end_due()

    return traffic, traffic.hub.snapshot()


@pytest.mark.parametrize("arch", sorted(SPECS))
@pytest.mark.parametrize("seed", range(4))
def test_a_file_leads_to_an_equal_snapshot(tmp_path: Path, arch: str, seed: int) -> None:
    traffic, found = snapshot_of(arch, seed)
    path = tmp_path / "a.snapshot"
    found.save(path)
    again = Snapshot.load(path, arches=ARCHES)
    assert again == found
    assert again.to_bytes() == found.to_bytes()
    for _ in range(50):
        traffic.step()

    traffic.hub.restore(found)
    by_value = traffic.hub.snapshot()
    traffic.hub.restore(again)
    assert traffic.hub.snapshot() == by_value


def test_every_kind_of_machine_comes_back_also_in_a_hub_that_never_saw_it(tmp_path: Path) -> None:
    hub = Hub(KINDS, arches=ARCHES)
    hub.begin()
    for spec in KINDS:
        hub.machines[spec.name].memory.write(0x2000, spec.name.encode() * 999)

    who = Principal(1, "holder", pid=7)
    claimed = open_file(hub.engine, Open(who, "/dev/mem", "r+"))
    hub.engine.submit(ClaimRange(claimed, 0x1000, 0x1000))
    found = hub.snapshot()
    found.save(tmp_path / "all")
    other = Hub(KINDS, arches=ARCHES)
    other.begin()
    other.restore(Snapshot.load(tmp_path / "all", arches=ARCHES))
    for name, machine in other.snapshot().machines.items():
        assert machine.table is None or machine.table.state == found.machines[name].table.state  # type: ignore[union-attr]
        assert machine.memory == found.machines[name].memory
        assert not machine.claims
        assert not machine.files

    for it in (hub, other):
        it.end()


def framed(rest: bytes, number: int = 1) -> bytes:
    return b"memhub-snapshot %d %s\n%s" % (number, sha256(rest).hexdigest().encode(), rest)


def changed(data: bytes, **members: Any) -> bytes:
    """The file with other members of its first machine, and the right digest."""
    text, _, pages = data.partition(b"\n")[2].partition(b"\n")
    facts = orjson.loads(text)
    facts["machines"][0].update(members)

    return framed(orjson.dumps(facts) + b"\n" + pages)


def changed_deep(data: bytes, value: Any, *path: str | int) -> bytes:
    """The file with another value at a place of its first machine; `...` takes it away."""
    text, _, pages = data.partition(b"\n")[2].partition(b"\n")
    facts = orjson.loads(text)
    at = facts["machines"][0]
    for step in path[:-1]:
        at = at[step]

    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value

    return framed(orjson.dumps(facts) + b"\n" + pages)


def wider(data: bytes, memory: list[Any]) -> bytes:
    """The file with another memory, also of numbers that need more than 64 bits."""
    text, _, pages = data.partition(b"\n")[2].partition(b"\n")
    facts = orjson.loads(text)
    config = json.loads(facts["machines"][0]["config"])
    facts["machines"][0]["config"] = json.dumps({**config, "memory": memory})

    return framed(orjson.dumps(facts) + b"\n" + pages)


def doubled(data: bytes) -> bytes:
    """The file with its first machine twice."""
    text, _, pages = data.partition(b"\n")[2].partition(b"\n")
    (machine,) = orjson.loads(text)["machines"]

    return framed(orjson.dumps({"machines": [machine, {**machine, "pages": []}]}) + b"\n" + pages)


def repacked(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The file with other pages behind its JSON."""
    text, _, pages = data.partition(b"\n")[2].partition(b"\n")

    return framed(text + b"\n" + change(pages))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _: b"", "no snapshot of memhub"),
        (lambda _: b"\x80\x05cos\nsystem\n", "no snapshot of memhub"),
        (lambda data: framed(data.partition(b"\n")[2], 2), "has format 2, and this version of"),
        (lambda data: data[:-1], "is damaged: its SHA-256"),
        (lambda data: data.replace(b"amd64", b"amd46"), "is damaged: its SHA-256"),
        (lambda _: framed(b"[]"), r"not sound: the JSON \[\] is not an object"),
        (lambda _: framed(b"nothing"), "not sound: JSONDecodeError"),
        (lambda _: framed(b'{"machines": []}'), r"machines is \[\], where one machine or more"),
        (lambda _: framed(b'{"machines": [], "x": 1}'), "the JSON has 'x', which is not known"),
        (lambda data: changed(data, uareas=None), r"machines\[0\].uareas None is not a list"),
        (lambda data: changed(data, uareas=[[1, "?"]]), "uareas: '\\?' is not base64"),
        (lambda data: changed(data, x=1), r"machines\[0\] has 'x', which is not known"),
        (lambda data: changed(data, name="PC/1"), "a machine's name is letters, digits"),
        (lambda data: changed(data, name="other"), 'table.machine is "amd64", where "other" is'),
        (lambda data: changed_deep(data, -1, "table", "slots", 0), r"slots\[0\] is -1, where 0 is"),
        (lambda data: changed_deep(data, "no", "table", "machine"), 'machine is "no", where "amd'),
        (lambda data: changed_deep(data, True, "table", "slots", 1), "slots is .*True.*not .int"),
        (
            lambda data: changed_deep(data, None, "held", 0, "event"),
            "event is null, where",
        ),
        (lambda data: changed_deep(data, ..., "held", 0, "event"), r"held\[0\].event is missing"),
        (lambda data: changed_deep(data, ..., "held", 2, "part"), r"held\[2\]: part is missing"),
        (
            lambda data: wider(data, [[0, 1 << 70, "ram"]]),
            r"memory\[0\]\[1\] 1180591620717411303424 is not from 0 ",
        ),
        (lambda data: doubled(data), r"machines\[1\], 'amd64': is the name of the one before"),
        (lambda data: repacked(data, lambda it: it + b"more"), "4 bytes follow the last page"),
        (lambda data: repacked(data, lambda it: it[:-1]), "the end of the pages is missing"),
        (lambda data: repacked(data, lambda it: it[:-4]), "the end of the pages is missing"),
        (lambda data: repacked(data, lambda it: it[:-1] + b"x"), "incorrect data check"),
        (lambda data: repacked(data, lambda _: zlib.compress(bytes(1 << 20))), "more pages than"),
        (lambda data: changed(data, pages=[[0, 1 << 40]]), "in a memory of 0x100000 bytes"),
        (lambda data: changed(data, pages=[[1, 1]]), "0x1, 1. are not whole pages"),
        (lambda data: changed(data, pages=[[0, 1], [0, 1]]), "0x0, 1. are not whole pages"),
        (
            lambda data: changed(data, pages=[[0, 256]]),
            "256 pages are due, and the file",
        ),
        (lambda data: changed(data, held=[{"part": "x", "held": "[1]"}]), "wall_ns is missing"),
        (lambda data: changed(data, table={}), "machine is missing"),
        (lambda data: changed(data, config="{}"), "there is no 'cpu'"),
        (
            lambda data: changed(data, contents=[[99, ""]]),
            "99 is not the number of a region",
        ),
    ],
)
def test_what_is_no_sound_snapshot_is_refused(make: Any, says: str) -> None:
    _, found = snapshot_of("amd64", 1, 30)
    with pytest.raises(SnapshotError, match=says):
        Snapshot.from_bytes(make(found.to_bytes()), arches=ARCHES)


def test_a_state_that_its_driver_cannot_take_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = snapshot_of("amd64-mtrr", 1, 30)
    data = found.to_bytes()

    def types(_self: object, _state: object) -> None:
        raise DriverFailed("it makes no sense")

    with monkeypatch.context() as patch:
        patch.setattr(AskedDriver, "types", types)
        with pytest.raises(SnapshotError, match="DriverFailed: EIO: it makes no sense"):
            Snapshot.from_bytes(data, arches=ARCHES)

    assert Snapshot.from_bytes(data, arches=ARCHES) == found


def test_an_architecture_that_is_not_installed_is_named() -> None:
    _, found = snapshot_of("amd64", 1, 30)
    with pytest.raises(ArchNotInstalled, match="vax"):
        Snapshot.from_bytes(changed(found.to_bytes(), arch="vax"), arches=ARCHES)


def test_a_file_that_unpacks_to_more_than_it_says_takes_no_more_memory() -> None:
    _, found = snapshot_of("amd64", 1, 0)
    text, _, _ = found.to_bytes().partition(b"\n")[2].partition(b"\n")
    facts = orjson.loads(text)
    facts["machines"][0]["pages"] = [[0, 1]]
    bomb = framed(orjson.dumps(facts) + b"\n" + zlib.compress(bytes(1 << 28)))
    tracemalloc.start()
    with pytest.raises(SnapshotError, match="more pages than its machines"):
        Snapshot.from_bytes(bomb, arches=ARCHES)

    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


@given(data=st.data())
def test_no_damage_goes_unnoticed(data: st.DataObject) -> None:
    _, found = snapshot_of("k6", 2, 20)
    text = bytearray(found.to_bytes())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SnapshotError):
        Snapshot.from_bytes(bytes(text), arches=ARCHES)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    _, found = snapshot_of("amd64", 1, 30)
    path = tmp_path / "a"
    found.save(path)
    with pytest.raises(OSError, match="directory"):
        found.save(tmp_path / "nowhere" / "a")

    found.save(path)
    assert [it.name for it in tmp_path.iterdir()] == ["a"]


def test_wrong_machines_are_refused() -> None:
    for wrong in (1, {"pc": 1}, {1: 1}):
        with pytest.raises(TypeError, match="machines"):
            Snapshot(wrong)  # type: ignore[arg-type]

    assert Snapshot({}) == Snapshot({})
    with pytest.raises(ValueError, match="a snapshot of no machine is not written"):
        Snapshot({}).to_bytes()

    _, found = snapshot_of("amd64", 1, 0)
    with pytest.raises(ValueError, match="the machine 'amd64' is not written as 'other'"):
        Snapshot({"other": found.machines["amd64"]}).to_bytes()

    assert MachineSpec(name="a", arch="amd64") == MachineSpec(name="a", arch="amd64")


def test_a_link_is_followed_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    _, then = snapshot_of("amd64", 1, 0)
    then.save(link)
    assert link.is_symlink()
    assert Snapshot.load(target, arches=ARCHES) == then
    assert target.stat().st_mode & 0o777 == 0o640
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    then.save(pipe)
    assert os.read(reading, 1 << 16) == then.to_bytes()
    assert pipe.is_fifo()
    os.close(reading)


def test_a_full_device_says_so_and_stays_a_device() -> None:
    _, then = snapshot_of("amd64", 1, 0)
    with pytest.raises(OSError, match="No space left"):
        then.save("/dev/full")

    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("wrong", [None, 1, [], "x", bytearray(b"x")])
def test_what_is_no_bytes_is_named(wrong: Any) -> None:
    with pytest.raises(TypeError, match="data"):
        Snapshot.from_bytes(wrong)


@pytest.mark.parametrize("wrong", [1, b"pc", ["pc"]])
def test_what_is_no_machines_name_is_named(wrong: Any) -> None:
    hub = Hub([PAT], arches=ALL)
    hub.begin()
    then = hub.snapshot()
    for call in (hub.snapshot, hub.reset, partial(hub.restore, then)):
        with pytest.raises(TypeError, match="machine"):
            call(wrong)

        with pytest.raises(NoSuchDevice, match=r"ENOENT.*empty"):
            call("")

    hub.end()
