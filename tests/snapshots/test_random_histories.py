"""A machine goes back to any snapshot, whatever happened since; a fork lives its own life."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from memhub.audit.history.rebuild import Rebuilder
from memhub.core.snapshots import fork_machine
from memhub.engine.lifecycle import close_file
from memhub.engine.pending import Pending
from memhub.engine.startup import record_starts
from memhub.errors import Cancelled
from ownership.rig import ARCHES, SPECS
from value.sick_traffic import SickTraffic
from value.test_rebuild import same
from value.traffic import Traffic

if TYPE_CHECKING:
    from memhub.core.claims import Claim, LostClaim
    from memhub.core.snapshots import MachineSnapshot
    from memhub.snapshots.snapshot import Snapshot

every_arch = pytest.mark.parametrize("arch", sorted(SPECS))
every_latency = pytest.mark.parametrize("latency", [0.0, 1.0], ids=["at-once", "in-time"])


def only(snapshot: Snapshot) -> MachineSnapshot:
    (machine,) = snapshot.machines.values()

    return machine


def still_there(then: MachineSnapshot, now: MachineSnapshot) -> set[int]:
    """The processes of which a file of then is open now."""
    here = {it.caller for it in now.files}

    return {it.caller.process.id for it in then.files if it.caller in here}


def told_losses(then: MachineSnapshot, now: MachineSnapshot, who: set[int]) -> set[tuple[int, int]]:
    """Process and fencing number of each claim whose loss is to be told."""
    back = {it.fence for it in then.claims if it.process.id in who}
    lost: list[Claim | LostClaim] = [it for it in then.losses if it.process.id in who]
    lost += [*now.losses, *now.claims]

    return {(it.process.id, it.fence) for it in lost if it.fence not in back}


def expected(then: MachineSnapshot, now: MachineSnapshot) -> MachineSnapshot:
    """What a machine is to be after a restore, by the rules of docs/snapshots.md.

    Args:
        then: the snapshot that it goes back to.
        now: the machine before.
    """
    here = {it.caller for it in now.files}
    offsets = {it.caller.handle: it.offset for it in then.files if it.caller in here}
    who = still_there(then, now)
    undoing = {it.caller.process.id for it in now.files if it.undo}
    files = [replace(it, offset=offsets.get(it.caller.handle, it.offset)) for it in now.files]
    notes = {pid: then.notes.before.get(pid, {}) if pid in who else {} for pid in undoing}

    return replace(
        then,
        files=tuple(files),
        claims=tuple(it for it in then.claims if it.process.id in who),
        losses=(),
        notes=replace(then.notes, before=notes),
        uareas={},
    )


@every_arch
@every_latency
def test_a_restore_leads_to_the_state_of_the_snapshot(arch: str, latency: float) -> None:
    for seed in range(3):
        traffic = Traffic(arch, seed, latency=latency)
        kept: list[Snapshot] = []
        for number in range(240):
            traffic.step()
            if number % 40 == 7:
                kept.append(traffic.hub.snapshot())

            if number % 40 == 30:
                then = traffic.rng.choice(kept)
                now = only(traffic.hub.snapshot())
                generation, fence = traffic.machine.generation, traffic.machine.claims.last_fence
                traffic.hub.restore(then)
                found = only(traffic.hub.snapshot())
                assert replace(found, losses=()) == expected(only(then), now)
                assert {(it.process.id, it.fence) for it in found.losses} == told_losses(
                    only(then), now, still_there(only(then), now)
                )
                assert traffic.machine.generation > generation
                assert traffic.machine.claims.last_fence >= fence
                assert not traffic.machine.waits.waits
                assert not traffic.machine.commits.commits
                assert traffic.machine.table is not None
                assert traffic.machine.table.types.at(0) is not None


@every_arch
def test_a_snapshot_gone_back_to_at_once_is_the_machine_as_it_was(arch: str) -> None:
    traffic = Traffic(arch, 4)
    for _ in range(150):
        traffic.step()

    for pending in traffic.pending:
        traffic.engine.abandon(pending)

    before = copy.deepcopy(traffic.machine)
    traffic.hub.restore(traffic.hub.snapshot())
    assert traffic.machine.table is not None
    assert before.table is not None
    traffic.machine.table.generation = before.table.generation
    assert traffic.machine == before


@every_arch
@every_latency
def test_the_log_leads_to_the_live_machine_after_each_restore(arch: str, latency: float) -> None:
    traffic, rebuilder = Traffic(arch, 9, latency=latency), Rebuilder(ARCHES)
    told = list[dict[str, Any]]()
    traffic.engine.listen(lambda record: told.append(orjson.loads(orjson.dumps(record))))
    record_starts(traffic.engine)
    kept, restores = [traffic.hub.snapshot()], 0
    for number in range(300):
        traffic.step()
        if number % 25 == 3:
            kept.append(traffic.hub.snapshot())

        if number % 25 == 20:
            restores += 1
            if restores % 4:
                traffic.hub.restore(traffic.rng.choice(kept))
            else:
                traffic.hub.reset()

        for record in told:
            rebuilder.read(record)

        told.clear()
        assert not rebuilder.partial
        assert same(rebuilder.machines[traffic.machine.name], traffic.machine), number


@every_arch
@every_latency
def test_the_log_leads_to_a_sick_machine_after_each_restore(arch: str, latency: float) -> None:
    sick = 0
    for seed in range(3):
        traffic, rebuilder = SickTraffic(arch, seed, latency=latency), Rebuilder(ARCHES)
        told, kept = list[dict[str, Any]](), [traffic.hub.snapshot()]
        traffic.engine.listen(told.append)
        record_starts(traffic.engine)
        for number in range(200):
            traffic.step()
            if number % 15 == 3:
                kept.append(traffic.hub.snapshot())

            if number % 15 == 12:
                then = traffic.rng.choice(kept)
                traffic.hub.restore(then)
                sick += only(then).health is not None
                assert traffic.machine.health == only(then).health
            elif number % 60 == 50:
                traffic.hub.reset()
                assert (traffic.machine.health, traffic.machine.refusing) == (None, False)

            for record in told:
                rebuilder.read(orjson.loads(orjson.dumps(record)))

            told.clear()
            rebuilt = rebuilder.machines[traffic.machine.name]
            assert same(rebuilt, traffic.machine), (seed, number)
            assert rebuilt.refusing == traffic.machine.refusing

    assert sick > 10


@every_arch
@every_latency
def test_a_fork_equals_its_machine_and_neither_changes_the_other(arch: str, latency: float) -> None:
    traffic = Traffic(arch, 3, latency=latency)
    for _ in range(120):
        traffic.step()

    first = fork_machine(traffic.machine)
    second = fork_machine(first)
    assert first == second == traffic.machine
    before = copy.deepcopy(traffic.machine)
    for _ in range(60):
        traffic.step()

    assert traffic.machine != before
    assert first == second == before
    first.memory.write(0x3000, b"another life")
    assert second == before


def test_a_snapshot_is_a_value() -> None:
    traffic = Traffic("amd64-mtrr", 5)
    for _ in range(80):
        traffic.step()

    found = traffic.hub.snapshot()
    again = traffic.hub.snapshot()
    assert found == again == pickle.loads(pickle.dumps(found)) == copy.deepcopy(found)
    traffic.machine.memory.write(0x9000, b"!")
    assert found == again
    assert traffic.hub.snapshot() != found


def test_what_waits_and_is_on_its_way_ends_with_ecanceled() -> None:
    traffic = Traffic("amd64", 1, latency=1.0)
    start, ended = traffic.hub.snapshot(), list[Pending[Any]]()
    for _ in range(400):
        traffic.step()
        if traffic.pending:
            ended += traffic.pending
            traffic.hub.restore(start)
            for pending in traffic.pending:
                assert pending.done
                with pytest.raises(Cancelled, match="amd64 went back to a snapshot"):
                    pending.result()

            traffic.pending.clear()

    assert len(ended) > 20


def test_a_fork_of_a_hub_goes_on_with_its_files_and_claims() -> None:
    traffic = Traffic("amd64-mtrr", 2, latency=1.0)
    for _ in range(150):
        traffic.step()

    twin = traffic.hub.fork()
    mine, theirs = traffic.machine, twin.machines[traffic.machine.name]
    assert theirs.files == mine.files
    assert theirs.claims == mine.claims
    assert theirs.table == mine.table
    assert theirs.memory == mine.memory
    assert not theirs.waits.waits
    assert not theirs.commits.commits
    before = copy.deepcopy(mine)
    twin.begin()
    for file in list(theirs.files):
        close_file(twin.engine, file.caller.handle)

    twin.end()
    assert mine == before
