"""Several processes find of a log what one finds."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from audit.conftest import event
from audit.test_damage import KEY
from memhub.audit import AuditLog, Verdict, verify, verify_jobs
from memhub.audit.chain_walk import ChainWalk
from memhub.audit.line_batch import SoundLines
from memhub.audit.verify_jobs import Jobs, check_stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import ProcessPoolExecutor
    from pathlib import Path


class Now:
    """A pool that does its work at once, in this process."""

    def submit(self, work: Callable[..., object], *args: object, **more: object) -> Done:
        return Done(work(*args, **more))


class Done:
    def __init__(self, value: object) -> None:
        self.value = value

    def result(self) -> object:
        return self.value


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    for first in range(0, len(data), size):
        yield data[first : first + size]


def walked(data: bytes, wanted: str | None, *, jobs: bool) -> tuple[object, ...]:
    walk = ChainWalk(wanted, [KEY.verifier()], whole=False)
    if jobs:
        pool: ProcessPoolExecutor = Now()  # type: ignore[assignment]
        for _ in Jobs(pool, 2).feed(walk, blocks(data, 700)):
            if walk.broken is not None and not walk.is_probing():
                break
    else:
        walk.feed(data)

    walk.finish(in_use=False)
    seals = walk.seals
    tree = None if seals is None else (seals.tree.root(), seals.seals, seals.size)

    return walk.broken, walk.seq, walk.head, walk.head_seq, walk.notes, walk.closed, tree


@pytest.fixture
def sealed(tmp_path: Path) -> bytes:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path, key=KEY) as log:
        for number in range(400):
            log.record(event(number))
            if number % 90 == 50:
                log.seal()

    return path.read_bytes()


def test_stretches_lead_to_the_same_verdict_whatever_was_done(
    sealed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_jobs, "STRETCH", 5000)
    lines, rng = sealed.splitlines(keepends=True), Random(5)
    heads = [line[-67:-3].decode() for line in lines]
    assert walked(sealed, heads[200], jobs=True) == walked(sealed, heads[200], jobs=False)
    kinds = set()
    for _ in range(60):
        changed, place = [*lines], rng.randrange(len(lines))
        other = rng.randrange(len(lines))
        kind = rng.choice(["alter", "drop", "double", "swap", "cut", "tear"])
        if kind == "alter":
            line = bytearray(changed[place])
            line[rng.randrange(len(line))] ^= 1 << rng.randrange(8)
            changed[place] = bytes(line)
        elif kind == "drop":
            del changed[place]
        elif kind == "double":
            changed.insert(other, changed[place])
        elif kind == "swap":
            changed[place], changed[other] = changed[other], changed[place]
        elif kind == "cut":
            del changed[place:]
        else:
            changed = [b"".join(changed)[: -rng.randrange(1, 300)]]

        data = b"".join(changed)
        one = walked(data, heads[200], jobs=False)
        assert walked(data, heads[200], jobs=True) == one, (kind, place, other)
        kinds.add(one[0] is None or getattr(one[0], "damage", None))

    assert kinds >= {"altered", "missing", "doubled", "reordered", "torn", "cut"}


def test_what_a_process_finds_unsound_comes_back_as_it_is(sealed: bytes) -> None:
    lines = sealed.splitlines(keepends=True)
    data = b"".join((*lines[1:40], b"nonsense\n", *lines[41:49]))
    pieces = check_stretch(data, None, sealed=True)

    assert [it for it in pieces if isinstance(it, bytes)] == [data]
    (sound,) = check_stretch(b"".join(lines[1:49]), None, sealed=True)
    assert isinstance(sound, SoundLines)
    assert (sound.seq, sound.lines, len(sound.leaves)) == (1, 48, 48 * 32)


def test_real_processes_agree(sealed: bytes, tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    path.write_bytes(sealed)
    one, two = (verify(path, keys=[KEY.verifier()], jobs=jobs) for jobs in (1, 2))
    assert one == two
    assert one.ok

    path.write_bytes(sealed.replace(b'"base":', b'"BASE":', 1))
    broken: list[Verdict] = [verify(path, jobs=jobs) for jobs in (1, 2)]
    assert broken[0] == broken[1] == replace(broken[0])
    assert broken[0].broken is not None
