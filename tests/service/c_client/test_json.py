"""The functions of the client in C that read a member of a JSON object."""

from __future__ import annotations

import random
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from service.c_client.c_rig import ENVIRON

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.campaign


def test_json_is_read_within_its_bounds(programs: Path) -> None:
    chance = random.Random(15)
    text = r'{"b": [{"a": 1}, "}"], "a": "\u00e9\ud83d\ude00\n\"x", "n": 18446744073709551615}'
    texts = [text[:at] for at in range(len(text))]
    for _ in range(5000):
        raw = bytearray(text.encode())
        for _ in range(chance.randrange(1, 4)):
            raw[chance.randrange(len(raw))] = ord(chance.choice('{}[]",:\\u0a9-e.'))

        texts.append(raw.decode())

    outcomes = subprocess.run(
        [programs / "hostile"],
        input=b"".join(struct.pack("<III", len(it), 0, 1000) + it.encode() for it in texts),
        capture_output=True,
        check=False,
        env=ENVIRON,
        timeout=60,
    )
    assert (outcomes.returncode, outcomes.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("text", "number", "string"),
    [
        ('{"a":7}', 7, None),
        ('{"a":"7"}', 7, "7"),
        (' { "x" : [1, {"a": 3}], "a" : 18446744073709551615 } ', 2**64 - 1, None),
        ('{"a":18446744073709551616}', None, None),
        ('{"a":1.5}', None, None),
        ('{"a":-1}', None, None),
        ('{"a":1e3}', None, None),
        ('{"a":""}', None, ""),
        ('{"a":null}', None, None),
        (r'{"a":"\u00e9\ud83d\ude00\\\/\t"}', None, "é😀\\/\t"),
        (r'{"a":"\ud83d"}', None, None),
        (r'{"a":"\u0000"}', None, None),
        ('{"b":{"a":1}}', None, None),
        ('["a",1]', None, None),
        ("", None, None),
    ],
)
def test_members_of_json(programs: Path, text: str, number: int | None, string: str | None) -> None:
    raw = text.encode()
    done = subprocess.run(
        [programs / "hostile"],
        input=struct.pack("<III", len(raw), 0, 1000) + raw,
        capture_output=True,
        text=False,
        check=True,
        env=ENVIRON,
        timeout=60,
    )
    _, is_number, value, is_string, digits = done.stdout.decode().rstrip("\n").split(" ")

    assert (int(value) if is_number == "1" else None) == number
    assert (bytes.fromhex(digits).decode() if is_string == "1" else None) == string
