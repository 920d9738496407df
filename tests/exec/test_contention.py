"""Programs that contend for ranges: each run is a process, and who waits keeps nobody out."""

from __future__ import annotations

import sys
import textwrap
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from time import monotonic_ns
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint

from memhub import SystemClock
from memhub.abi import MDF_UNCACHEABLE
from memhub.exec import run
from memhub.exec.over_client import ClientBackend
from memhub.service.blocking import BlockingClient
from memhub.service.local import LocalClient
from service.served import served
from shell.kit import ARCHES, PAT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from memhub.core.memory.physical import PhysicalMemory
    from memhub.exec.over_client import Client

    Start = Callable[[str], int]

PATHS = {"/dev/mem": "/dev/mem"}
BASE, LENGTH = 0x200000, 0x1000
BEGUN, GO = 0x1000, 0x2000

#: For programs in Python: MEMRANGE_SET with its nested pointer.
PRELUDE = """
import ctypes, errno, fcntl, os, signal, struct, sys

def update(fd, base, length, flags=1, what=0):
    desc = ctypes.create_string_buffer(struct.pack("<QQI8s4x", base, length, flags, b"py"))
    op = struct.pack("<Qii", ctypes.addressof(desc), what, 0)
    try:
        fcntl.ioctl(fd, 0x80106d33, op)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"
"""


def start(client: Client, source: str) -> int:
    """Run a program in Python; its exit status."""
    code = PRELUDE + textwrap.dedent(source)

    return run(
        [sys.executable, "-I", "-S", "-c", code], ClientBackend(client, PATHS), device_names=PATHS
    )


# A commit that another holds up


class HeldClock(SystemClock):
    """Stands still until the program says "go", so that no commit ends before.

    Whoever asks the machine for something ends a commit that is due. So it is not enough to hold
    up the sleep of the one who asked for it: the time must not come.
    """

    def __init__(self) -> None:
        self.memory: PhysicalMemory | None = None
        self._held_ns = monotonic_ns()

    @property
    def _released(self) -> bool:
        return self.memory is not None and self.memory.read(GO, 2) == b"go"

    def mono_ns(self) -> int:
        return monotonic_ns() if self._released else self._held_ns

    async def sleep_until(self, mono_ns: int) -> None:
        if mono_ns > self._held_ns and self.memory is not None:
            self.memory.write(BEGUN, b"begun")
            while not self._released:
                await checkpoint()

            await super().sleep_until(mono_ns)


@contextmanager
def held(kind: str, folder: Path) -> Iterator[Client]:
    slow = replace(PAT, commit_latency=0.001)
    clock = HeldClock()
    with ExitStack() as stack:
        if kind == "service":
            hub = stack.enter_context(served(folder / "s", slow, clock=clock))
            clock.memory = hub.machines["pat"].memory
            yield stack.enter_context(BlockingClient(folder / "s"))
            return

        def sleep(span: float) -> None:
            anyio.run(clock.sleep_until, clock.mono_ns() + round(span * 1e9))

        client = stack.enter_context(LocalClient([slow], arches=ARCHES, clock=clock, sleep=sleep))
        clock.memory = client.machines["pat"].memory
        yield client


@pytest.mark.parametrize("kind", ["local", "service"])
def test_a_set_that_takes_time_keeps_no_other_call_of_the_program_waiting(
    facility: None, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The child's commit goes on while its parent reads, sets elsewhere, is refused, and writes."""
    with held(kind, tmp_path) as client:
        status = start(
            client,
            f"""
            fd = os.open("/dev/mem", os.O_RDWR)
            child = os.fork()
            if not child:
                print("child", update(fd, {BASE}, {LENGTH}), flush=True)
                os._exit(0)
            while os.pread(fd, 5, {BEGUN}) != b"begun":
                pass
            print("parent", update(fd, {BASE}, {LENGTH}, 2), flush=True)
            os.pwrite(fd, b"go", {GO})
            os.waitpid(child, 0)
            print("parent", update(fd, {BASE}, {LENGTH}, 2), flush=True)
            """,
        )

    assert status == 0
    assert capfd.readouterr().out.splitlines() == ["parent EBUSY", "child ok", "parent ok"]


# Claims


@pytest.fixture
def lab(facility: None, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "lab.sock"
    with served(path, PAT):
        yield path


def test_a_program_is_refused_what_another_process_holds(
    lab: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with BlockingClient(lab, label="holder") as holder, holder.open("/dev/mem") as handle:
        handle.set_range(BASE, LENGTH, MDF_UNCACHEABLE)
        with BlockingClient(lab, label="prog") as client:
            start(
                client,
                f"""
                fd = os.open("/dev/mem", os.O_RDONLY)
                print(update(fd, {BASE}, {LENGTH}, 2), update(fd, {BASE + LENGTH}, {LENGTH}, 2))
                """,
            )

        (row,) = handle.ranges()[:1]

    assert capfd.readouterr().out == "EBUSY ok\n"
    assert (row.mr_base, row.mr_flags & 3) == (BASE, MDF_UNCACHEABLE)


def test_a_claim_ends_with_the_programs_last_descriptor_or_its_death(
    lab: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A child keeps it, a close in one process does not end it, SIGKILL does."""
    with BlockingClient(lab, label="other") as other, other.open("/dev/mem") as handle:
        with BlockingClient(lab, label="prog") as client:
            status = start(
                client,
                f"""
                fd = os.open("/dev/mem", os.O_RDONLY)
                print(update(fd, {BASE}, {LENGTH}))
                if not os.fork():
                    os.kill(os.getpid(), signal.SIGKILL)
                os.wait()
                os.close(os.dup(fd))
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)
                """,
            )
            assert status == 128 + 9
            (claims,) = [row["claims"] for row in other.report()["machines"]]

        handle.set_range(BASE, LENGTH, MDF_UNCACHEABLE, owner="mine")

    assert capfd.readouterr().out == "ok\n"
    assert claims == []


def test_a_service_that_is_gone_is_an_error_of_the_call(
    facility: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        stack.enter_context(served(tmp_path / "s", PAT))
        client = stack.enter_context(BlockingClient(tmp_path / "s"))
        stack.pop_all().close()
        status = start(
            client,
            """
            try:
                os.open("/dev/mem", os.O_RDONLY)
            except OSError as error:
                print(errno.errorcode[error.errno])
            """,
        )

    assert (status, capfd.readouterr().out) == (0, "ECONNRESET\n")
