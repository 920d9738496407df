"""Which tests and fixtures await, under every plugin that runs them, and their time."""

from __future__ import annotations

import inspect
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any

import pytest

from memhub.rig.pauses import ClockPauses, NoPauses, RealPauses
from memhub.rig.time_beside import TimeBeside, keep_time_beside, keep_time_inside
from memhub.service.local.passing_time import PassingTime

if TYPE_CHECKING:
    from memhub.hub.hub import Hub
    from memhub.rig.pauses import Pauses
    from memhub.rig.time_beside import Function

#: What keeps time beside a test.
_TIME = pytest.StashKey[TimeBeside]()


def awaits(request: pytest.FixtureRequest) -> bool:
    """Whether the test of a fixture is async."""
    return inspect.iscoroutinefunction(_find_test(request.node)[2])


def _find_test(item: Any) -> tuple[object, str, Any]:  # noqa: ANN401 - any kind of item
    """Where the function of a test stands, an object and an attribute's name, and the function."""
    holder, name = item, "obj"
    if hasattr(getattr(item, "obj", None), "hypothesis"):
        holder, name = item.obj.hypothesis, "inner_test"

    found = getattr(holder, name, None)

    return holder, name, getattr(found, "_anyio_original_func", found)


def has_async_fixture(request: pytest.FixtureRequest) -> bool:
    """Whether a fixture of the test is async."""
    info = getattr(request.node, "_fixtureinfo", None)
    found = [it[-1].func for it in info.name2fixturedefs.values()] if info is not None else []

    return any(map(_is_async_fixture, found))


def _is_async_fixture(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def time_beside(request: pytest.FixtureRequest) -> TimeBeside:
    """What keeps time beside a test; an async one is wrapped, once, until it has ended."""
    item = request.node
    beside: TimeBeside | None = item.stash.get(_TIME, None)
    if beside is None:
        beside = item.stash[_TIME] = TimeBeside()
        holder, name, test = _find_test(item)
        if inspect.iscoroutinefunction(test):
            # Tests of several cases share what hypothesis has made of their function.
            request.addfinalizer(partial(setattr, holder, name, test))
            setattr(holder, name, keep_time_inside(beside, test))

    return beside


def keep_time_in_fixture(request: pytest.FixtureRequest, fixture: Function) -> Function:
    """An async fixture with time kept while it is set up and torn down."""
    instance = request.instance
    if inspect.ismethod(fixture) and type(fixture.__self__) is type(instance):
        fixture = fixture.__func__.__get__(instance)

    return keep_time_beside(partial(request.node.stash.get, _TIME, None), fixture)


def find_pauses(request: pytest.FixtureRequest, hub: Hub) -> Pauses:
    """What an assertion on the log of an embedded hub waits with."""
    clock = hub.engine.clock
    if awaits(request):
        return NoPauses()

    advance = getattr(clock, "advance", None)
    if advance is None:
        return RealPauses()

    return ClockPauses(PassingTime(hub.engine, RLock(), advance))
