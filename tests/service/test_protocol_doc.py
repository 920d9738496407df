"""`docs/protocol.md` and the codec say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memhub.abi import LP64, MDF_ACTIVE, MDF_FIRMWARE, MDF_UNCACHEABLE, MDF_WRITECOMBINE, descs
from memhub.errors import RangeBusy
from memhub.service.wire import (
    ClientProtocol,
    Error,
    Ioctl,
    IoctlDone,
    Limits,
    Message,
    Open,
    Opened,
    ServerProtocol,
    error_from_wire,
)
from memhub.service.wire.decoder import ANSWERS
from memhub.service.wire.layout import HEADER_SIZE
from service.wire_strategies import ALL

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
SECTIONS: dict[str, str] = dict(
    re.findall(r"^### `(\w+` 0x[0-9a-f]+)\n(.*?)(?=^##)", PAGE, re.M | re.S)
)


def example(name: str) -> bytes:
    """The bytes of one hex block, comments removed."""
    block = re.search(rf"^```hex {name}\n(.*?)^```", PAGE, re.M | re.S)
    assert block is not None
    return bytes.fromhex(re.sub(r";.*", "", block[1]))


def table(kind: type[Message]) -> list[tuple[str, str, str]]:
    """What the page should say of a message: offset, kind and name of each field."""
    rows, at, floating = [], HEADER_SIZE, False
    for field, sort in kind.KINDS.items():
        if sort == "bool":
            rows.append(("6", "flags, bit 0", field))
            continue

        rows.append(("…" if floating else str(at), sort, field))
        at += {"u16": 2, "u32": 4, "u64": 8}.get(sort, 0)
        floating = floating or sort in {"text", "blob", "rest", "late"}

    return rows


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.NAME)
def test_every_frame_is_documented_as_it_is(kind: type[Message]) -> None:
    """Number, fields, offsets and kinds on the page are those of the codec, with a meaning."""
    body = SECTIONS[f"{kind.NAME}` {kind.TYPE:#04x}"]
    rows = re.findall(r"^\| (\d+|…) \| ([^|]+) \| `(\w+)` \| (\S.*) \|$", body, re.M)
    assert table(kind) == [row[:3] for row in rows]


def test_no_other_frame_is_documented() -> None:
    """Each frame has one section, and each section a frame."""
    assert {f"{kind.NAME}` {kind.TYPE:#04x}" for kind in ALL} == set(SECTIONS)


def test_the_answer_table_is_the_codecs() -> None:
    """Which answer belongs to which request."""
    names = {kind.TYPE: kind.NAME for kind in ALL}
    rows = re.findall(r"^\| `([A-Z_]+)` \| `([A-Z_]+)` \|$", PAGE, re.M)
    assert {(names[kind], answer.NAME) for kind, answer in ANSWERS.items()} == set(rows)


def test_the_exchange_on_the_page_runs() -> None:
    """The hex is what both ends send, from the handshake to the answer of MEMRANGE_GET."""
    client, server = ClientProtocol(), ServerProtocol(Limits())
    assert example("hello") == client.hello("example")
    server.receive(example("hello"))
    assert example("welcome") == server.accept("memhub 0.1.0")
    client.receive(example("welcome"))

    asked: list[tuple[str, Message]] = [
        ("open", Open(0, 1, 0, "/dev/mem")),
        ("get", Ioctl(0, 1, LP64.get, LP64.op.pack(1, 2, 0), room=64)),
    ]
    for name, message in asked:
        assert example(name) == b"".join(client.send(message))
        assert [message] == server.receive(example(name))

    ranges = descs(
        [
            (0xA0000, 0x20000, MDF_UNCACHEABLE | MDF_ACTIVE | MDF_FIRMWARE, "BIOS"),
            (0xD0000000, 0x1000000, MDF_WRITECOMBINE | MDF_ACTIVE, "xorg"),
        ]
    )
    answers: list[tuple[str, Message]] = [
        ("get-answer", IoctlDone(2, LP64.op.pack(1, 2, 0), LP64.pack_table(ranges))),
        ("opened", Opened(1, 1, 1, 0, "amd64", "lab")),
    ]
    for name, message in answers:
        assert example(name) == b"".join(server.send(message))
        assert [message] == client.receive(example(name))


def test_the_error_on_the_page_is_an_error() -> None:
    """The ERROR example decodes to the exception that a caller sees."""
    message = Error.decode(example("busy"), HEADER_SIZE, len(example("busy")), 0, 3)
    error = error_from_wire(message)
    assert isinstance(error, RangeBusy)
    assert (str(error), error.obstacles[0].slot) == ("EBUSY: slot 1 is claimed by xorg", 1)
    assert example("busy") == message.encode()


def test_the_ioctl_numbers_on_the_page_are_right() -> None:
    """Both models' numbers stand in the table."""
    from memhub.abi import DATA_MODELS

    for model in DATA_MODELS:
        for number in (model.get, *model.set):
            assert f"{number:#x}" in PAGE
        assert f"{model.op.size} bytes" in PAGE
        assert f"{model.desc.size} bytes" in PAGE
