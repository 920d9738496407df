"""Fixtures for pytest: machines, their hub or service, processes, the log and the clock.

pytest finds this module by its entry point, in the runs of everybody who has memhub installed. So
it imports nothing of memhub before a test asks for one of its fixtures.

An async test may run under any plugin (anyio, pytest-asyncio, pytest-trio): fixtures are
synchronous, and the hub keeps time beside the test, in the test's own event loop.
"""

from __future__ import annotations

import inspect
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import random
    from collections.abc import Generator, Iterator, Mapping

    from memhub.clock import Clock
    from memhub.core.drivers.driver import Arch
    from memhub.core.spec import MachineSpec
    from memhub.hub.hub import Hub
    from memhub.rig.clients import Clients
    from memhub.rig.hazard_view import HazardView
    from memhub.rig.log_view import LogView
    from memhub.rig.marker import Settings
    from memhub.rig.service_process import ServiceProcess, ServiceStarter

_HELP = (
    "memhub(machines=..., arch=..., over=..., seed=..., answer_limit=..., driver_limit=...): "
    "machines (names, MachineSpecs or 'each'), architecture (names or 'each'), 'hub', 'service' or "
    "'each', seed of memhub_random, seconds of an unanswered request, of a hub's driver call"
)

#: Raised for a marker that cannot be; pytest shows the message alone.
_WRONG = pytest.Collector.CollectError

#: What a failing test shows, by the fixture that it used.
_Shown = dict[str, Any]
_SHOWN = pytest.StashKey[_Shown]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _HELP)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test for each machine, architecture or face that the marker names."""
    if metafunc.definition.get_closest_marker("memhub") is None:
        return

    from memhub.rig.marker import WrongMarker, read_marker

    try:
        cases = read_marker(metafunc.definition).cases
    except WrongMarker as error:
        raise _WRONG(f"{metafunc.definition.nodeid}: {error}") from None

    own = any(it.name == "memhub" for it in metafunc.definition.own_markers)
    for fixture, values in cases.items():
        if fixture not in metafunc.fixturenames:
            if not own:  # a marker of a class or a module is for those that it concerns
                continue

            what = f"{metafunc.definition.nodeid}: the marker memhub makes {len(values)} tests"
            raise _WRONG(f"{what}, and this one uses no fixture made of {fixture}")

        metafunc.parametrize(fixture, values, ids=map(str, values), indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the table, the map and the last records to the report of a test that failed."""
    report = yield
    shown = item.stash.get(_SHOWN, None)
    if shown and report.failed and call.when == "call":
        from memhub.rig.showing import show_rig

        shown["failed"] = True
        report.sections.append(("memhub", show_rig(shown, call.excinfo and call.excinfo.value)))

    return report


def _note_shown(request: pytest.FixtureRequest, **more: object) -> None:
    request.node.stash.setdefault(_SHOWN, {}).update(more)


# What the rig is made of


@pytest.fixture(scope="session")
def memhub_arches() -> Mapping[str, Arch]:
    """The installed architectures, by name."""
    from memhub.arches import load_arches

    return load_arches()


@pytest.fixture
def memhub_settings(request: pytest.FixtureRequest) -> Settings:
    """What the markers of the test say."""
    from memhub.rig.marker import read_marker

    return read_marker(request.node)


@pytest.fixture
def memhub_arch(request: pytest.FixtureRequest, memhub_settings: Settings) -> str | None:
    """The architecture of the machines; None leaves it to each of them."""
    return getattr(request, "param", memhub_settings.arch)


@pytest.fixture
def memhub_machines(
    request: pytest.FixtureRequest,
    memhub_settings: Settings,
    memhub_arch: str | None,
    memhub_arches: Mapping[str, Arch],
) -> tuple[MachineSpec, ...]:
    """The descriptions of the machines; the first is the default one."""
    from memhub.rig.marker import make_specs

    wanted = (request.param,) if hasattr(request, "param") else memhub_settings.machines

    try:
        return make_specs(wanted, memhub_arch, memhub_arches)
    except (ValueError, KeyError, TypeError) as error:
        pytest.fail(f"marker memhub: {error}", pytrace=False)


@pytest.fixture
def memhub_machine(memhub_machines: tuple[MachineSpec, ...]) -> MachineSpec:
    """The description of the default machine. Override it to bring a machine of your own."""
    return memhub_machines[0]


@pytest.fixture
def memhub_specs(
    memhub_machine: MachineSpec,
    memhub_machines: tuple[MachineSpec, ...],
    memhub_settings: Settings,
    memhub_arch: str | None,
) -> tuple[MachineSpec, ...]:
    """The descriptions that hub and service are made of: `memhub_machine` and the others."""
    from memhub.rig.marker import WrongMarker, check_machine

    try:
        check_machine(memhub_machine, memhub_machines, memhub_settings, memhub_arch)
    except WrongMarker as error:
        pytest.fail(str(error), pytrace=False)

    return (memhub_machine, *memhub_machines[1:])


@pytest.fixture
def memhub_clock(request: pytest.FixtureRequest) -> Clock:
    """Where the hub's time comes from, which is never the computer's own.

    Where a test or a fixture awaits, it is a VirtualClock, which goes on when everybody waits; else
    a ManualClock, which stands until it is advanced. Over a service alone it is the computer's, as
    the service's is. Override it for another one: SystemClock().
    """
    from memhub.clock import ManualClock
    from memhub.rig.async_tests import awaits, has_async_fixture, time_beside
    from memhub.rig.marker import EPOCH_NS

    if "memhub_hub" not in request.fixturenames and _over_service(request):
        from memhub.rig.computer_clock import ComputerClock

        return ComputerClock()

    if awaits(request) or has_async_fixture(request):
        from memhub.rig.virtual_clock import VirtualClock

        clock = VirtualClock(wall_ns=EPOCH_NS)
        time_beside(request).add_clock(clock)
        return clock

    return ManualClock(wall_ns=EPOCH_NS)


def _over_service(request: pytest.FixtureRequest) -> bool:
    if "memhub_over" in request.fixturenames:
        return bool(request.getfixturevalue("memhub_over") == "service")

    return "memhub_service" in request.fixturenames


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Have time kept while an async fixture of a test that uses memhub's is set up."""
    function, names = fixturedef.func, request.fixturenames
    is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    if not is_async or not any(it.startswith("memhub_") for it in names):
        return (yield)

    from memhub.rig.async_tests import keep_time_in_fixture

    with pytest.MonkeyPatch.context() as patch:  # as the plugins of async tests do
        patch.setattr(fixturedef, "func", keep_time_in_fixture(request, function))
        return (yield)


@pytest.fixture
def memhub_random(request: pytest.FixtureRequest, memhub_settings: Settings) -> random.Random:
    """Chance that the marker's seed repeats."""
    from random import Random

    _note_shown(request, seed=memhub_settings.seed)
    return Random(memhub_settings.seed)  # noqa: S311 - to repeat a test


@pytest.fixture
def memhub_hub(
    request: pytest.FixtureRequest,
    memhub_specs: tuple[MachineSpec, ...],
    memhub_arches: Mapping[str, Arch],
    memhub_clock: Clock,
    memhub_settings: Settings,
) -> Iterator[Hub]:
    """A hub of the machines, in use, whose records `memhub_log` reads."""
    from memhub.hub.hub import Hub
    from memhub.rig.async_tests import awaits, find_pauses, has_async_fixture, time_beside
    from memhub.rig.driver_limit import limit_drivers
    from memhub.rig.log_view import LogView

    records: list[Any] = []
    hub = Hub(memhub_specs, arches=memhub_arches, clock=memhub_clock)
    hub.engine.deadlines.answer_limit = memhub_settings.answer_limit
    stop = hub.engine.listen(records.append)

    def read_records() -> list[Any]:
        hub.engine.tick()  # what is due by now
        return records

    hub.begin()
    _note_shown(request, hub=hub, hub_log=LogView(read_records, pauses=find_pauses(request, hub)))
    if awaits(request) or has_async_fixture(request):
        time_beside(request).add_clock(memhub_clock)
        time_beside(request).add(hub, hub.keep_time)

    with limit_drivers(hub, memhub_settings.driver_limit):
        yield hub

    hub.end()
    stop()


@pytest.fixture(scope="session")
def memhub_service_starter() -> Iterator[ServiceStarter]:
    """The process that forks services; it has imported memhub once for all of them."""
    from memhub.rig.service_process import ServiceStarter

    with ServiceStarter() as starter:
        yield starter


@pytest.fixture
def memhub_service(
    request: pytest.FixtureRequest,
    memhub_specs: tuple[MachineSpec, ...],
    memhub_arches: Mapping[str, Arch],
    memhub_service_starter: ServiceStarter,
    memhub_settings: Settings,
) -> Iterator[ServiceProcess]:
    """A service of the machines: a process of its own on a private socket, on the system's time."""
    from memhub.rig.log_view import LogView
    from memhub.rig.service_process import ServiceProcess

    limit = memhub_settings.answer_limit
    with ServiceProcess(memhub_service_starter, memhub_specs, answer_limit=limit) as service:
        log = LogView(service.read_log)
        _note_shown(request, service=service, arches=memhub_arches, service_log=log)
        yield service
        if "failed" not in request.node.stash[_SHOWN]:
            service.require_answers()


@pytest.fixture
def memhub_over(request: pytest.FixtureRequest, memhub_settings: Settings) -> str:
    """Whether clients and log are those of the `hub` or of the `service`."""
    if hasattr(request, "param"):
        return str(request.param)

    if memhub_settings.over is not None:
        return memhub_settings.over

    return "service" if "memhub_service" in request.fixturenames else "hub"


@pytest.fixture
def memhub_client(
    request: pytest.FixtureRequest,
    memhub_over: str,
    memhub_specs: tuple[MachineSpec, ...],  # here, as the marker's cases look for what is named
) -> Iterator[Clients]:
    """Makes processes: `memhub_client("Xorg")`, in an async test for `async with`."""
    from memhub.rig.async_tests import awaits
    from memhub.rig.clients import Clients
    from memhub.rig.showing import note_state

    awaiting = awaits(request)
    on_error = partial(note_state, request.node.stash.setdefault(_SHOWN, {}))
    if memhub_over == "service":
        service: ServiceProcess = request.getfixturevalue("memhub_service")
        clients = Clients(None, service.address, awaiting=awaiting, on_error=on_error)
    else:
        hub: Hub = request.getfixturevalue("memhub_hub")
        sleep = getattr(hub.engine.clock, "advance", time.sleep)
        clients = Clients(hub, "", awaiting=awaiting, sleep=sleep, on_error=on_error)

    yield clients
    clients.close()


@pytest.fixture
def memhub_log(
    request: pytest.FixtureRequest,
    memhub_over: str,
    memhub_specs: tuple[MachineSpec, ...],  # as for memhub_client
) -> LogView:
    """The log of the hub, or of the service where the test uses one; see `LogView.expect`."""
    request.getfixturevalue("memhub_service" if memhub_over == "service" else "memhub_hub")
    view: LogView = request.node.stash[_SHOWN][f"{memhub_over}_log"]
    return view


@pytest.fixture
def memhub_hazards(
    request: pytest.FixtureRequest,
    memhub_over: str,
    memhub_specs: tuple[MachineSpec, ...],  # as for memhub_client
) -> HazardView:
    """The hazards of the hub's machines, or the service's where one is used: `HazardView`."""
    from memhub.rig.hazard_view import HazardView

    if memhub_over == "service":
        return HazardView(request.getfixturevalue("memhub_service").read_hazards, memhub_specs)

    return HazardView(request.getfixturevalue("memhub_hub").hazards, memhub_specs)
