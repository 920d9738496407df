"""Lines that are compared with shapes are held to the same as lines that are parsed."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from benchmarks.analysis_log import make_log
from memhub.analysis.sound_lines import SoundLines
from memhub.audit import AuditError, read_records
from memhub.audit.chain import SEAL_SIZE
from memhub.audit.line import parse_record
from memhub.audit.verifying.line_shapes import _VALUES, LineShapes

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = 120
#: A line in the middle of a run of known shapes, from 0.
PLACE = 100


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    make_log(path, RECORDS)

    return path


def chained(lines: list[bytes]) -> bytes:
    """The lines with the hashes that they have to have."""
    head, done = b"0" * 64, []
    for line in lines:
        begin = line.index(b'"prev":"') + 8
        text = line[:begin] + head + line[begin + 64 : -SEAL_SIZE]
        head = sha256(text).hexdigest().encode()
        done.append(b'%b,"hash":"%b"}\n' % (text, head))

    return b"".join(done)


def dumped(machine: str | None) -> bytes | None:
    """A machine's name as JSON."""
    return None if machine is None else b'"%b"' % machine.encode()


@pytest.mark.parametrize("verified", [True, False])
def test_most_lines_are_not_parsed_and_all_are_told_as_they_are(log: Path, verified: bool) -> None:
    due = list(read_records(log))
    (block,) = SoundLines(log, verified=verified).blocks()

    assert len(block.records) < RECORDS // 3
    assert [*block.seqs] == [it["seq"] for it in due]
    assert block.digests == [it["hash"] for it in due]
    assert block.walls == [it["wall_ns"] for it in due]
    assert block.machines == [dumped(it.get("machine")) for it in due]


def test_no_byte_of_a_line_can_be_another(log: Path) -> None:
    lines = log.read_bytes().splitlines()
    (whole,) = SoundLines(log).blocks()
    assert PLACE not in whole.records
    for place in range(len(lines[PLACE])):
        changed = bytearray(lines[PLACE])
        changed[place] ^= 1
        log.write_bytes(b"\n".join((*lines[:PLACE], changed, *lines[PLACE + 1 :], b"")))
        with pytest.raises(AuditError, match=f"after {PLACE} records|line {PLACE + 1}"):
            list(SoundLines(log).blocks())


def test_a_line_that_is_not_verified_is_what_its_record_says(log: Path) -> None:
    """A changed byte leaves a record that is told as it is, or none."""
    lines = log.read_bytes().splitlines(keepends=True)
    (whole,) = SoundLines(log, verified=False).blocks()
    assert PLACE not in whole.records
    refused = 0
    for place in range(len(lines[PLACE]) - 1):
        changed = bytearray(lines[PLACE])
        changed[place] ^= 1
        log.write_bytes(b"".join((*lines[:PLACE], changed, *lines[PLACE + 1 :])))
        try:
            due = parse_record(bytes(changed[:-1]), typed=True)
        except ValueError:
            refused += 1
            with pytest.raises(AuditError, match=f"line {PLACE + 1} is not a record"):
                list(SoundLines(log, verified=False).blocks())
        else:
            (block,) = SoundLines(log, verified=False).blocks()
            told = (block.seqs[PLACE], block.digests[PLACE], block.walls[PLACE])
            assert told == (due["seq"], due["hash"], due["wall_ns"])
            assert block.machines[PLACE] == dumped(due.get("machine"))

    assert 0 < refused < place


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"process":"', b'"process":"\xff'),
        (b'"pid":', b'"pid":"1",'),
        (b'"pid":', b'"pid":0'),
        (b'"pid":', b'"pid":-0'),
        (b'"pid":', b'"pid":1.'),
        (b'"pid":', b'"pid":1,"pid":'),
        (b'"arch":"', b'"arch":"\n'),
        (b'"arch":"', b'"arch":"\\u00zz'),
        (b'"arch":"', b'"arch":null,"x":"'),
    ],
)
def test_what_is_no_record_is_refused_although_its_hash_is_right(
    log: Path, old: bytes, new: bytes
) -> None:
    lines = log.read_bytes().splitlines()
    lines[PLACE] = lines[PLACE].replace(old, new, 1)
    log.write_bytes(chained(lines))

    with pytest.raises(AuditError):
        list(SoundLines(log).blocks())


def test_a_file_without_changes_is_chained_as_the_writer_does(log: Path) -> None:
    text = log.read_bytes()

    assert chained(text.splitlines()) == text


def test_shapes_of_an_event_are_told_apart(log: Path) -> None:
    """A member less before the machine's, or behind it, makes another shape."""
    lines = log.read_bytes().splitlines(keepends=True)
    line = next(it for it in lines if b'"event":"request.set"' in it and b'"reason":null' in it)
    others = [
        line.replace(b',"arch":"amd64"', b"").replace(b'"reason":null', b'"reason":"a:b"'),
        line.replace(b',"machine":"bench-0"', b""),
        line.replace(b',"reason":null', b""),
    ]
    shapes = LineShapes()
    for it in (line, *others, line, *others):
        (found,) = shapes.match_lines([it])
        assert found[3] == (b'"bench-0"' if b'"machine"' in it else None)
        assert it.endswith(b'"%b"}\n' % (found[4] or b""))


@pytest.mark.parametrize(
    "junk", [b"x", b",", b" ", b',"reason":null', b',"fence":18446744073709551616', b',"uid":-0']
)
def test_what_no_record_has_is_no_shape(log: Path, junk: bytes) -> None:
    """Also where the line is one of a known shape but for that."""
    lines = log.read_bytes().splitlines(keepends=True)
    line = next(it for it in lines if b'"event":"request.set"' in it and b'"reason":null' in it)
    shapes = LineShapes()
    for it in (line, line.replace(b',"machine":"bench-0"', b"")):
        assert len(shapes.match_lines([it, it[:-77] + junk + it[-77:]])) == 1


@pytest.mark.parametrize("number", [0, 9, (1 << 63) - 1, 1 << 63, 18 * 10**18, (1 << 64) - 1])
def test_an_address_has_up_to_64_bits(number: int) -> None:
    pattern = re.compile(_VALUES["u64"])

    assert pattern.fullmatch(str(number).encode())
    assert not pattern.fullmatch(str(number + (1 << 64)).encode())
    assert not pattern.fullmatch(b"0%d" % number)
