"""What every test shares: the two event loops, and how long hypothesis looks."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# By default a property test looks at the same examples in every run. MEMHUB_CAMPAIGN=N looks at
# N random ones instead and prints how to repeat a failure. A busy machine is no failure.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
_CAMPAIGN = int(os.environ.get("MEMHUB_CAMPAIGN", "0"))

settings.register_profile("memhub", _PATIENT, max_examples=50, derandomize=True)
settings.register_profile(
    "campaign", _PATIENT, max_examples=_CAMPAIGN or 2000, derandomize=False, print_blob=True
)
settings.load_profile("campaign" if _CAMPAIGN else "memhub")

# Where bytecode is not kept, each of the hundreds of processes that the tests start compiles memhub
# anew, which takes a third of its time, and each worker of pytest-xdist compiles all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell's job in the background ignores SIGINT, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# The million objects that tests are found as all stay; to look for garbage among them meanwhile
# takes a quarter of the time.
gc.disable()


@pytest.hookimpl(trylast=True)  # once it is known which tests run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the campaigns that take or wait for minutes, so that none is alone at the end.

    A worker of pytest-xdist begins with one stretch of the list, so each stretch begins with some.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [
        it for it in items if it.get_closest_marker("campaign") and it.get_closest_marker("timeout")
    ]
    known = set(long)
    others = deque(it for it in items if it not in known)
    left = len(items)
    items.clear()
    for number in range(workers):
        stretch = long[number::workers]
        size = left // (workers - number)
        while others and len(stretch) < size:
            stretch.append(others.popleft())

        left -= len(stretch)
        items += stretch

    items += others


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what finding tests has made out of every later collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Collect garbage again: in workers, and in what starts them, which finds no tests itself."""
    gc.enable()


@pytest.fixture(
    scope="module",
    params=[pytest.param(("asyncio", {}), id="asyncio"), pytest.param(("trio", {}), id="trio")],
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Every async test runs on asyncio and on trio."""
    return request.param


@pytest.fixture(scope="session", autouse=True)
def wide() -> Iterator[None]:
    """Messages on one line, whatever the paths in them; tests/cli/test_width.py folds them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "1000")
        yield
