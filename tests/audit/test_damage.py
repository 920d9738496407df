"""Whatever is done to a sealed log is found, and named as what it is."""

from __future__ import annotations

import itertools
import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from audit.conftest import Opener, event
from memhub.audit import AuditLog, Verdict, verify
from memhub.audit.chain import GENESIS, digest_of, seal_of
from memhub.audit.seals.note_keys import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = SigningKey.parse(
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
)

Lines = list[bytes]


@pytest.fixture
def lines(opened: Opener, path: Path) -> Lines:
    """A small log with several seals."""
    with opened(key=KEY) as log:
        for numbers in (range(3), range(3, 5), range(5, 6)):
            for number in numbers:
                log.record(event(number))

            log.seal()

    found = path.read_bytes().splitlines(keepends=True)
    assert [number for number, it in enumerate(found, 1) if b"log.seal" in it] == SEALS
    assert len(found) == COUNT

    return found


SEALS, COUNT = [5, 8, 10, 12], 12


@pytest.fixture
def check(path: Path) -> Callable[[bytes], Verdict]:
    def run(data: bytes) -> Verdict:
        path.write_bytes(data)

        return verify(path, keys=[KEY.verifier()])

    return run


def damage(verdict: Verdict) -> str | None:
    return None if verdict.broken is None else verdict.broken.damage


def test_a_whole_log_verifies(lines: Lines, check: Callable[[bytes], Verdict]) -> None:
    verdict = check(b"".join(lines))

    assert (verdict.ok, verdict.notes, verdict.closed) == (True, (), True)
    assert (verdict.seals, verdict.sealed) == (4, COUNT - 1)
    assert verdict.sealed_by == KEY.verifier().text()


#: The default suite looks at some of the bytes, the campaign at each.
some_and_each = pytest.mark.parametrize(
    "stride", [31, pytest.param(1, marks=pytest.mark.campaign)], ids=["some", "each"]
)


def near_ends(lines: Lines, stride: int) -> list[int]:
    """Offsets to be tried: those beside the ends of lines, and others between."""
    ends = itertools.accumulate(map(len, lines))
    size = sum(map(len, lines))
    near = {end + step for end in ends for step in (-2, -1, 0, 1)}

    return sorted({it for it in near if it < size} | set(range(0, size, stride)))


@some_and_each
def test_every_byte_that_is_changed_is_found_in_its_line(
    lines: Lines, check: Callable[[bytes], Verdict], stride: int
) -> None:
    data, ends, rng = b"".join(lines), list(itertools.accumulate(map(len, lines))), Random(1)
    for offset in near_ends(lines, stride):
        for new in {data[offset] ^ 1, 10, rng.randrange(256)} - {data[offset]}:
            verdict = check(data[:offset] + bytes([new]) + data[offset + 1 :])
            assert damage(verdict) == "altered", (offset, new)
            assert verdict.broken is not None
            assert verdict.broken.line == 1 + sum(1 for end in ends if end <= offset), offset


@some_and_each
def test_every_byte_that_is_taken_out_is_found(
    lines: Lines, check: Callable[[bytes], Verdict], stride: int
) -> None:
    data = b"".join(lines)
    for offset in near_ends(lines, stride):
        verdict = check(data[:offset] + data[offset + 1 :])
        last = offset == len(data) - 1
        assert damage(verdict) == ("torn" if last else "altered"), offset


def test_every_record_that_is_taken_out_is_missed(
    lines: Lines, check: Callable[[bytes], Verdict]
) -> None:
    for number in range(1, COUNT):
        verdict = check(b"".join((*lines[: number - 1], *lines[number:])))
        assert verdict.broken is not None
        assert (damage(verdict), verdict.broken.line) == ("missing", number)


def test_every_stretch_of_records_that_is_taken_out_is_missed(
    lines: Lines, check: Callable[[bytes], Verdict]
) -> None:
    for first, last in itertools.combinations(range(COUNT - 1), 2):
        assert damage(check(b"".join((*lines[:first], *lines[last:])))) == "missing"


def test_every_record_that_is_there_twice_is_found_at_any_place(
    lines: Lines, check: Callable[[bytes], Verdict]
) -> None:
    for number in range(COUNT):
        for place in range(number + 1, COUNT + 1):
            verdict = check(b"".join((*lines[:place], lines[number], *lines[place:])))
            assert verdict.broken is not None
            assert (damage(verdict), verdict.broken.line) == ("doubled", place + 1)


def test_every_exchange_of_two_records_is_found(
    lines: Lines, check: Callable[[bytes], Verdict]
) -> None:
    for one, other in itertools.combinations(range(COUNT), 2):
        moved = [*lines]
        moved[one], moved[other] = moved[other], moved[one]
        verdict = check(b"".join(moved))
        assert verdict.broken is not None
        assert (damage(verdict), verdict.broken.line) == ("reordered", one + 1)


@some_and_each
def test_only_a_cut_exactly_at_a_seal_passes_and_is_told(
    lines: Lines, check: Callable[[bytes], Verdict], stride: int
) -> None:
    data = b"".join(lines)
    ends = {end: number for number, end in enumerate(itertools.accumulate(map(len, lines)), 1)}
    for size in near_ends(lines, stride):
        verdict = check(data[:size])
        if ends.get(size) in SEALS:
            assert verdict.ok
            assert any("cut back to this seal" in it for it in verdict.notes)
        else:
            assert damage(verdict) == ("cut" if size in ends or not size else "torn"), size


# Those who can compute hashes


def chained(records: list[dict[str, Any]]) -> bytes:
    """The lines of records whose numbers and hashes are computed anew."""
    prev, data = GENESIS, b""
    for number, record in enumerate(records, 1):
        body = {**record, "seq": number, "prev": prev}
        body.pop("hash", None)
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        prev = digest_of(text[:-1] + seal_of("0" * 64))
        line = text[:-1] + seal_of(prev)
        data += line + b"\n"

    return data


def test_records_that_are_written_anew_with_right_hashes_break_the_next_seal(
    lines: Lines, check: Callable[[bytes], Verdict]
) -> None:
    records = [json.loads(line) for line in lines]
    assert chained(records) == b"".join(lines)
    for number in range(1, COUNT - 1):
        if number + 1 in SEALS:
            continue

        forged = [{**it} for it in records]
        forged[number]["wall_ns"] += 1
        verdict = check(chained(forged))
        assert verdict.broken is not None
        seal = min(it for it in SEALS if it > number)
        assert (damage(verdict), verdict.broken.kind) == ("rewritten", "seal")
        assert verdict.broken.line == seal


def test_a_record_that_is_replaced_without_those_behind_it_is_found(
    lines: Lines, check: Callable[[bytes], Verdict]
) -> None:
    records = [json.loads(line) for line in lines]
    records[5]["wall_ns"] += 1
    forged = chained(records).splitlines(keepends=True)
    verdict = check(b"".join((*lines[:5], forged[5], *lines[6:])))

    assert verdict.broken is not None
    assert (damage(verdict), verdict.broken.line) == ("rewritten", 7)


def test_a_log_that_another_key_has_sealed_is_refused(
    lines: Lines, opened: Opener, path: Path, check: Callable[[bytes], Verdict]
) -> None:
    path.unlink()
    other = SigningKey.generate("PeterNeumann")
    with opened(key=other) as log:
        log.record(event(1))

    mine = check(path.read_bytes())
    assert mine.broken is not None
    assert (mine.broken.kind, damage(mine)) == ("seal", "rewritten")
    assert verify(path, keys=[other.verifier()]).ok
    assert verify(path).ok


def test_a_log_without_seals_is_refused_where_a_key_is_given(
    small: bytes, check: Callable[[bytes], Verdict]
) -> None:
    verdict = check(small)

    assert verdict.broken is not None
    assert verdict.broken.kind == "seal"
    assert "is not sealed with that key" in verdict.broken.reason


def test_seals_taken_out_of_a_log_with_right_hashes_are_missed(
    lines: Lines, check: Callable[[bytes], Verdict]
) -> None:
    records = [json.loads(line) for line in lines]
    verdict = check(chained([it for it in records if it["event"] != "log.seal"]))

    assert verdict.broken is not None
    assert (damage(verdict), verdict.broken.kind) == ("cut", "unsealed")
    assert "should be sealed and has no seal" in verdict.broken.reason


def test_a_seal_of_another_time_is_refused(lines: Lines, check: Callable[[bytes], Verdict]) -> None:
    records = [json.loads(line) for line in lines]
    records[-1]["checkpoint"] = records[4]["checkpoint"]
    verdict = check(chained(records))

    assert verdict.broken is not None
    assert "covers another number of records" in verdict.broken.reason


# A large log


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_damage_to_a_million_sealed_records_is_found_at_its_place(tmp_path: Path) -> None:
    path, count, rng = tmp_path / "large.jsonl", 1_000_000, Random(3)
    with AuditLog.open(path, key=KEY) as log:
        while log.seq < count:
            for number in range(500):
                log.record(event(number))

            log.flush()
            if rng.random() < 0.01:
                log.seal()

    data = bytearray(path.read_bytes())
    begins = [0]
    while (end := data.find(b"\n", begins[-1]) + 1) < len(data):
        begins.append(end)

    def found(changed: bytes | bytearray) -> tuple[str, int]:
        path.write_bytes(changed)
        verdict = verify(path, keys=[KEY.verifier()], jobs=2)
        assert verdict.broken is not None

        return verdict.broken.damage, verdict.broken.line

    for _ in range(2):
        place = rng.randrange(1, len(begins) - 2)
        begin, end = begins[place], begins[place + 1]
        altered = bytearray(data)
        altered[rng.randrange(begin, end - 1)] ^= 4
        assert found(altered) == ("altered", place + 1)
        assert found(data[:begin] + data[end:]) == ("missing", place + 1)
        assert found(data[:end] + data[begin:]) == ("doubled", place + 2)
        assert found(data[:begin] + data[end:] + data[begin:end]) == ("reordered", place + 1)
        assert found(data[: begin + 9]) == ("torn", place + 1)

    path.write_bytes(data)
    assert verify(path, keys=[KEY.verifier()], jobs=2).ok
