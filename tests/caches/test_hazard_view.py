"""Hazards in tests: expected and forbidden, over a hub and a service, and shown where one fails."""

from __future__ import annotations

import pytest

from caches.cache_rig import pc
from memhub import Hub
from memhub.rig.hazard_view import HazardView
from rig.inner_runs import NEITHER, run_inner

pytestmark = pytest.mark.anyio

AT = 0x200000


async def test_hazards_are_expected_and_forbidden() -> None:
    async with Hub([pc()]) as hub, await hub.open("/dev/mem", "r+") as mem:
        view = HazardView(hub.hazards)
        view.expect_none()
        await mem.pwrite(b"dirty", AT)
        hub.bus().read(AT, 5)
        hub.bus().read(AT, 5)
        found = view.expect("stale-bus-read", times=1, address=AT, length=lambda it: it > 4)
        assert (found.times, len(view)) == (2, 1)
        view.expect_none("undrained-read")
        with pytest.raises(AssertionError, match="expected no hazard; all hazards:\n  error stale"):
            view.expect_none()

        with pytest.raises(
            AssertionError, match="a hazard undrained-read; there are none"
        ) as failed:
            view.expect("undrained-read")

        assert "coherent" not in str(failed.value)
        with pytest.raises(
            AssertionError, match=r"2 hazards stale.*; there are 1, met 2 times; all"
        ):
            view.expect("stale-bus-read", times=2)

        with pytest.raises(ValueError, match="did you mean 'stale-bus-read'"):
            view.expect("stale-bus-reed")

        with pytest.raises(ValueError, match="did you mean 'address'"):
            view.find(adress=1)

        with pytest.raises(ValueError, match="no level 'fatal': a hazard is error or warning"):
            view.expect_none(level="fatal")

        view.expect_none(level="warning")


async def test_a_coherent_machine_says_why_it_has_none() -> None:
    specs = [pc(name="plain", coherent=True), pc()]
    async with Hub(specs) as hub:
        view = HazardView(hub.hazards, specs)
        for machine in (None, "plain"):
            with pytest.raises(AssertionError, match="memory of machine 'plain' is coherent"):
                view.expect("stale-bus-read", machine=machine)

        with pytest.raises(AssertionError, match=r"all hazards:\n  none$"):
            view.expect("stale-bus-read", machine="pc")


@pytest.mark.parametrize("over", ["hub", "service"])
def test_a_test_that_forgot_coherent_false_is_told(pytester: pytest.Pytester, over: str) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        pytestmark = pytest.mark.memhub(over={over!r})

        def test_it(memhub_client, memhub_hazards):
            memhub_hazards.expect("stale-bus-read")
        """
    )
    lines = run_inner(pytester, *NEITHER).stdout
    lines.fnmatch_lines(["*none", "*is coherent, and has no hazards: MachineSpec(coherent=False)*"])


def test_a_test_that_fails_shows_them(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from memhub import MachineSpec

        @pytest.fixture
        def memhub_machine():
            return MachineSpec(name="pc", arch="amd64", coherent=False, bus="blind")

        def test_it(memhub_client, memhub_hub):
            mem = memhub_client("driver").open("/dev/mem", "r+")
            mem.pwrite(b"dirty", 0x200000)
            assert memhub_hub.bus().read(0x200000, 5) == b"dirty"
        """
    )
    lines = run_inner(pytester, *NEITHER).stdout
    lines.fnmatch_lines(
        ["*not coherent, blind bus; hazards:", "*error stale-bus-read at 0x200000*"]
    )


def test_hazards_of_a_service_are_those_that_it_has(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from memhub import MachineSpec

        pytestmark = pytest.mark.memhub(over="service")

        @pytest.fixture
        def memhub_machine():
            return MachineSpec(name="pc", arch="amd64", coherent=False, bus="blind")

        @pytest.fixture
        def combined(memhub_client):
            mem = memhub_client("driver").open("/dev/mem", "r+")
            mem.set_range(0x200000, 0x10000, "write-combine")
            mem.pwrite(b"x", 0x200000)

        def test_they_are_expected(combined, memhub_hazards):
            memhub_hazards.expect("undrained-buffers", machine="pc", process="driver")

        def test_they_are_forbidden(combined, memhub_hazards):
            memhub_hazards.expect_none()

        def test_they_are_shown(combined, memhub_service):
            assert 0
        """
    )
    result = run_inner(pytester, *NEITHER)
    result.assert_outcomes(passed=1, failed=2)
    assert str(result.stdout).count("blind bus; hazards:\n    warning undrained-buffers") == 2
    assert "expected no hazard; all hazards:\nE " in str(result.stdout)


async def test_the_name_of_a_process_does_not_steer_the_terminal() -> None:
    async with Hub([pc()]) as hub, hub.process("\x1b[2Jevil\n") as process:
        mem = await process.open("/dev/mem", "r+")
        await mem.pwrite(b"dirty", AT)
        hub.bus().read(AT, 5)
        (hazard,) = hub.hazards()
        assert r"\x1b[2Jevil\x0a" in str(hazard) or r"\x1b[2Jevil\n" in str(hazard)
        assert str(hazard).isprintable()
