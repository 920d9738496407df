"""Tables of the page: frames with their fields, features, errors, flags."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from memhub import abi_layout
from memhub import errors as error_classes
from memhub.abi import FLAG_WORDS, Errno
from memhub.service.settings import TcpConfig
from memhub.service.wire import greeting, replies
from memhub.service.wire.decoder import ANSWERS, FROM_CLIENT, FROM_SERVER
from memhub.service.wire.layout import HEADER_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from memhub.service.wire import Message

#: Every frame, by its number.
FRAMES: Final = tuple(sorted({*FROM_CLIENT, *FROM_SERVER}, key=lambda it: it.TYPE))

_MEMBERS: Final = re.compile(r"^    (\w+): (.*(?:\n        .*)*)", re.MULTILINE)
_FOLDS: Final = re.compile(r"(?<!\n)\n(?!\n)")
_ERRNOS: Final = re.compile(r"E[A-Z]+")

SIZES: Final = {"u16": 2, "u32": 4, "u64": 8}

#: What a field means where its class does not say otherwise.
_MEANINGS: Final = {
    "handle": "from OPENED",
    "base": "first byte of the range",
    "length": "bytes of the range",
    "fence": "the claim's fencing number",
    "lease_ms": "lease; 0 is until released",
    "wait_ms": "how long to wait; 0 is not at all, 0xffffffff without limit",
    "subscription": "the number that SUBSCRIBE returned",
    "address": "physical on `/dev/mem`, kernel virtual on `/dev/kmem`",
    "cookie": "any number",
}

#: Units of the fields whose names do not end in one.
UNITS: Final = {
    "address": "address",
    "base": "address",
    "count": "bytes",
    "length": "bytes",
    "max_body": "bytes",
    "moved": "bytes",
    "offset": "bytes",
    "op_size": "bytes",
    "room": "bytes",
    "total": "bytes",
}

_FEATURES: Final[Mapping[str, str]] = {
    "MAP": "[`MAP`](#map-0x2c) is possible; on Unix sockets only",
    "MAP_ROM": "so is MAP with `rights` 4; on Unix sockets only",
    "STRINGS": "[64-bit numbers in JSON bodies](#json-bodies) are strings",
    "SET": "the frames [`SET`](#set-0x19) and [`SET_DONE`](#set_done-0x85)",
    "FAULTS": "the frame [`FAULTS`](#faults-0x2e)",
    "SNAPSHOTS": "the frame [`SNAPSHOT`](#snapshot-0x30)",
    "DEVICES": "the frame [`SHOW`](#show-0x31)",
    "KERNELS": "the frame [`CALL`](#call-0x32)",
    "CACHES": "the frame [`FLUSH`](#flush-0x2f)",
    "REFUSALS": "the field `options` of [`SUBSCRIBE`](#subscribe-0x28)",
}

#: Errors without a class of their own, or for which the class says too little.
_ERRNO_WORDS: Final[Mapping[str, str]] = {
    "EAGAIN": "the machine is suspended; in REFUSED: too many clients are connected",
    "EBADF": "a handle is closed, or was not opened for the READ or WRITE that is asked of it",
    "EBUSY": "another process's claim or lease, or a commit on its way, forbids the change: wait, "
    "or try again; or the request relies on a claim that its own process has lost, where waiting "
    "cannot help (`StaleClaim`)",
    "EIO": "the audit log cannot take the record, and only a CLOSE changed something; or a range "
    "driver or a device failed; or the machine's kernel has panicked, as NetBSD does of a range "
    "that its CPU cannot hold: it answers no CALL any more",
    "ENODEV": "the machine has no range driver, and its architecture says so with this errno; "
    "memhub's own say EOPNOTSUPP",
    "ENOENT": "a path names no device or machine of the hub; REMOVE names a range that no slot "
    "holds; there is no such claim, subscription or fault rule",
    "ENOMEM": "the host has no memory or no descriptor left",
    "ENOSPC": "no slot is free, or a limit of the service is reached, such as too many handles",
    "ENOSYS": "Linux on a CPU without write-combining ranges",
    "ESPIPE": "a PWRITE to `/proc/mtrr`",
    "ENOTTY": "an ioctl number is none of the file's; SEEK to data or a hole",
    "EACCES": "a slot of unknown type, without MDF_FORCE; in REFUSED: the client may not connect",
    "EPROTO": "never on the wire: what a client makes of a malformed answer",
    "EPERM": "a right is missing, the securelevel is raised, a slot is fixed, or a MAP asks for "
    "more than its handle was opened for",
    "ECANCELED": "the request was cancelled, or the service stops",
    "EOPNOTSUPP": "no such operation here, such as a range ioctl on arm64; in REFUSED: no common "
    "version",
    "ETIMEDOUT": "a bounded wait reached its limit; with `wait_ms` 0 it is EBUSY",
}

#: Kinds of an errno beside the classes whose own it is.
_MORE_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "ENODEV": ("NotSupported",),
    "ENOTTY": ("NotSupported",),
    "EIO": ("DeviceError",),
}
#: Kinds that no client sees: its connection is closed in place of an answer.
_UNSEEN: Final = frozenset({error_classes.DeviceError, error_classes.ConnectionCut})

#: The words with which the text of ABORT begins.
ABORTS: Final[Mapping[str, str]] = {
    "unknown-frame": "a type that does not exist, that this side does not send, or whose feature "
    "was not granted",
    "too-long": "a body above `max_body`",
    "malformed": "a body or flags that break the layout, a value that is not defined, or an answer "
    "that its request does not have",
    "bad-request-id": "id 0 where one is needed or another where none is; of a request, an id in "
    "flight; of an answer, one that is not",
    "out-of-order": "a frame before the handshake or after the end, a second HELLO or GOODBYE, or "
    "a request after GOODBYE",
    "too-many": "more requests in flight than `max_in_flight`",
    "bad-stream": "DATA that nothing expects, or that breaks the rules of its stream",
}

_MAP_KINDS: Final = {
    "ram": "RAM",
    "rom": "ROM",
    "acpi": "ACPI tables",
    "nvs": "memory that ACPI keeps",
    "open": "open bus",
    "device": "memory of a device, in the file with the RAM; a device model, in the other",
}


@dataclass(frozen=True, slots=True)
class FrameText:
    """What a message class says of itself.

    Attributes:
        summary: what the frame is for.
        meanings: of each field.
        errors: names of the errors beside those of every request.
    """

    summary: str
    meanings: Mapping[str, str]
    errors: tuple[str, ...]


def read_text(kind: type[Message]) -> FrameText:
    """Read the docstring of a message class."""
    text, _, errors = (inspect.getdoc(kind) or "").partition("\n\nErrors: ")
    summary, _, listed = text.partition("\n\nAttributes:\n")
    said = _list_members(listed)

    return FrameText(
        _FOLDS.sub(" ", summary),
        {name: said.get(name) or _MEANINGS[name] for name in kind.KINDS},
        tuple(_ERRNOS.findall(errors)),
    )


def _list_members(listed: str) -> dict[str, str]:
    """The `Attributes` of a docstring."""
    return {
        name: " ".join(text.split()).removesuffix(".") for name, text in _MEMBERS.findall(listed)
    }


def unit(field: str) -> str:
    """The unit of a field, or nothing."""
    return "ms" if field.endswith("_ms") else UNITS.get(field, "")


def rows(kind: type[Message]) -> Iterator[tuple[str, str, str]]:
    """Offset, kind and name of each field."""
    at, floating = HEADER_SIZE, False
    for field, sort in kind.KINDS.items():
        if sort == "bool":
            yield "6", "flags, bit 0", field
            continue

        yield "…" if floating else str(at), sort, field
        at += SIZES.get(sort, 0)
        floating = sort not in SIZES


def direction(kind: type[Message]) -> str:
    """Who sends a frame."""
    if kind in FROM_CLIENT:
        return "either side" if kind in FROM_SERVER else "the client"

    return "the server"


def anchor(kind: type[Message]) -> str:
    """The link to a frame's section."""
    return f"[`{kind.NAME}`](#{kind.NAME.lower()}-{kind.TYPE:#04x})"


def feature_names() -> dict[int, str]:
    """The features by their bits."""
    names = {name: getattr(greeting, f"FEATURE_{name}") for name in _FEATURES}

    return {bit: name for name, bit in names.items()}


def table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = tuple(head)
    found = [head, ("---",) * len(head), *lines]

    return "\n".join(f"| {' | '.join(line)} |" for line in found)


def sections(low: int, high: int) -> str:
    """The sections of all frames whose numbers are in a span."""
    return "\n\n".join(_make_section(kind) for kind in FRAMES if low <= kind.TYPE < high)


def _make_section(kind: type[Message]) -> str:
    said = read_text(kind)
    since = f"the feature {feature_names()[kind.FEATURE]}" if kind.FEATURE else "version 1"
    parts = [
        f"### `{kind.NAME}` {kind.TYPE:#04x}",
        said.summary,
        f"From {direction(kind)}, since {since}.",
        _list_fields(kind, said) if kind.KINDS else "No body.",
    ]
    if kind.TYPE in ANSWERS:
        own = ", ".join(said.errors) or "none"
        parts.append(f"Errors, beside those of [every request](#errors): {own}.")

    return "\n\n".join(parts)


def _list_fields(kind: type[Message], said: FrameText) -> str:
    return table(
        ("offset", "kind", "field", "unit", "meaning"),
        (
            (at, sort, f"`{field}`", unit(field), said.meanings[field])
            for at, sort, field in rows(kind)
        ),
    )


def contents() -> str:
    """Links to the frames."""
    return ", ".join(anchor(kind) for kind in FRAMES)


def answers() -> str:
    """Which frame answers which request."""
    by_type = {kind.TYPE: kind for kind in FRAMES}
    lines = ((anchor(by_type[asked]), anchor(answer)) for asked, answer in ANSWERS.items())

    return table(("request", "answer"), lines)


def features() -> str:
    """The features of HELLO and WELCOME."""
    lines = (
        (str(bit.bit_length() - 1), f"{bit:#x}", name, _FEATURES[name])
        for bit, name in sorted(feature_names().items())
    )

    return table(("bit", "value", "name", "what it adds"), lines)


def errors() -> str:
    """The errors with FreeBSD's numbers."""
    leaves = [
        it
        for it in vars(error_classes).values()
        if isinstance(it, type) and issubclass(it, error_classes.DeviceError)
    ]
    lines = []
    for code in Errno:
        own = [it for it in leaves if it.default is code and it not in _UNSEEN]
        words = "; ".join(
            " ".join((inspect.getdoc(it) or "").split()).split(". ")[0].rstrip(".") for it in own
        )
        words = _ERRNO_WORDS.get(code.name) or words.replace("Raised when ", "")
        names = [it.__name__ for it in own] + [*_MORE_KINDS.get(code.name, ())]
        kinds = ", ".join(f"`{it}`" for it in names or ["DeviceError"])
        lines.append((str(code.value), f"`{code.name}`", kinds, words))

    return table(("code", "name", "kind", "when"), lines)


def aborts() -> str:
    """The words of ABORT."""
    return table(("word", "rule that was broken"), ((f"`{k}`", v) for k, v in ABORTS.items()))


def flags() -> str:
    """The bits of `mr_flags`."""
    words = dict(FLAG_WORDS + abi_layout.EXTRA_FLAG_WORDS)
    names = {
        value: name
        for name, value in vars(abi_layout).items()
        if name.startswith("MDF_") and value in words
    }
    lines = ((f"{bit:#010x}", f"`{names[bit]}`", words[bit]) for bit in sorted(names))

    return table(("bit", "name", "memcontrol(8)'s word"), lines)


def map_kinds() -> str:
    """The kinds of rows in MAPPED."""
    lines = ((str(n), _MAP_KINDS[name]) for n, name in enumerate(replies.MAP_KINDS))

    return table(("kind", "what lies there"), lines)


def tcp_keys() -> str:
    """The keys of the service's TCP listener."""
    listed = (inspect.getdoc(TcpConfig) or "").partition("Attributes:\n")[2]
    said = _list_members(listed)
    lines = (
        (f"`{it.name}`", "" if it.name == "port" else f"`{it.default}`", said[it.name])
        for it in fields(TcpConfig)
    )

    return table(("key", "default", "meaning"), lines)
