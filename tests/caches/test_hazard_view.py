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
            AssertionError, match=r"2 hazards stale.*; there is 1, met 2 times; all"
        ):
            view.expect("stale-bus-read", times=2)

        with pytest.raises(ValueError, match="did you mean 'stale-bus-read'"):
            view.expect("stale-bus-reed")

        with pytest.raises(ValueError, match="did you mean 'address'"):
            view.find(adress=1)

        with pytest.raises(ValueError, match="no level 'fatal': a hazard is error or warning"):
            view.expect_none(level="fatal")

        view.expect_none(level="warning")


async def test_what_was_wanted_and_which_field_differed_is_said() -> None:
    async with Hub([pc()]) as hub, hub.process("driver") as process:
        mem = await process.open("/dev/mem", "r+")
        await mem.pwrite(b"dirty", AT)
        hub.bus().read(AT, 5)
        view = HazardView(hub.hazards)
        with pytest.raises(AssertionError) as failed:
            view.expect("stale-bus-read", process="driver", address=AT, slot=1, length=4)

        wanted, nearest, slot, length, shown, *_ = str(failed.value).splitlines()
        assert wanted == (
            "expected a hazard stale-bus-read with process 'driver', address 0x200000, slot 1, "
            "length 0x4; there are none"
        )
        assert nearest.startswith("nearest: error stale-bus-read at 0x200000/0x5 of driver (WB")
        assert (slot, length, shown) == ("  slot is None", "  length is 0x5", "all hazards:")
        with pytest.raises(
            AssertionError, match=r"with slot of <lambda>; there(.|\n)*slot is None"
        ):
            view.expect("stale-bus-read", slot=lambda it: it > 0)

        with pytest.raises(AssertionError, match="expected no hazard with length 0x5; all"):
            view.expect_none(length=5)

        for times in (0, -1):
            with pytest.raises(ValueError, match=f"times {times} is not at least 1"):
                view.expect("stale-bus-read", times=times)

        with pytest.raises(TypeError, match=r"times 1\.5 is not an integer"):
            view.expect("stale-bus-read", times=1.5)  # type: ignore[arg-type]


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
