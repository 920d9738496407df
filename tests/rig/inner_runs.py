"""Runs of pytest inside a test of the plugin."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from memhub import Hub, load_arches, machines

if TYPE_CHECKING:
    import pytest

# An inner run forgets the modules that it has imported, and some can be imported only once.
for name in ("memhub.rig.service_process", "memhub.rig.showing", "pytest_asyncio", "pytest_trio"):
    import_module(name)

for arch in load_arches():
    Hub([machines.pc(arch=arch)])

#: Options of a run with no other async plugin than anyio's.
NEITHER = ("-p", "no:asyncio", "-p", "no:trio")


def run_inner(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Run pytest on what `pytester` has written, in this process."""
    return pytester.runpytest_inprocess("-p", "no:xdist", "-p", "no:cacheprovider", *options)
