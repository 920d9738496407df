"""Any change of a snapshot's JSON is refused clearly, or leads to just the machine that it says."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from functools import cache
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caches.cache_rig import Rig, pc
from memhub import Hub, Snapshot
from memhub.arches import ArchNotInstalled
from memhub.core.health.sickness import Sickness
from memhub.errors import DeviceError
from memhub.faults.hardware import Hardware
from memhub.snapshots.snapshot import take_machines
from memhub.snapshots.snapshot_file import SnapshotError
from ownership.rig import ARCHES, SPECS
from value.traffic import Traffic

if TYPE_CHECKING:
    from memhub.core.health.health import Health

#: What tells of an accident in the code rather than of a value and its rule.
ACCIDENTS = ("object has no", "not subscriptable", "not iterable", "unpack", "__init__", "must be")

#: In place of an architecture: a machine whose memory is not coherent.
INCOHERENT = "incoherent"

junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([-(1 << 63), 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1, 1.5, 1e300]),
    st.sampled_from(["", "x", "pc", "0", "[]", "{}", "[1]", "AAAA", "range", "update", "\0"]),
    st.just([]),
    st.just({}),
    st.lists(st.integers(0, 3), max_size=3),
)


@cache
def file_of(arch: str) -> tuple[dict[str, Any], bytes]:
    """The JSON and the pages of a machine that is in use, and sick where it can be."""
    if arch == INCOHERENT:
        rig, chance = Rig(pc()), Random(3)
        for _ in range(60):
            rig.step(chance)

        data = take_machines(rig.engine).to_bytes()
        text, _, pages = data.partition(b"\n")[2].partition(b"\n")

        return orjson.loads(text), pages

    traffic = Traffic(arch, 5)
    for _ in range(150):
        traffic.step()

    traffic.engine.end_due()
    hardware = Hardware(traffic.engine)
    hardware.begin()
    with suppress(DeviceError):
        hardware.add(Sickness(action="stuck_slot", slot=0, machine=arch))

    text, _, pages = traffic.hub.snapshot().to_bytes().partition(b"\n")[2].partition(b"\n")

    return orjson.loads(text), pages


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a document, also in the JSON that it has as text."""
    found = [path] if path else []
    if isinstance(value, str) and value[:1] in ("[", "{"):
        value, path = orjson.loads(value), (*path, None)

    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(item, (*path, key))

    return found


def replaced(value: Any, path: tuple[Any, ...], act: str, new: Any) -> Any:
    """The document with another value at a place, or with the place gone or doubled."""
    step, rest = path[0], path[1:]
    if step is None:
        return json.dumps(replaced(orjson.loads(value), rest, act, new))

    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[step] = replaced(value[step], rest, act, new)
    elif act == "gone":
        del copy[step]
    elif act == "doubled" and isinstance(copy, list):
        copy.insert(step, copy[step])
    elif act == "more" and isinstance(copy, dict):
        copy["more"] = new
    elif act == "near" and type(copy[step]) is int:
        copy[step] += 1
    else:
        copy[step] = new

    return copy


def named(health: Health | None) -> list[tuple[object, ...]]:
    """What is wrong, without the name of the machine, which a sickness has once it came back."""
    if health is None:
        return []

    sick = [(replace(it.sickness, machine=None), it.bits, it.count) for it in health.sicknesses]

    return [(sick, health.cpus, health.suspended_ns, health.strayed)]


def check_change(document: dict[str, Any], pages: bytes) -> bool:
    """Read a file of the document; whether it was taken."""
    rest = orjson.dumps(document) + b"\n" + pages
    data = b"memhub-snapshot 1 %s\n%s" % (sha256(rest).hexdigest().encode(), rest)
    found, refused = None, ""
    try:
        found = Snapshot.from_bytes(data, arches=ARCHES)
    except (SnapshotError, ArchNotInstalled) as error:
        refused = str(error)

    assert not any(it in refused for it in ACCIDENTS), refused
    if found is None:
        return False

    assert Snapshot.from_bytes(found.to_bytes(), arches=ARCHES) == found
    hub = Hub([it.spec for it in found.machines.values()], arches=ARCHES)
    hub.begin()
    hub.restore(found)
    for name, machine in hub.snapshot().machines.items():
        then = found.machines[name]
        assert (machine.spec, machine.memory) == (then.spec, then.memory)
        assert (machine.caches is None) == (then.caches is None)
        if machine.caches is not None and then.caches is not None:
            assert machine.caches.lines == then.caches.lines
        assert (machine.failed, named(machine.health)) == (then.failed, named(then.health))
        assert (machine.table is None) == (then.table is None)
        if machine.table is not None and then.table is not None:
            assert machine.table.state == then.table.state

    hub.end()

    return True


@given(data=st.data(), arch=st.sampled_from([*sorted(SPECS), INCOHERENT]))
def test_a_change_is_refused_or_leads_to_what_it_says(data: st.DataObject, arch: str) -> None:
    document, pages = file_of(arch)
    path = data.draw(st.sampled_from(places(document)))
    act = data.draw(st.sampled_from(["other", "other", "near", "gone", "doubled", "more"]))
    check_change(replaced(document, path, act, data.draw(junk)), pages)


@pytest.mark.parametrize("arch", ["amd64-mtrr", "powerpc", INCOHERENT])
def test_no_member_can_be_left_out_of_what_every_version_writes(arch: str) -> None:
    document, pages = file_of(arch)
    assert check_change(document, pages)
    for path in places(document):
        if isinstance(path[-1], str) and "config" not in path and "what" not in path:
            assert not check_change(replaced(document, path, "gone", None), pages), path
