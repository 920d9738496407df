"""`docs/protocol.md` and the codec say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from memhub.abi import (
    LP64,
    MDF_ACTIVE,
    MDF_FIRMWARE,
    MDF_UNCACHEABLE,
    MDF_WRITECOMBINE,
    Errno,
    descs,
)
from memhub.errors import RangeBusy
from memhub.service.wire import (
    ClientProtocol,
    Decoder,
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
from memhub.service.wire.layout import HEADER_SIZE
from memhub.service.wire_page.files import files
from memhub.service.wire_page.tables import FRAMES, read_text, unit

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "protocol.md").read_text()


def example(name: str) -> bytes:
    """The bytes of one hex block, comments removed."""
    block = re.search(rf"^```hex {name}\n(.*?)^```", PAGE, re.M | re.S)
    assert block is not None
    return bytes.fromhex(re.sub(r";.*", "", block[1]))


def test_the_files_are_what_the_codec_makes_of_them() -> None:
    """Run `python -m memhub.service.wire_page docs` after a change to a message class."""
    for name, text in files().items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, name


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Within the page by GitHub's rule for anchors, and to files beside it."""
    heads = re.findall(r"^#+ (.+)$", PAGE, re.M)
    anchors = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
    links = re.findall(r"\]\(([^)]+)\)", PAGE)

    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    assert all(
        (DOCS / link.partition("#")[0]).exists() for link in links if not link.startswith("#")
    )
    assert len(links) > 100


def test_every_field_and_error_has_its_words() -> None:
    for kind in FRAMES:
        said = read_text(kind)
        assert said.summary
        assert all(said.meanings.values())
        assert set(said.errors) <= set(Errno.__members__)
        for field, sort in kind.KINDS.items():
            if sort in ("u32", "u64") and field not in NUMBERS:
                assert unit(field), f"{kind.NAME}.{field} has no unit"


#: Fields that count nothing and measure nothing.
NUMBERS = {
    "arg",
    "code",
    "command",
    "cookie",
    "features",
    "fence",
    "handle",
    "magic",
    "max_handles",
    "max_in_flight",
    "missed",
    "options",
    "queue",
    "rights",
    "sequence",
    "subscription",
    "value",
    "what",
    "whence",
}


def test_every_frame_has_a_vector_that_goes_both_ways() -> None:
    vectors = json.loads((DOCS / "protocol.vectors.json").read_text())
    assert {row["frame"] for row in vectors} == {kind.NAME for kind in FRAMES}
    kinds = {kind.NAME: kind for kind in FRAMES}
    for row in vectors:
        kind, raw = kinds[row["frame"]], bytes.fromhex(row["hex"])
        (message,) = Decoder([kind], 1 << 20).feed(raw)
        assert message.encode() == raw
        assert (message.TYPE, message.request) == (row["type"], row["request"])
        fields = {name: _value(row["fields"][name], sort) for name, sort in kind.KINDS.items()}
        assert {name: getattr(message, name) for name in kind.KINDS} == fields
        given = {k: v for k, v in fields.items() if k != "op_size"}
        assert kind(row["request"], **given).encode() == raw


def _value(value: Any, sort: str) -> Any:
    if sort in ("blob", "rest"):
        return bytes.fromhex(value)

    return int(value) if sort == "u64" else value


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
