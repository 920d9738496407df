"""Every face has the methods of the one statement, with its parameters."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from memhub.handles.blocking_device_file import DeviceFile, MappableFile
from memhub.handles.device_file import AsyncDeviceFile, AsyncMappableFile
from memhub.handles.handle import Handle
from memhub.service.blocking.handle import BlockingHandle
from memhub.service.client.handle import RemoteHandle
from memhub.service.local.handle import LocalHandle

#: Not part of the statement: how a block is left, and what only an event loop has.
ASYNC_ONLY = {"aclose"}


def stated(protocol: type) -> dict[str, Any]:
    """What a Protocol and those it extends state, by name."""
    found: dict[str, Any] = {}
    for owner in reversed(protocol.__mro__):
        if getattr(owner, "_is_protocol", False):
            found |= {name: it for name, it in vars(owner).items() if not name.startswith("_")}

    return found


def parameters(function: Any) -> list[tuple[str, Any, Any, Any]]:
    """Name, kind, default and annotation of each parameter."""
    return [
        (it.name, it.kind, it.default, it.annotation)
        for it in inspect.signature(function).parameters.values()
    ]


FACES = [
    (AsyncDeviceFile, Handle),
    (AsyncMappableFile, RemoteHandle),
    (MappableFile, BlockingHandle),
    (MappableFile, LocalHandle),
]


@pytest.mark.parametrize(("protocol", "face"), FACES, ids=lambda it: it.__name__)
def test_a_face_has_every_method_with_the_stated_parameters(protocol: type, face: type) -> None:
    for name, what in stated(protocol).items():
        own = getattr(face, name)
        assert isinstance(own, property) == isinstance(what, property), name
        if not isinstance(what, property):
            assert parameters(own) == parameters(what), name
            assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(what), name
            doc = inspect.getdoc(own)
            assert doc, name
            assert "Args:" not in doc, f"{face.__name__}.{name} repeats what the statement says"


@pytest.mark.parametrize(
    ("waiting", "blocking"),
    [(AsyncDeviceFile, DeviceFile), (AsyncMappableFile, MappableFile)],
    ids=lambda it: it.__name__,
)
def test_the_two_statements_are_twins(waiting: type, blocking: type) -> None:
    there, here = stated(waiting), stated(blocking)

    assert there.keys() - ASYNC_ONLY == here.keys()
    for name, what in here.items():
        if isinstance(what, property):
            assert isinstance(there[name], property), name
            continue

        assert parameters(there[name]) == parameters(what), name
        assert inspect.signature(there[name]).return_annotation == (
            inspect.signature(what).return_annotation
        ), name
        assert not inspect.iscoroutinefunction(what), name
        assert inspect.iscoroutinefunction(there[name]) or name == "close", name


def test_a_face_offers_nothing_more_than_is_said_here() -> None:
    """What a face has beside the statement is known, so that none grows on its own."""
    beside = {
        face.__name__: {name for name in dir(face) if not name.startswith("_")} - set(stated(it))
        for it, face in FACES
    }
    nowait = {f"{name}_nowait" for name in ("read", "pread", "write", "pwrite", "seek", "ioctl")}
    service = {"arch", "machine", "break_claims"}

    assert beside == {
        "Handle": {"process", *nowait},
        "RemoteHandle": service,
        "BlockingHandle": service,
        "LocalHandle": set(),
    }
