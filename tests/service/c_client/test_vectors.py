"""The codec of the client in C takes each published frame apart, and makes the same bytes."""

from __future__ import annotations

import json
import random
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from service.c_client.c_rig import ENVIRON, LIBRARY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.campaign

VECTORS: list[dict[str, Any]] = json.loads(
    (LIBRARY.parents[1] / "docs" / "protocol.vectors.json").read_text()
)

#: Fields that the vectors give as hexadecimal digits; other texts are given as they are.
RAW = {"token", "data", "op", "desc", "detail", "table", "outcome", "obstacles", "args"}


def words(vector: dict[str, Any]) -> str:
    """The line of `vectors.c` for a frame with the fields that the vector states."""
    fields = dict(vector["fields"])
    flags = int(fields.pop("last", False))
    said = [vector["type"], flags, vector["request"]]
    for name, value in fields.items():
        if name in RAW and (name, vector["frame"]) != ("op", "CALL"):  # there it is a text
            said.append(f"x{value}")
        elif isinstance(value, str) and not value.isdigit():
            said.append(f"x{value.encode().hex()}")
        else:
            said.append(int(value))

    return " ".join(map(str, said))


def answers(programs: Path, *lines: str) -> list[str]:
    done = subprocess.run(
        [programs / "vectors"],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRON,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")

    return done.stdout.splitlines()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["frame"])
def test_a_frame_is_taken_apart_and_put_together(programs: Path, vector: dict[str, Any]) -> None:
    line = words(vector)

    assert answers(programs, f"decode {vector['hex']}", f"encode {line}") == [line, vector["hex"]]


def test_a_frame_that_is_cut_is_refused_or_is_shorter(programs: Path) -> None:
    """Whatever the C decoder takes of a cut frame, it takes of the bytes that are there."""
    lines = []
    for vector in VECTORS:
        frame = bytes.fromhex(vector["hex"])
        lines += [
            f"decode {(size.to_bytes(4, 'little') + frame[4 : 12 + size]).hex()}"
            for size in range(len(frame) - 12)
        ]

    found = answers(programs, *lines)
    assert len(found) == len(lines)
    for line, answer in zip(lines, found, strict=True):
        digits = "".join(part[1:] for part in answer.split() if part.startswith("x"))
        assert answer == "bad" or len(digits) <= len(line)

    assert found.count("bad") > len(lines) // 2


def test_bytes_behind_the_last_field_are_ignored(programs: Path) -> None:
    """Of each frame whose last field says how long it is."""
    longer = [vector for vector in VECTORS if list(vector["fields"])[-1:] not in ([], ["data"])]
    longer = [vector for vector in longer if list(vector["fields"])[-1] not in RAW - {"token"}]
    assert len(longer) > 20
    for vector in longer:
        body = bytes.fromhex(vector["hex"])[12:] + b"more"
        frame = len(body).to_bytes(4, "little") + bytes.fromhex(vector["hex"])[4:12] + body

        assert answers(programs, f"decode {frame.hex()}") == [words(vector)]


def test_random_frames_are_taken_apart_within_their_bounds(programs: Path) -> None:
    chance = random.Random(15)
    types = [vector["type"] for vector in VECTORS]
    lines = []
    for _ in range(20_000):
        body = chance.randbytes(chance.randrange(80))
        head = len(body).to_bytes(4, "little") + chance.choice(types).to_bytes(2, "little")
        lines.append(f"decode {(head + bytes(6) + body).hex()}")

    found = answers(programs, *lines)
    assert len(found) == len(lines)
    assert 0 < found.count("bad") < len(lines)
