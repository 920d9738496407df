"""Ends that come at a bad moment: nobody waits for ever, and nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exec.exec_rig import RUNS, Execute, FakeBackend, FakeSession
from memhub.exec import Mapping, run

if TYPE_CHECKING:
    from collections.abc import Callable

TID_AT = 0x2000


def kill(tid: int) -> None:
    """Kill the process of a thread, and wait until the thread has ended; its tracer calls this."""
    os.kill(tid, signal.SIGKILL)
    os.waitid(os.P_PID, tid, os.WEXITED | os.WNOWAIT | 0x40000000)


class DeadlyMapping(Mapping):
    """Kills the process that maps as soon as one of its fields is used.

    `fd` is used while the thread still waits in its call, `offset` once it has stopped for the
    supervisor, `length` between two pieces of a mapping.
    """

    __slots__ = ("deadly", "tid")
    deadly: str
    tid: int

    def __getattribute__(self, name: str) -> object:
        if name == object.__getattribute__(self, "deadly"):
            kill(object.__getattribute__(self, "tid"))

        return super().__getattribute__(name)


@pytest.fixture
def make_deadly(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the mappings of processes that wrote a thread's number to TID_AT deadly."""

    def make(field: str) -> None:
        def map_deadly(
            session: FakeSession, offset: int, length: int, *, writable: bool
        ) -> list[Mapping]:
            mapping = DeadlyMapping(session.backend.memory, offset, length)
            tid = int.from_bytes(os.pread(session.backend.memory, 4, TID_AT), "little")
            object.__setattr__(mapping, "tid", tid)
            object.__setattr__(mapping, "deadly", field)

            rest = Mapping(session.backend.read_only, offset, length, private=True)

            return [mapping, rest] if field == "length" else [mapping]

        monkeypatch.setattr(FakeSession, "map", map_deadly)

    return make


MAP = f"""
import mmap, threading
fd = open("/dev/mem", O_RDWR)
def map_and_die():
    pwrite(fd, threading.get_native_id().to_bytes(4, "little"), {TID_AT})
    mmap.mmap(fd, 4096, mmap.MAP_SHARED, offset=4096)
"""


@pytest.mark.timeout(20)
@pytest.mark.parametrize("field", ["fd", "offset", "length"])
def test_a_child_killed_while_it_maps_is_seen_by_its_parent(
    python: Execute, backend: FakeBackend, make_deadly: Callable[[str], None], field: str
) -> None:
    """Before it has stopped for the supervisor, and while it stands still."""
    make_deadly(field)
    status, out = python(
        MAP
        + textwrap.dedent(
            """
            child = fork()
            if not child:
                map_and_die()
            print(waitstatus_to_exitcode(waitpid(child, 0)[1]), pread(fd, 5, 4096))
            """
        )
    )

    assert (status, out) == (0, "-9 b'hello'\n")
    assert backend.names()[-1] == "close"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("field", ["fd", "offset", "length"])
@pytest.mark.parametrize("thread", [False, True])
def test_a_program_killed_while_it_maps_ends(
    python: Execute,
    backend: FakeBackend,
    make_deadly: Callable[[str], None],
    field: str,
    thread: bool,
) -> None:
    """Its first thread or another one."""
    make_deadly(field)
    start = "thread = threading.Thread(target=map_and_die); thread.start()"
    status, _ = python(MAP + (f"{start}; thread.join()" if thread else "map_and_die()"))

    assert status == 128 + signal.SIGKILL
    assert backend.names()[-1] == "close"


@pytest.mark.timeout(20)
def test_a_thread_that_maps_while_another_becomes_a_new_program(python: Execute) -> None:
    """execve ends all other threads, also the one that the supervisor is about to stop."""
    status, out = python(
        """
        import mmap, threading
        fd = open("/dev/mem", O_RDWR)

        def work():
            while True:
                mmap.mmap(fd, 4096, mmap.MAP_SHARED, offset=4096).close()

        ready = threading.Event()
        def become():
            ready.wait()
            execv("/bin/echo", ["echo", "new"])
        for child in range(8):
            if not fork():
                threading.Thread(target=become if child % 2 else work, daemon=True).start()
                ready.set()
                become() if not child % 2 else work()
        for child in range(8):
            wait()
        """
    )

    assert (status, out) == (0, "new\n" * 8)


KILL_SUPERVISORS = """
import os, sys
from memhub.exec import run
from exec.exec_rig import FakeBackend

PROGRAM = "import signal; print('ready', flush=True); signal.pause()"
for _ in range(int(sys.argv[1])):
    ours, theirs = os.pipe()
    supervisor = os.fork()
    if not supervisor:
        os.dup2(theirs, 1)
        os.close(ours)
        os.close(theirs)
        run([sys.executable, "-I", "-S", "-c", PROGRAM], FakeBackend())
        os._exit(1)

    os.close(theirs)
    assert os.read(ours, 100) == b"ready\\n"
    os.kill(supervisor, 9)
    os.waitpid(supervisor, 0)
    assert os.read(ours, 100) == b""  # the program held the other end, and has ended
    os.close(ours)
"""


def kill_supervisors(times: int) -> None:
    """Kill a supervisor whose program runs, so many times; each is a fork of one process."""
    folder = str(Path(__file__).parents[1])
    words = [sys.executable, "-c", KILL_SUPERVISORS, str(times)]
    subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": folder})


@pytest.mark.timeout(20)
def test_the_program_ends_when_its_supervisor_is_killed(facility: None) -> None:
    """Without one, each of its opens would fail with ENOSYS."""
    kill_supervisors(1)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("threads", [0, 1, 3])
def test_programs_killed_while_they_map_end_each_time(
    facility: None, backend: FakeBackend, threads: int
) -> None:
    """Many runs, each killed at another moment."""
    choice = random.Random(threads)
    for _ in range(RUNS):
        moment = choice.random() * 0.01
        source = f"""
            import mmap, os, threading, time
            fd = os.open("/dev/mem", os.O_RDWR)

            def work():
                while True:
                    mmap.mmap(fd, 4096, mmap.MAP_SHARED, offset=4096).close()

            ready, told = os.pipe()
            child = os.fork()
            if not child:
                for _ in range({threads}):
                    threading.Thread(target=work, daemon=True).start()
                os.write(told, b"x")
                work()
            os.read(ready, 1)
            time.sleep({moment})
            os.kill(child, 9)
            os.waitpid(child, 0)
            threading.Thread(target=work, daemon=True).start()
            time.sleep({moment})
            os.kill(os.getpid(), 9)
            """
        words = [sys.executable, "-I", "-S", "-c", textwrap.dedent(source)]

        assert run(words, backend) == 128 + signal.SIGKILL

    assert backend.names().count("open") == backend.names().count("close") == RUNS


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("field", ["fd", "offset"])
@pytest.mark.parametrize("who", ["child", "program", "thread"])
def test_a_kill_at_one_moment_of_mmap_ends_well_each_time(
    python: Execute,
    backend: FakeBackend,
    make_deadly: Callable[[str], None],
    who: str,
    field: str,
) -> None:
    """The tests above, many runs each."""
    for _ in range(RUNS):
        if who == "child":
            test_a_child_killed_while_it_maps_is_seen_by_its_parent(
                python, backend, make_deadly, field
            )
        else:
            thread = who == "thread"
            test_a_program_killed_while_it_maps_ends(python, backend, make_deadly, field, thread)


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_a_new_program_beside_a_thread_that_maps_runs_each_time(python: Execute) -> None:
    for _ in range(RUNS):
        test_a_thread_that_maps_while_another_becomes_a_new_program(python)


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_the_program_ends_with_its_supervisor_each_time(facility: None) -> None:
    kill_supervisors(RUNS)
