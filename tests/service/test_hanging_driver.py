"""A plugin whose driver does not answer: stopped where it can be, and a signal ends the service."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from memhub.abi import MDF_WRITEBACK
from memhub.audit import read_records, verify
from memhub.errors import DeviceError, DriverFailed
from memhub.service.blocking import BlockingClient
from plugins.distribution import install
from service.process_rig import Lines, Served

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 0x1000

#: The plugin: the number of the page that an UPDATE asks for chooses how it hangs.
PLUGIN = """
import ctypes, itertools, re, threading, time
from memhub.plugin import Arch, KernelLayout, abi, errors, hookimpl
from memhub.plugin.software import SoftwareRangeDriver


def loop():
    while True:
        pass


def catching_loop():
    while True:
        try:
            loop()
        except Exception:
            pass


def deadlock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def stubborn_loop():
    while True:
        try:
            loop()
        except BaseException:
            pass


def native_deadlock():
    library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


class Endless(Exception):
    def __str__(self):
        loop()


class Exiting(Exception):
    def __str__(self):
        raise SystemExit(9)


class Refusal(errors.InvalidRange):
    @property
    def obstacles(self):
        loop()

    @obstacles.setter
    def obstacles(self, _):
        pass


class Unshown:
    def __repr__(self):
        loop()


def fail(error):
    raise error


HANGS = {
    1: loop,
    2: catching_loop,
    3: lambda: time.sleep(1e6),
    4: deadlock,
    5: lambda: re.match("(a+)+$", "a" * 64 + "b"),
    6: stubborn_loop,
    7: native_deadlock,
    8: lambda: sum(itertools.repeat(1)),
    9: lambda: fail(Endless()),
    10: lambda: fail(Refusal("x")),
    11: lambda: fail(Exiting()),
    12: lambda: fail(KeyboardInterrupt()),
    13: lambda: fail(errors.InvalidRange("y" * 20_000_000)),
}


class Hanging(SoftwareRangeDriver):
    def __init__(self, cpu):
        super().__init__(slots=4)
        self.cpu = cpu

    def attach(self, msrs):
        if self.cpu.phys_bits == 51:
            print("attaching", flush=True)
            loop()

        return None if self.cpu.phys_bits == 52 else super().attach(msrs)

    def stored(self, desc):
        HANGS.get(desc.mr_base >> 12, lambda: None)()

        return Unshown() if desc.mr_base >> 12 == 14 else desc

    def type_of(self, desc):
        return "WB"

    def restore(self, state, slots, earlier):
        loop()


@hookimpl
def memhub_arches():
    layout = KernelLayout(kernel_base=0xF0000000)

    return [Arch(name="hangs", summary="", kernel=layout, driver=lambda cpu, _: Hanging(cpu))]
"""

CONFIG = """
default = "pc"

[machines.pc]
arch = "hangs"

[machines.old]
arch = "hangs"

[service.limits]
driver_timeout = 0.05
"""

#: The same with more time, for calls that end.
PATIENT = CONFIG.replace("0.05", "2.0")

WHO = (
    "plugin 'hangs' of hangs-for-memhub: loader_hangs_for_memhub.Hanging.update, "
    "the driver of hangs"
)

#: The calls that can be stopped, by the pages that choose them.
STOPPED = {
    "loop": 1, "catching loop": 2, "sleep": 3, "lock": 4, "expression": 5,
    "words of an error": 9, "field of a refusal": 10, "words of an answer": 14,
}  # fmt: skip

#: What is refused where a driver raises something, by the page that chooses it.
RAISED = {
    11: f"EIO: {WHO} on pc, failed with Exiting: an error that cannot be shown",
    12: f"EIO: {WHO} on pc, failed with KeyboardInterrupt: ",
    13: f"EINVAL: {'y' * 4096}… (20000000 characters)",
}

every_backend = pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])


def serve(folder: Path, config: str, *arguments: str) -> Served:
    """A service with the plugin's distribution on its path."""
    site = folder / "site"
    site.mkdir()
    install(site, "hangs-for-memhub", "hangs", PLUGIN)
    (folder / "lab.toml").write_text(config)

    return Served(folder, *arguments, environ={"PYTHONPATH": str(site)})


@pytest.fixture
def served(tmp_path: Path, backend: str) -> Served:
    """A service of two machines of that kind."""
    pytest.importorskip(backend)

    return serve(tmp_path, CONFIG, "--backend", backend)


def hang(service: Served, page: int) -> threading.Thread:
    """A client that asks for what hangs, and is told or cut off some time."""

    def ask() -> None:
        with (
            suppress(OSError),
            BlockingClient(f"unix:{service.socket}") as client,
            client.open("/dev/mem", "r+") as handle,
        ):
            handle.set_range(page * PAGE, PAGE, MDF_WRITEBACK)

    thread = threading.Thread(target=ask)
    thread.start()

    return thread


@every_backend
def test_a_call_that_does_not_end_is_stopped(served: Served) -> None:
    """One of each kind, one after the other: the service goes on each time."""
    said = f"EIO: {WHO} on pc, did not answer within 0.05 s and was stopped"
    with served:
        served.ready()
        address = f"unix:{served.socket}"
        with BlockingClient(address) as client, BlockingClient(address) as other:
            handle, beside = client.open("/dev/mem", "r+"), other.open("old:/dev/mem", "r+")
            for number, (name, page) in enumerate(STOPPED.items(), start=64):
                before = handle.ranges()
                with pytest.raises(DriverFailed) as refused:
                    handle.set_range(page * PAGE, PAGE, MDF_WRITEBACK)

                assert str(refused.value) == said, name
                assert handle.ranges() == before, name
                beside.set_range(number * PAGE, PAGE, MDF_WRITEBACK)
                handle.set_range(number * PAGE, PAGE, MDF_WRITEBACK)
                beside.remove_range(number * PAGE, PAGE)
                handle.remove_range(number * PAGE, PAGE)

        code, errors = served.stop()

    assert code == 0
    warned = f"memhub: {WHO} on pc, has not answered for 0.05 s; it is stopped"
    assert errors.count(warned) >= len(STOPPED)  # again if it goes on
    assert "memhub: stopping on SIGTERM\n" in errors  # the report is written by another thread
    assert errors.count("loader_hangs_for_memhub.py") >= len(STOPPED)
    assert verify(served.log).ok
    rows = [it for it in read_records(served.log) if it["event"] == "request.set"]
    after = [("pc", "EIO"), ("old", None), ("pc", None), ("old", None), ("pc", None)]
    assert [(it["machine"], it["errno"]) for it in rows] == after * len(STOPPED)


@every_backend
def test_a_call_that_does_not_end_is_stopped_while_the_service_stops(served: Served) -> None:
    with served:
        served.ready()
        client = BlockingClient(f"unix:{served.socket}")
        client.open("/dev/mem", "r+", undo=True).set_range(64 * PAGE, PAGE, MDF_WRITEBACK)
        code, errors = served.stop()
        client.close()

    assert code == 0
    assert "Hanging.restore, the driver of hangs on pc, has not answered for 0.05 s" in errors
    (undone,) = [it for it in read_records(served.log) if it["event"] == "undo"]
    assert undone["errno"] == "EIO"
    assert verify(served.log).ok


@every_backend
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("page", [6, 7], ids=["stubborn loop", "mutex"])
def test_a_signal_ends_a_service_whose_driver_cannot_be_stopped(
    served: Served, page: int, number: int
) -> None:
    with served:
        served.ready()
        with BlockingClient(f"unix:{served.socket}") as client:
            client.open("old:/dev/mem", "r+").set_range(64 * PAGE, PAGE, MDF_WRITEBACK)

        asking = hang(served, page)
        assert served.process.stderr is not None
        first = Lines(served.process.stderr.fileno()).next()
        assert f"{WHO} on pc, has not answered for 0.05 s" in first
        code, errors = served.stop(number)
        asking.join()

    assert code == 2
    assert f"{WHO} on pc, cannot be stopped; the service ends without closing its log" in errors
    assert "loader_hangs_for_memhub.py" in errors
    (row,) = [it for it in read_records(served.log) if it["event"] == "request.set"]
    assert (row["machine"], row["errno"]) == ("old", None)


@every_backend
def test_what_a_driver_raises_refuses_its_request_alone(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    with serve(tmp_path, PATIENT, "--backend", backend) as served:
        served.ready()
        with BlockingClient(f"unix:{served.socket}") as client:
            handle = client.open("/dev/mem", "r+")
            for number, (page, words) in enumerate(RAISED.items(), start=64):
                with pytest.raises(DeviceError) as refused:
                    handle.set_range(page * PAGE, PAGE, MDF_WRITEBACK)

                assert str(refused.value) == words
                handle.set_range(number * PAGE, PAGE, MDF_WRITEBACK)

        code, errors = served.stop()

    assert (code, errors) == (0, "memhub: stopping on SIGTERM\n")
    rows = [it for it in read_records(served.log) if it["event"] == "request.set"]
    refusals = [f"{it['errno']}: {it['reason']}" for it in rows[::2]]
    assert refusals == list(RAISED.values())
    assert [it["errno"] for it in rows[1::2]] == [None] * len(RAISED)


@every_backend
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_service_whose_driver_does_not_start(
    tmp_path: Path, backend: str, number: int
) -> None:
    pytest.importorskip(backend)
    slow = CONFIG.replace('arch = "hangs"', 'arch = "hangs"\nphys_bits = 51', 1)
    with serve(tmp_path, slow, "--backend", backend) as service:
        assert service.process.stdout is not None
        assert Lines(service.process.stdout.fileno()).next() == "attaching"
        code, _ = service.stop(number)

    assert code == (130 if number == signal.SIGINT else -number)


def test_a_driver_that_cannot_start_is_named_and_the_service_does_not_start(
    tmp_path: Path,
) -> None:
    bad = CONFIG.replace('arch = "hangs"', 'arch = "hangs"\nphys_bits = 52', 1)
    with serve(tmp_path, bad) as service:
        code, errors = service.ended()

    assert code == 2
    assert "plugin 'hangs' of hangs-for-memhub: loader_hangs_for_memhub.Hanging.attach" in errors
    assert "the driver of hangs on pc, answered None, which is not a RangeState" in errors


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_call_that_holds_the_interpreter_lock_ends_the_service(
    tmp_path: Path, backend: str
) -> None:
    with serve(tmp_path, CONFIG, "--backend", backend) as service:
        service.ready()
        asking = hang(service, 8)
        code, errors = service.ended()
        asking.join()

    assert code == -signal.SIGPROF
    assert 'loader_hangs_for_memhub.py", line' in errors
    assert "in update" in errors
