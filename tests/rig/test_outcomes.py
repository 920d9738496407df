"""How an awaiting test ends by itself reaches pytest bare: failed, skipped, expected to fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rig.inner_runs import NEITHER, run_inner

if TYPE_CHECKING:
    from collections.abc import Sequence

ENDS = """
import pytest

pytestmark = pytest.mark.MARK

async def test_xfails(memhub_hub):
    pytest.xfail("no reason")

async def test_skips(memhub_client):
    pytest.skip("no need")

async def test_does_not_raise(memhub_hub):
    with pytest.raises(OSError):
        pass

async def test_fails(memhub_client):
    async with memhub_client("X"):
        pytest.fail("my message")
"""
ASYNCIO = ("-p", "no:trio", "-o", "asyncio_default_fixture_loop_scope=function")


@pytest.mark.parametrize(
    ("mark", "options", "each"),
    [
        ("anyio", NEITHER, 2),
        ("asyncio", ASYNCIO, 1),
        ("trio", ("-p", "no:asyncio"), 1),
    ],
    ids=["anyio", "asyncio", "trio"],
)
def test_outcomes_are_not_wrapped_in_a_group(
    pytester: pytest.Pytester, mark: str, options: Sequence[str], each: int
) -> None:
    pytester.makepyfile(ENDS.replace("MARK", mark))
    result = run_inner(pytester, *options)

    result.assert_outcomes(failed=2 * each, skipped=each, xfailed=each)
    result.stdout.no_fnmatch_line("*Task exception was never retrieved*")
    result.stdout.fnmatch_lines(["*Failed: DID NOT RAISE*OSError*"])
    if mark != "trio":  # pytest-trio has a nursery of its own around each test
        result.stdout.no_fnmatch_line("*ExceptionGroup*")
        result.stdout.fnmatch_lines(['>*pytest.fail("my message")'])
