"""Whatever is done to a log, `verify` finds it and says where."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.conftest import Opener, event
from memhub.audit import AuditError, Break, Verdict, verify
from memhub.audit.chain import digest_of, seal_of

if TYPE_CHECKING:
    from pathlib import Path

Check = Callable[[bytes], Verdict]


@pytest.fixture
def check(path: Path) -> Check:
    """Verify a file of these bytes."""

    def run(data: bytes) -> Verdict:
        path.write_bytes(data)

        return verify(path)

    return run


def broken(verdict: Verdict) -> Break:
    assert verdict.broken is not None

    return verdict.broken


def line_at(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def start_of(data: bytes, line: int) -> int:
    return sum(map(len, data.splitlines(keepends=True)[: line - 1]))


def resealed(line: bytes, old: bytes, new: bytes) -> bytes:
    """The line as a forger would alter it: with a hash that fits."""
    body = line.rstrip(b"\n").replace(old, new)

    return body[:-75] + seal_of(digest_of(body)) + b"\n"


def test_a_whole_log_verifies(check: Check, small: bytes) -> None:
    verdict = check(small)

    assert (True, 6, len(small), True, ()) == (
        verdict.ok,
        verdict.records,
        verdict.size,
        verdict.closed,
        verdict.notes,
    )
    assert json.loads(small.splitlines()[-1])["hash"] == verdict.head


def test_every_altered_byte_is_found_in_its_line(check: Check, small: bytes) -> None:
    for offset in range(len(small)):
        altered = bytearray(small)
        altered[offset] ^= 1 + offset % 255
        found = broken(check(bytes(altered)))
        line = line_at(small, offset)

        assert (line, start_of(small, line)) == (found.line, found.offset), offset


def test_every_removed_byte_is_found_in_its_line(check: Check, small: bytes) -> None:
    for offset in range(len(small)):
        found = broken(check(small[:offset] + small[offset + 1 :]))

        assert line_at(small, offset) == found.line, offset


def test_every_cut_inside_a_line_is_a_torn_tail(check: Check, small: bytes) -> None:
    for size in range(1, len(small)):
        verdict = check(small[:size])
        if small[size - 1 : size] == b"\n":
            assert verdict.ok
            assert verdict.notes
        else:
            found = broken(verdict)
            assert ("torn", line_at(small, size - 1)) == (found.kind, found.line)


def test_every_missing_line_is_found(check: Check, small: bytes) -> None:
    lines = small.splitlines(keepends=True)
    kinds = []
    for missing in range(len(lines) - 1):
        found = broken(check(b"".join(lines[:missing] + lines[missing + 1 :])))
        kinds.append(found.kind)

        assert (missing + 1, missing + 2) == (found.line, found.seq)

    assert kinds == ["header", "seq", "seq", "seq", "seq"]


def test_every_doubled_line_is_found(check: Check, small: bytes) -> None:
    lines = small.splitlines(keepends=True)
    for twice in range(len(lines)):
        found = broken(check(b"".join(lines[: twice + 1] + lines[twice:])))

        assert ("seq", twice + 2, twice + 1) == (found.kind, found.line, found.seq)
        assert (str(twice + 2), str(twice + 1)) == (found.expected, found.found)


def test_every_swap_of_two_lines_is_found(check: Check, small: bytes) -> None:
    lines = small.splitlines(keepends=True)
    for left in range(len(lines)):
        for right in range(left + 1, len(lines)):
            swapped = list(lines)
            swapped[left], swapped[right] = lines[right], lines[left]
            found = broken(check(b"".join(swapped)))

            assert (left + 1, "seq" if left else "header") == (found.line, found.kind)


def test_every_added_line_is_found(check: Check, small: bytes) -> None:
    lines = small.splitlines(keepends=True)
    for extra in (b"\n", b"{}\n", b"[]\n", b"null\n", b"7\n", b"\xff\n"):
        for place in range(len(lines) + 1):
            found = broken(check(b"".join([*lines[:place], extra, *lines[place:]])))

            assert place + 1 == found.line, (extra, place)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_splice_that_is_not_a_cut_at_a_lines_end_is_found(
    check: Check, small: bytes, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(small)))
    end = data.draw(st.integers(start, len(small)))
    new = data.draw(st.one_of(st.binary(max_size=8), st.just(small[start // 2 : end])))
    spliced = small[:start] + new + small[end:]
    ends = {start_of(small, line) for line in range(1, 7)} | {len(small)}
    verdict = check(spliced)

    whole_prefix = len(spliced) in ends and small.startswith(spliced) and bool(spliced)

    assert whole_prefix is verdict.ok
    if verdict.broken:
        same = next((i for i, (a, b) in enumerate(zip(small, spliced, strict=False)) if a != b), -1)
        first = same if same >= 0 else min(len(small), len(spliced))
        assert verdict.broken.line <= line_at(spliced, first)


def test_a_forged_record_with_a_fitting_hash_breaks_the_next_line(
    check: Check, small: bytes
) -> None:
    lines = small.splitlines(keepends=True)
    lines[2] = resealed(lines[2], b'"mono_ns":1', b'"mono_ns":9')
    found = broken(check(b"".join(lines)))

    assert (found.kind, found.line, found.seq) == ("prev", 4, 4)
    assert json.loads(lines[2])["hash"] == found.expected


def test_a_forged_end_is_found_by_a_head_kept_elsewhere(path: Path, small: bytes) -> None:
    kept = json.loads(small.splitlines()[-1])["hash"]
    lines = small.splitlines(keepends=True)
    lines[-1] = resealed(lines[-1], b'"mono_ns":5', b'"mono_ns":6')
    path.write_bytes(b"".join(lines))

    assert verify(path).ok
    assert broken(verify(path, head=kept)).kind == "head"


def test_a_missing_end_is_found_by_a_head_kept_elsewhere(path: Path, small: bytes) -> None:
    kept = json.loads(small.splitlines()[-1])["hash"]
    path.write_bytes(b"".join(small.splitlines(keepends=True)[:-2]))
    verdict = verify(path, head=kept)

    assert (broken(verdict).kind, broken(verdict).line) == ("head", 5)
    assert kept == broken(verdict).expected


def test_a_head_kept_earlier_is_found_in_the_longer_log(path: Path, small: bytes) -> None:
    kept = json.loads(small.splitlines()[3])["hash"]
    verdict = verify(path, head=f" {kept.upper()}\n")

    assert (verdict.ok, verdict.head_line) == (True, 4)
    assert verdict.notes == ("the head given is line 4; 6 are in the chain",)


@pytest.mark.parametrize(
    ("line", "old", "new", "kind"),
    [
        (1, b'"v":1', b'"v":2', "schema"),
        (3, b'"v":1', b'"v":2', "schema"),
        (3, b'"seq":3', b'"seq":"3"', "seq"),
        (3, b'"event":"request.get"', b'"event":7', "schema"),
        (3, b'"event":"request.get",', b"", "schema"),
        (1, b'"sha256"', b'"md5"', "header"),
        (1, b'"event":"log.open"', b'"event":"log.resume"', "header"),
    ],
)
def test_a_record_that_breaks_a_rule_is_named_though_its_hash_fits(
    check: Check, small: bytes, line: int, old: bytes, new: bytes, kind: str
) -> None:
    lines = small.splitlines(keepends=True)
    lines[line - 1] = resealed(lines[line - 1], old, new)
    found = broken(check(b"".join(lines)))

    assert (kind, line) == (found.kind, found.line)


def test_an_empty_file_is_no_log(check: Check) -> None:
    assert broken(check(b"")).kind == "empty"


def test_a_break_reads_as_one_sentence(check: Check, small: bytes) -> None:
    lines = small.splitlines(keepends=True)
    text = str(broken(check(b"".join([lines[0], *lines[3:]]))))

    assert (
        f"line 2, byte {len(lines[0])}, seq 4: records 2 to 3 are missing or moved "
        "(expected 2, found 4)"
    ) == text


def test_a_line_without_an_end_does_not_fill_memory(check: Check, small: bytes) -> None:
    found = broken(check(small + b"x" * (17 << 20)))

    assert (found.kind, found.line, found.reason) == ("json", 7, "a line has no end")


def test_a_log_in_use_verifies_with_a_half_written_record(opened: Opener, path: Path) -> None:
    log = opened()
    log.record(event(1))
    log.flush()
    with path.open("ab") as other:
        other.write(b'{"v":1,"seq":3')
    verdict = verify(path)

    assert (verdict.ok, verdict.records) == (True, 2)
    assert "14 bytes of a record that is being written" in verdict.notes
    log.close()


def test_progress_counts_the_bytes_to_the_end(opened: Opener, path: Path) -> None:
    with opened() as log:
        for number in range(3000):
            log.record(event(number))
    seen: list[tuple[int, int]] = []
    verify(path, progress=lambda done, total: seen.append((done, total)))
    size = path.stat().st_size

    assert sorted(seen) == seen
    assert len(seen) > 1
    assert (size, size) == seen[-1]


def test_what_is_appended_meanwhile_is_left_for_the_next_pass(path: Path, small: bytes) -> None:
    def append(_done: int, _total: int) -> None:
        with path.open("ab") as other:
            other.write(b"not a record\n")

    path.write_bytes(small)

    assert verify(path, progress=append).ok
    assert not verify(path).ok


def test_a_log_that_goes_on_after_its_close_is_not_closed(opened: Opener, path: Path) -> None:
    with opened() as log:
        log.record({**event(1), "event": "log.close"})
        log.record(event(2))
        log.flush()

        assert not verify(path).closed

    assert verify(path).closed


def test_memory_does_not_grow_with_the_log(opened: Opener, path: Path) -> None:
    with opened() as log:
        for number in range(20_000):
            log.record(event(number))
    tracemalloc.start()
    try:
        assert verify(path).ok
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert path.stat().st_size > 4 << 20
    assert peak < 2 << 20


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="No such file"):
        verify(tmp_path / "none")

    with pytest.raises(AuditError, match="the folder has no segment of an audit log"):
        verify(tmp_path)
