"""Messages of every kind, for the tests of the protocol."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from memhub.service.wire import (
    Data,
    Hello,
    Ioctl,
    IoctlDone,
    Mapped,
    Message,
    Pwrite,
    SetDone,
    Write,
    map_table,
)
from memhub.service.wire.decoder import FROM_CLIENT, FROM_SERVER
from memhub.service.wire.greeting import MAGIC

ALL: tuple[type[Message], ...] = tuple(dict.fromkeys(FROM_CLIENT + FROM_SERVER))

u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
u64 = st.integers(0, 0xFFFFFFFFFFFFFFFF)
ids = st.integers(1, 0xFFFFFFFF)
few = st.integers(0, 3)
raw = st.binary(max_size=40)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
models = st.integers(0, 2)

KINDS = {"u16": u16, "u32": u32, "u64": u64, "text": words, "blob": raw, "rest": raw}

#: Fields whose values are narrower than their kind.
NARROW = {
    "model": models,
    "reserved": st.just(0),
    "magic": st.just(MAGIC),
    "OPEN.flags": st.integers(0, 7),
    "OPENED.model": st.integers(1, 2),
    "SEEK.whence": st.integers(0, 4),
    "FLUSH.what": st.integers(0, 2),
    "MAP.rights": st.integers(1, 3),
    "SHOW.what": st.sampled_from(["list", "bytes"]),
    "SNAPSHOT.what": st.sampled_from(["take", "put", "restore", "reset"]),
    "FAULTS.what": st.sampled_from(["list", "add", "remove"]),
    "SUBSCRIBE.options": st.none() | st.integers(0, 1),
    "WELCOME.max_body": st.integers(4096, 1 << 30),
    "WELCOME.max_in_flight": st.integers(1, 1 << 20),
}

rows = st.tuples(
    st.integers(0, 1 << 52),
    st.integers(0, 1 << 40),
    u64,
    st.sampled_from(["ram", "rom", "acpi", "nvs", "open", "device"]),
)


def _generic(kind: type[Message]) -> st.SearchStrategy[Message]:
    fields: dict[str, Any] = {
        name: NARROW.get(f"{kind.NAME}.{name}", NARROW.get(name, KINDS.get(sort)))
        for name, sort in kind.KINDS.items()
    }
    request = st.just(0) if kind.TYPE < 0x10 else ids

    return st.builds(kind, request=request, **fields)


def _hello(request: int, low: int, more: int, rest: tuple[int, int, str, bytes]) -> Message:
    model, features, label, token = rest

    return Hello(request, MAGIC, low, low + more, model, 0, features, label, token)


_SPECIAL: dict[type[Message], st.SearchStrategy[Message]] = {
    Hello: st.builds(
        _hello,
        st.just(0),
        st.integers(1, 100),
        st.integers(0, 100),
        st.tuples(models, u32, words, raw),
    ),
    Ioctl: st.builds(Ioctl, ids, u32, u32, raw, raw, u32, u32, u64),
    IoctlDone: st.builds(IoctlDone, ids, raw, raw),
    Data: st.builds(Data, ids, st.booleans(), raw),
    Write: st.builds(lambda i, h, d, n: Write(i, h, len(d) + n, d), ids, u32, raw, u32),
    Pwrite: st.builds(
        lambda i, h, o, d, n: Pwrite(i, h, o, len(d) + n, d), ids, u32, u64, raw, u32
    ),
    Mapped: st.builds(
        lambda i, r, t: Mapped(i, r, map_table(t)), ids, u32, st.lists(rows, max_size=4)
    ),
    SetDone: st.builds(
        lambda i, f, s, c, r, m: SetDone(i, f, s, c, r, m, bytes(68 * s + 4 * (c + r) + 20 * m)),
        ids,
        u64,
        few,
        few,
        few,
        few,
    ),
}


def of(kind: type[Message]) -> st.SearchStrategy[Message]:
    """Valid messages of one kind."""
    return _SPECIAL[kind] if kind in _SPECIAL else _generic(kind)


any_message = st.sampled_from(ALL).flatmap(of)
from_client = st.sampled_from(FROM_CLIENT).flatmap(of)
from_server = st.sampled_from(FROM_SERVER).flatmap(of)
