"""Runs of pytest inside a test of the plugin."""

from __future__ import annotations

import atexit
from contextlib import nullcontext
from functools import cache
from importlib import import_module

import pytest

from memhub import Hub, load_arches, machines
from memhub.rig import service_process
from memhub.rig.service_process import ServiceStarter

# An inner run forgets the modules that it has imported, and some can be imported only once.
for name in ("memhub.rig.showing", "pytest_asyncio", "pytest_trio"):
    import_module(name)

for arch in load_arches():
    Hub([machines.pc(arch=arch)])

#: Options of a run with no other async plugin than anyio's.
NEITHER = ("-p", "no:asyncio", "-p", "no:trio")


def run_inner(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run pytest on what `pytester` has written, in this process.

    Services of all inner runs are forked by one process; tests/rig/test_fixtures.py starts it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service_process, "ServiceStarter", lambda: nullcontext(_shared_starter()))

        return pytester.runpytest_inprocess("-p", "no:xdist", "-p", "no:cacheprovider", *options)


@cache
def _shared_starter() -> ServiceStarter:
    starter = ServiceStarter()
    atexit.register(starter.__exit__)

    return starter
