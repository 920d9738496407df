"""The plugin under pytest: beside other async plugins, in reports, with wrong markers, unused."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from memhub import Hub, load_arches, machines
from memhub.clock import ManualClock
from rig.inner_runs import NEITHER, run_inner
from rounds import rounds

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A wait that ends with another's lease, which needs the hub's deadlines met beside the test.
LEASE = """
import anyio, pytest

@MARK
async def test_lease(memhub_hub, memhub_client, memhub_clock, memhub_log):
    async with memhub_client("one") as one, memhub_client("two") as two:
        await (await one.open()).claim(0xD0000000, 0x1000, lease=5)
        with anyio.fail_after(20):
            await (await two.open()).claim(0xD0000000, 0x1000, wait=60)

        assert memhub_clock.mono_ns() == 5 * 10**9

    memhub_log.expect("claim.expire", process="one").then("claim.take", process="two")

@MARK
async def test_fixture_that_awaits(opened, memhub_log):
    await opened.set_range(0xD0000000, 0x1000, "write-combine")
    memhub_log.expect("request.open", process="mine").then("request.set", errno=None)

def test_that_does_not_await(memhub_client, memhub_log):
    memhub_client("plain").open()
    memhub_log.expect("request.open", process="plain")
"""

OPENED = """
@FIXTURE
async def opened(memhub_hub):
    async with memhub_hub.process("mine") as process:
        async with await process.open("/dev/mem") as mem:
            yield mem
"""

ASYNCIO = ("-p", "no:trio", "-o", "asyncio_default_fixture_loop_scope=function")


@pytest.mark.parametrize(
    ("mark", "fixture", "options", "count"),
    [
        ("pytest.mark.anyio", "pytest.fixture", NEITHER, 5),
        ("pytest.mark.asyncio", "pytest_asyncio.fixture", ASYNCIO, 3),
        ("pytest.mark.filterwarnings", "pytest.fixture", (*ASYNCIO, "-o", "asyncio_mode=auto"), 3),
        ("pytest.mark.trio", "pytest.fixture", ("-p", "no:asyncio"), 3),
        ("pytest.mark.filterwarnings", "pytest.fixture", ("-p", "no:asyncio", "trio"), 3),
    ],
    ids=["anyio", "asyncio strict", "asyncio auto", "trio", "trio mode"],
)
def test_async_tests_run_under_every_plugin_beside_others(
    pytester: pytest.Pytester, mark: str, fixture: str, options: Sequence[str], count: int
) -> None:
    if "trio" in options:
        pytester.makeini("[pytest]\ntrio_mode = true\n")
        options = options[:-1]

    imports = "import pytest_asyncio\n" if "pytest_asyncio" in fixture else ""
    text = imports + LEASE.replace("@MARK", f"@{mark}" if "filter" not in mark else "")
    pytester.makepyfile(text + OPENED.replace("FIXTURE", fixture))

    run_inner(pytester, *options).assert_outcomes(passed=count)


def test_a_test_that_fails_shows_table_map_and_records(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.memhub(over="each", seed=42)
        def test_fails(memhub_client, memhub_log, memhub_random):
            memhub_client("Xorg").open().set_range(0xD0000000, 1 << 28, "write-combine", owner="X")
            memhub_log.expect("request.set", errno="EBUSY", process="driver")

        def test_passes(memhub_client):
            memhub_client("Xorg").open()
        """
    )
    result = run_inner(pytester, *NEITHER)
    result.assert_outcomes(failed=2, passed=1)

    for face in ("hub", "service"):
        result.stdout.fnmatch_lines(
            [
                "E * AssertionError: expected a record of request.set with errno 'EBUSY', *",
                "E * nearest: #* request.set update pc Xorg 0xd0000000+256M write-combine",
                "*--- memhub ---*",
                "machine pc, i386, ordinary firmware",
                "  ranges in 96 slots, beside 88 below 1 MiB",
                "     88 0x0/0x40000000 BIOS write-back set-by-firmware active",
                "     89 0xd0000000/0x10000000 X write-combine active claimed by Xorg",
                "    0 to 1M    B*U*P*",
                f"    0 to 4G    p{'B' * 15}{'U' * 36}CCCC{'U' * 8}",
                f"the log of the {face}: the last * records",
                "  #* request.set update pc Xorg 0xd0000000+256M write-combine",
                "seed 42",
            ]
        )


def test_a_failure_after_the_service_died_says_how_it_died(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_fails(memhub_service, memhub_log):
            memhub_service.kill()
            memhub_log.expect("request.set")
        """
    )
    result = run_inner(pytester, *NEITHER)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the service has ended with -9", "machine pc, i386, *"])


SEVERAL = "is not a name of the library, a MachineSpec, several of them, or 'each'"
ARCHES = "is not the name of an architecture, several of them, or 'each'"


#: Wrong markers, and what is said of each.
WRONG = [
    ("machine='x'", "marker memhub has no argument 'machine'; did you mean 'machines'?"),
    ("'x'", "marker memhub takes arguments by name alone, not ('x',)"),
    ("over='moon'", "marker memhub: over 'moon' is none of hub, service, each"),
    ("over=None", "marker memhub: over None is none of hub, service, each"),
    ("over=['hub']", "marker memhub: over ['hub'] is none of hub, service, each"),
    ("machines='acer-aspyre-one'", "marker memhub: there is no real machine 'acer-aspyre-one'"),
    ("machines=['pc']", "marker memhub: there is no real machine 'pc'"),
    ("machines=5", f"marker memhub: machines 5 {SEVERAL}"),
    ("machines=None", f"marker memhub: machines None {SEVERAL}"),
    ("machines=MachineSpec", "MachineSpec'> is not a name of the library"),
    ("machines=[]", f"marker memhub: machines [] {SEVERAL}"),
    ("machines=''", f"marker memhub: machines '' {SEVERAL}"),
    ("machines=['pc', 'each']", "machines ['pc', 'each'] has 'each' beside others"),
    ("machines=[pc(), pc()]", "marker memhub: machines ['pc', 'pc'] has 'pc' twice"),
    ("arch='i387'", "marker memhub: architecture 'i387' is not installed"),
    ("arch='i368'", "did you mean 'i386'?"),
    ("machines='acer-aspire', arch='i368'", "did you mean 'i386'?"),
    ("arch=3", f"marker memhub: arch 3 {ARCHES}"),
    ("arch=''", f"marker memhub: arch '' {ARCHES}"),
    ("arch=[]", f"marker memhub: arch [] {ARCHES}"),
    ("arch=None", f"marker memhub: arch None {ARCHES}"),
    ("arch=['i386', 5]", f"marker memhub: arch ['i386', 5] {ARCHES}"),
    ("arch=['i386', 'each']", "marker memhub: arch ['i386', 'each'] has 'each' beside others"),
    ("arch=['i386', 'i386']", "marker memhub: arch ['i386', 'i386'] has 'i386' twice"),
    ("seed=1.5", "marker memhub: seed 1.5 is not an integer"),
    ("seed='x'", "marker memhub: seed 'x' is not an integer"),
    ("seed=None", "marker memhub: seed None is not an integer"),
    ("seed=-1", "marker memhub: seed -1 is negative"),
]


def test_a_wrong_marker_is_refused_with_the_reason_alone(pytester: pytest.Pytester) -> None:
    """Each in a file of its own, of which no more is said than that."""
    imports = "import pytest\nfrom memhub import MachineSpec\nfrom memhub.machines import pc\n"
    for number, (marker, _) in enumerate(WRONG):
        test = f"def test_{number}(memhub_hub, memhub_random): pass\n"
        text = f"{imports}@pytest.mark.memhub({marker})\n{test}"
        pytester.makepyfile(**{f"test_{number}": text})

    result = run_inner(pytester, *NEITHER, "--continue-on-collection-errors")
    result.assert_outcomes(errors=len(WRONG))
    _, *parts = re.split(r"_+ ERROR .*?test_(\d+)(?:\.py)? _+\n|=+ short test", str(result.stdout))
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    for number, (marker, says) in enumerate(WRONG):
        said = told[str(number)]
        assert says in said, marker
        assert "Traceback" not in said, marker
        assert ".py:" not in said.replace(".py::", ""), marker


def test_a_machine_of_ones_own_and_a_marker_that_names_another_are_refused(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        from dataclasses import replace

        import pytest
        from memhub import machines

        @pytest.mark.memhub(arch="powerpc")
        class TestOther:
            @pytest.fixture
            def memhub_machine(self):
                return machines.pc("bench")

            def test_arch(self, memhub_hub): pass

            @pytest.mark.memhub(arch="i386", machines="acer-aspire-one")
            def test_machines(self, memhub_hub): pass

            @pytest.mark.memhub(arch="i386")
            def test_same(self, memhub_hub): pass

        class TestChanged:
            @pytest.fixture
            def memhub_machine(self, memhub_machine):
                return replace(memhub_machine, commit_latency=1.0)

            @pytest.mark.memhub(machines="acer-aspire-one", arch=["i386", "amd64-mtrr"])
            def test_it(self, memhub_hub): pass
        """
    )
    result = run_inner(pytester, *NEITHER)

    result.assert_outcomes(passed=3, errors=2)
    gives = "but the fixture memhub_machine gives 'bench', i386"
    result.stdout.fnmatch_lines(
        [
            f"marker memhub: arch says 'powerpc', {gives}",
            f"marker memhub: machines says 'acer-aspire-one-8-slots-full', {gives}",
        ]
    )


def test_cases_that_no_fixture_takes_are_refused(pytester: pytest.Pytester) -> None:
    text = "import pytest\n@pytest.mark.memhub(arch='each')\ndef test_it(): pass\n"
    pytester.makepyfile(text)
    result = run_inner(pytester, *NEITHER)

    assert result.ret != 0
    output = result.stdout.str() + result.stderr.str()
    count = len(load_arches())
    says = f"the marker memhub makes {count} tests, and this one uses no fixture made of memhub_ar"
    assert says in output


def test_a_markers_cases_for_a_module_are_for_the_tests_that_they_concern(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.memhub(over="each")

        def test_plain(): pass

        def test_rig(memhub_client): pass

        def test_both(memhub_hub, memhub_service, memhub_log, memhub_over):
            begins = {"hub": "device.attach", "service": "log.open"}
            assert memhub_log.records[0]["event"] == begins[memhub_over]
        """
    )

    run_inner(pytester, *NEITHER).assert_outcomes(passed=5)


def test_cases_are_named_in_the_tests_ids(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.memhub(machines="each", arch=["i386", "amd64"], over="each")
        def test_it(memhub_client, memhub_log): pass
        """
    )
    result = run_inner(pytester, *NEITHER, "--collect-only", "-q")
    lines = [line for line in result.outlines if "test_it[" in line]

    assert len(lines) == 2 * 2 * len(machines.names())
    assert any(line.endswith("[acer-aspire-one-8-slots-full-i386-hub]") for line in lines)


def test_the_plugin_costs_nothing_where_it_is_not_used() -> None:
    code = (
        "import sys, memhub.rig.pytest_plugin\n"
        "print(*sorted(it for it in sys.modules if it.split('.')[0] in "
        "('memhub', 'anyio', 'numpy', 'orjson', 'structlog', 'pluggy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {it for it in done.stdout.split() if not it.startswith("pluggy")}

    assert loaded == {"memhub", "memhub.rig", "memhub.rig.pytest_plugin"}


def test_a_hub_is_set_up_and_torn_down_within_a_millisecond() -> None:
    from time import process_time

    arches, spec = load_arches(), machines.pc()

    def measure() -> float:
        start = process_time()
        for _ in range(50):
            hub = Hub([spec], arches=arches, clock=ManualClock())
            stop = hub.engine.listen(lambda _: None)
            hub.begin()
            hub.end()
            stop()

        return (process_time() - start) / 50

    assert min(rounds(measure, 0.001, 20)) <= 0.001
