"""No line makes a reader die, or take more memory than a line may: it is refused by its number."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from audit.conftest import Opener, event, lines
from audit.hostile import HOSTILE, Hostile, sealed
from memhub.audit import AuditError, read_records, summary, verify
from memhub.audit.reading.reader import MAX_NAMES, OTHERS
from memhub.audit.schema import problems
from memhub.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BREAKING = [case.name for case in HOSTILE.values() if case.chain]

READ: dict[str, Callable[[Path], Any]] = {
    "records": lambda path: list(read_records(path)),
    "typed": lambda path: list(read_records(path, typed=True)),
    "summary": summary,
}


@pytest.fixture
def hostile(request: pytest.FixtureRequest, small: bytes) -> tuple[bytes, Hostile]:
    """A log whose third line is hostile, though its hash fits, and what is wrong with it."""
    parts = small.splitlines(keepends=True)
    case = HOSTILE[request.param]

    return b"".join([*parts[:2], case.make(parts[2]), *parts[3:]]), case


@pytest.mark.parametrize("hostile", HOSTILE, indirect=True)
@pytest.mark.parametrize("read", READ)
def test_readers_refuse_a_hostile_line_by_its_number(
    path: Path, hostile: tuple[bytes, Hostile], read: str
) -> None:
    data, case = hostile
    path.write_bytes(data)
    with pytest.raises(AuditError) as caught:
        READ[read](path)

    text = str(caught.value)
    assert text.startswith(f"{path}: line 3 is not a record: ")
    assert case.rule.replace("version", "schema version 1") in text
    assert (len(text) < 400, "\n" in text, text.isprintable()) == (True, False, True)


@pytest.mark.parametrize("hostile", BREAKING, indirect=True)
def test_verify_says_where_and_why(path: Path, hostile: tuple[bytes, Hostile]) -> None:
    data, case = hostile
    path.write_bytes(data)
    broken = verify(path).broken

    assert broken is not None
    assert broken.line == 3
    assert case.rule in str(broken)
    assert len(str(broken)) < 400


@pytest.mark.parametrize("hostile", BREAKING, indirect=True)
def test_a_writer_does_not_go_on_after_a_hostile_line(
    opened: Opener, path: Path, hostile: tuple[bytes, Hostile]
) -> None:
    data, case = hostile
    kept = b"\n".join(data.split(b"\n")[:3]) + b"\n"
    path.write_bytes(kept)
    if case.name in ("version", "event"):
        opened().close()
        assert verify(path).broken is not None
        return

    with pytest.raises(AuditError, match="last record does not verify") as caught:
        opened()

    assert len(str(caught.value)) < 400
    assert kept == path.read_bytes()


@pytest.mark.parametrize("verb", ["show", "summary"])
@pytest.mark.parametrize("hostile", HOSTILE, indirect=True)
def test_the_command_says_it_in_one_line(
    path: Path, hostile: tuple[bytes, Hostile], verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(hostile[0])
    code = main(["audit", verb, str(path)])
    errors = capsys.readouterr().err

    assert code == 2
    assert re.fullmatch(rf"memhub: {re.escape(str(path))}: line 3 is not a record: .*\n", errors)


@pytest.mark.parametrize("verb", ["show", "summary", "verify"])
def test_a_line_without_an_end_takes_no_more_memory_than_a_line_may(path: Path, verb: str) -> None:
    with path.open("wb") as file:
        file.truncate(2 << 30)

    limited = """
import resource, sys
from memhub.cli import main
resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
raise SystemExit(main(sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", limited, "audit", verb, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = done.stdout + done.stderr

    assert done.returncode == (1 if verb == "verify" else 2), said
    assert "line 1" in said
    assert "16777216 bytes" in said


def test_a_sparse_line_is_not_read_to_continue_a_log(opened: Opener, path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(AuditError, match="longer than any record"):
        opened()


@pytest.mark.parametrize("value", [True, 1.0, "1"])
def test_a_place_in_the_chain_is_an_integer(path: Path, small: bytes, value: object) -> None:
    text = b"true" if value is True else str(value).encode() if value == 1.0 else b'"1"'
    parts = small.splitlines(keepends=True)
    for name in (b'"v"', b'"seq"'):
        path.write_bytes(sealed(parts[0], name + b":1", name + b":" + text) + b"".join(parts[1:]))

        assert (verify(path).broken is None, verify(path).records) == (False, 0)


def test_a_summary_keeps_a_bounded_number_of_names(
    opened: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened() as log:
        for number in range(9):
            log.record({**event(number), "owner": f"o{number}", "process": "p" * 100 * number})
    monkeypatch.setattr("memhub.audit.reading.reader.MAX_NAMES", 4)
    total = summary(path)

    assert MAX_NAMES > 1000
    assert total.owners == {"o0": 1, "o1": 1, "o2": 1, "o3": 1, OTHERS: 5}
    assert total.processes == {"": 1, "p" * 100: 1, "p" * 200: 1, OTHERS: 6}


def test_what_has_too_many_values_is_not_written(opened: Opener, path: Path) -> None:
    with opened() as log:
        with pytest.raises(AuditError, match="at most 1048576 values"):
            log.record({**event(1), "slots": [0] * (1 << 20)})
        log.record({**event(1), "config": "[{," * (1 << 20)})

    assert verify(path).ok
    assert len(list(read_records(path, typed=True))) == len(lines(path)) == 3


def test_an_event_that_is_no_name_is_a_misfit() -> None:
    assert problems({"event": ["request.get"]}) == ["event ['request.get'] is unknown"]


def test_a_record_without_a_clock_is_no_typed_record(path: Path, small: bytes) -> None:
    parts = small.splitlines(keepends=True)
    path.write_bytes(parts[0] + sealed(parts[1], b'"wall_ns":', b'"wall_ms":'))

    assert len(list(read_records(path))) == 2
    with pytest.raises(AuditError, match="line 2 is not a record: wall_ns is missing"):
        summary(path)
