"""Several processes find of a log what one finds."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING

import pytest

from audit.conftest import event
from audit.test_damage import KEY
from memhub.audit import AuditLog, Verdict, verify
from memhub.audit.chain import GENESIS, seal_of
from memhub.audit.verifying import verify_jobs
from memhub.audit.verifying.chain_walk import ChainWalk
from memhub.audit.verifying.line_batch import SoundLines, check_batch
from memhub.audit.verifying.verify_file import feed_file
from memhub.audit.verifying.verify_jobs import Jobs, check_stretch

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

    before, behind = pieces
    assert isinstance(before, SoundLines)
    assert (before.seq, before.lines) == (1, 39)
    assert behind == data[before.size :]
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


@pytest.mark.parametrize("behind", [b"x", b"\n", b"\nmore\n"], ids=["no end", "an end", "more"])
def test_a_line_that_is_too_long_is_told_in_the_same_words(
    sealed: bytes, tmp_path: Path, behind: bytes
) -> None:
    path = tmp_path / "b.jsonl"
    path.write_bytes(sealed + b"x" * (16 << 20) + behind)

    one, two = (verify(path, keys=[KEY.verifier()], jobs=jobs) for jobs in (1, 2))
    assert one.broken is not None
    assert one.broken == two.broken == replace(one.broken, reason="a line has no end")
    walk = ChainWalk(None, [KEY.verifier()])
    walk.feed(path.read_bytes())
    assert walk.broken == one.broken


def placed(seq: object, prev: str, more: bytes = b"") -> tuple[bytes, str]:
    """A line with its hash, and the hash."""
    body = b'{"v":1,"seq":%b,"prev":"%b","event":"x"%b' % (str(seq).encode(), prev.encode(), more)
    line = body + seal_of(sha256(body).hexdigest()) + b"\n"

    return line, line[-67:-3].decode()


def test_a_line_that_the_next_one_completes_is_not_sound() -> None:
    first, head = placed(3, GENESIS, b',"a":[{"b":1')
    again = b'{"v":1,"seq":4,"prev":"%b","event":"x"' % head.encode()
    second, _ = placed(4, head, b'}],"c":2,"hash":"%b"},%b' % (head.encode(), again))
    good, third = placed(3, GENESIS), placed(4, head)

    assert check_batch([good[0], placed(4, good[1])[0]], 2, GENESIS) is not None
    assert check_batch([first, second], 2, GENESIS) is None
    assert check_batch([good[0], third[0]], 2, GENESIS) is None


@pytest.mark.parametrize("seq", ["3.0", "true", '"3"', "4", '3,"seq":3'])
def test_a_place_is_the_integer_that_is_due(seq: str) -> None:
    assert check_batch([placed(seq, GENESIS)[0]], 2, GENESIS) is None


def test_the_hash_is_the_last_member() -> None:
    body = b'{"v":1,"seq":3,"prev":"%b","event":"x","hash' % GENESIS.encode()
    line = b'%b":"%b","x":1}\n' % (body, sha256(body[:-6]).hexdigest().encode())
    digest = sha256(line[:-76]).hexdigest().encode()
    line = b'%b":"%b","x":1}\n' % (body, digest)

    assert sha256(line[:-76]).hexdigest().encode() in line
    assert check_batch([line], 2, GENESIS) is None


@pytest.mark.parametrize("change", ["alter", "drop", "cut", "tear", "first", "none"])
def test_a_file_that_the_processes_read_themselves_has_the_same_verdict(
    sealed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(verify_jobs, "STRETCH", 5000)
    lines = sealed.splitlines(keepends=True)
    if change == "alter":
        lines[200] = lines[200].replace(b'"base":', b'"BASE":')
    elif change == "drop":
        del lines[150]
    elif change == "cut":
        del lines[-20:]
    elif change == "tear":
        lines[-1] = lines[-1][:50]
    elif change == "first":
        lines[0] = b"nonsense\n"

    path = tmp_path / "b.jsonl"
    path.write_bytes(b"".join(lines))
    one, two = ChainWalk(None, [KEY.verifier()]), ChainWalk(None, [KEY.verifier()])
    one.feed(path.read_bytes())
    pool: ProcessPoolExecutor = Now()  # type: ignore[assignment]
    with path.open("rb") as file:
        *_, last = feed_file(Jobs(pool, 2), two, str(path), file.fileno(), path.stat().st_size)

    for walk in (one, two):
        walk.finish(in_use=False)

    assert (two.broken, two.seq, two.head, two.taken) == (one.broken, one.seq, one.head, last)
    assert (one.broken is None) == (change == "none")


def test_another_file_at_the_path_is_not_taken_for_the_one_that_is_open(
    sealed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_jobs, "STRETCH", 5000)
    path = tmp_path / "b.jsonl"
    path.write_bytes(sealed.replace(b'"base":', b'"BASE":', 1))
    walk = ChainWalk(None, [KEY.verifier()])
    pool: ProcessPoolExecutor = Now()  # type: ignore[assignment]
    with path.open("rb") as file:
        path.unlink()
        path.write_bytes(sealed)
        for _ in feed_file(Jobs(pool, 2), walk, str(path), file.fileno(), len(sealed)):
            pass

    assert walk.broken is not None
    assert walk.broken.kind == "hash"
