"""Time in async fixtures, under hypothesis, and without a hub, beside each async plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rig.inner_runs import NEITHER, run_inner

if TYPE_CHECKING:
    from collections.abc import Sequence

ASYNCIO = ("-p", "no:trio", "-o", "asyncio_default_fixture_loop_scope=function")
TRIO = ("-p", "no:asyncio")

PLUGINS = pytest.mark.parametrize(
    ("mark", "fixture", "options", "loops"),
    [
        ("pytest.mark.anyio", "pytest.fixture", NEITHER, 2),
        ("pytest.mark.asyncio", "pytest_asyncio.fixture", ASYNCIO, 1),
        ("pytest.mark.trio", "pytest.fixture", TRIO, 1),
    ],
    ids=["anyio", "asyncio", "trio"],
)

FIXTURES = """
import anyio, contextlib, pytest
IMPORT

@FIXTURE
async def taken(memhub_client):
    async with memhub_client("one") as one, memhub_client("two") as two:
        await (await one.open()).claim(0xD0000000, 0x1000, lease=5)
        mem = await two.open()
        with anyio.fail_after(20):
            claim = await mem.claim(0xD0000000, 0x1000, wait=60)

        yield claim
        with anyio.fail_after(20):
            await (await one.open()).wait_free(0xD0010000, 0x1000, wait=60)

@FIXTURE
async def scope(memhub_hub, memhub_clock):
    async with SCOPE as tasks:
        await memhub_clock.sleep(3)
        yield tasks

class TestOfAClass:
    base = 0xD0100000

    @FIXTURE
    async def moment(self, memhub_clock, memhub_hub):
        assert self.base == 0xD0100000 and self.here
        await memhub_clock.sleep(2)
        return memhub_clock.mono_ns()

    @pytest.fixture(autouse=True)
    def here(self):
        self.here = True

    @MARK
    async def test_waits(self, moment, memhub_clock):
        assert self.here and moment == 2 * 10**9
        await memhub_clock.sleep(2)
        assert memhub_clock.mono_ns() == 4 * 10**9

@MARK
async def test_fixtures(taken, scope, memhub_client, memhub_clock):
    assert taken.fence == 2
    async with memhub_client("three") as three:
        await (await three.open()).claim(0xD0010000, 0x1000, lease=30)
        await memhub_clock.sleep(1)
"""

HYPOTHESIS = """
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

SHARED = [HealthCheck.function_scoped_fixture]

@MARK
@settings(max_examples=5, deadline=None, suppress_health_check=SHARED)
@given(pause=st.integers(1, 5))
async def test_it(memhub_client, memhub_clock, pause):
    before = memhub_clock.mono_ns()
    async with memhub_client("one") as one, memhub_client("two") as two:
        await (await one.open()).claim(0xD0000000, 0x1000, lease=pause)
        await (await two.open()).claim(0xD0000000, 0x1000, wait=60)

    assert memhub_clock.mono_ns() - before == pause * 10**9

@pytest.mark.memhub(over="service")
@MARK
@settings(max_examples=2, deadline=None, suppress_health_check=SHARED)
@given(pause=st.integers(1, 5))
async def test_service(memhub_client, pause):
    async with memhub_client("one") as one:
        await (await one.open()).ranges()
"""

NO_HUB = """
import anyio, pytest
from memhub import Hub, machines

@MARK
async def test_nothing(memhub_clock):
    with anyio.fail_after(20):
        await memhub_clock.sleep(3600)

    assert memhub_clock.mono_ns() == 3600 * 10**9

@MARK
async def test_own_hub(memhub_clock):
    async with Hub([machines.pc()], clock=memhub_clock) as hub, hub.process("own") as own:
        mem = await own.open("/dev/mem", "r+")
        await mem.claim(0xD0000000, 0x1000, lease=5)
        await memhub_clock.sleep(6)
        assert not hub.claims()

@pytest.mark.memhub(over="each")
@MARK
async def test_service(memhub_client, memhub_log, memhub_clock):
    async with memhub_client("one") as one:
        await (await one.open()).claim(0xD0000000, 0x1000, lease=0.02)
        with memhub_clock.fail_after(20):
            await memhub_clock.sleep(0.05)

        memhub_log.expect("claim.expire", within=10)
        memhub_log.expect_none("request.close")

def test_blocking(memhub_service, memhub_client, memhub_log, memhub_clock):
    memhub_client("one").open().claim(0xD0000000, 0x1000, lease=0.02)
    memhub_clock.advance(0.05)
    memhub_log.expect("claim.expire", within=10)
"""


def check(
    pytester: pytest.Pytester,
    text: str,
    mark: str,
    fixture: str,
    options: Sequence[str],
    count: int,
) -> None:
    # pytest-asyncio runs the two halves of a fixture in two tasks, which no scope can span.
    scope = "contextlib.nullcontext()" if "asyncio" in mark else "anyio.create_task_group()"
    text = text.replace("SCOPE", scope).replace("@MARK", f"@{mark}").replace("FIXTURE", fixture)
    pytester.makepyfile(
        text.replace("IMPORT", "import pytest_asyncio" if "pytest_asyncio" in fixture else "")
    )
    run_inner(pytester, "--timeout", "60", *options).assert_outcomes(passed=count)


@PLUGINS
def test_time_goes_on_in_async_fixtures(
    pytester: pytest.Pytester, mark: str, fixture: str, options: Sequence[str], loops: int
) -> None:
    check(pytester, FIXTURES, mark, fixture, options, 2 * loops)


@PLUGINS
def test_async_tests_under_hypothesis_await(
    pytester: pytest.Pytester, mark: str, fixture: str, options: Sequence[str], loops: int
) -> None:
    check(pytester, HYPOTHESIS, mark, fixture, options, 2 * loops)


@PLUGINS
def test_the_clock_goes_on_without_a_hub(
    pytester: pytest.Pytester, mark: str, fixture: str, options: Sequence[str], loops: int
) -> None:
    check(pytester, NO_HUB, mark, fixture, options, 4 * loops + 1)
