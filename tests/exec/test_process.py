"""Unmodified programs as processes: copies, children, signals, ends, refusals."""

from __future__ import annotations

import os
import platform
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from exec.exec_rig import Execute, FakeBackend, tool
from memhub import abi
from memhub.exec import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_copies_share_the_offset_and_the_session(python: Execute, backend: FakeBackend) -> None:
    """dup, dup2, F_DUPFD and fork make no new open: one offset, one session, one close."""
    status, out = python(
        """
        import fcntl
        fd = open("/dev/mem", O_RDONLY)
        lseek(fd, 4096, SEEK_SET)
        dup2(fd, 0)
        copies = (dup(fd), fcntl.fcntl(fd, fcntl.F_DUPFD, 10), 0)
        print([read(copy, 2) for copy in copies], flush=True)
        if not fork():
            close(fd)
            print(read(0, 1), flush=True)
            _exit(0)
        wait()
        print(read(fd, 1), lseek(0, 0, SEEK_CUR))
        """
    )

    assert status == 0
    assert out.splitlines() == ["[b'he', b'll', b'o,']", "b' '", "b'p' 4104"]
    assert backend.names().count("open") == backend.names().count("close") == 1


def test_the_last_close_ends_the_session_before_the_next_call(
    python: Execute, backend: FakeBackend
) -> None:
    """A session is closed once no descriptor is left, and before anything that comes after."""
    status, _ = python(
        """
        for device in ("/dev/mem", "/dev/kmem"):
            fd = open(device, O_RDONLY)
            copy = dup(fd)
            close(fd)
            pread(copy, 1, 0)
            close(copy)
        """
    )

    assert status == 0
    assert [event[:2] for event in backend.events] == [
        ("open", "/dev/mem"),
        ("pread", 1),
        ("close", "/dev/mem"),
        ("open", "/dev/kmem"),
        ("pread", 1),
        ("close", "/dev/kmem"),
    ]


def test_a_killed_child_closes_its_session(python: Execute, backend: FakeBackend) -> None:
    """SIGKILL closes what the process held, and its parent goes on."""
    status, _ = python(
        """
        import signal
        ready, told = pipe()
        child = fork()
        if not child:
            open("/dev/kmem", O_RDONLY)
            write(told, b"x")
            while True:
                signal.pause()
        read(ready, 1)
        kill(child, 9)
        waitpid(child, 0)
        open("/dev/mem", O_RDONLY)
        """
    )

    assert status == 0
    assert backend.events[:3] == [
        ("open", "/dev/kmem", os.O_RDONLY),
        ("close", "/dev/kmem"),
        ("open", "/dev/mem", os.O_RDONLY),
    ]


def test_a_descriptor_survives_exec(execute: Execute) -> None:
    """A program hands its device to the next one."""
    source = "import os; fd = os.open('/dev/mem', 0); os.dup2(fd, 0); os.lseek(0, 4096, 0); "
    source += "os.execv('/usr/bin/env', ['env', 'head', '-c', '5'])"
    status, out = execute(sys.executable, "-I", "-S", "-c", source)

    assert (status, out) == (0, "hello")


def test_low_numbers_fail_loudly_and_work_when_every_descriptor_is_watched(
    python: Execute,
) -> None:
    """A device under a number of the program's own choosing never reads as something else."""
    source = """
        dup2(open("/dev/mem", O_RDONLY), 9)
        try:
            print(lseek(9, 4096, SEEK_SET), read(9, 5))
        except OSError as error:
            print(error.strerror)
        """

    assert python(source) == (0, "Illegal seek\n")
    assert python(source, every=True) == (0, "4096 b'hello'\n")


def test_descriptors_run_out_as_they_do_in_a_kernel(python: Execute, backend: FakeBackend) -> None:
    """Past the reserved numbers an open is EMFILE, and none is taken from anybody."""
    status, out = python(
        """
        try:
            while True:
                open("/dev/mem", O_RDONLY)
        except OSError as error:
            print(error.strerror)
        """
    )

    assert (status, out) == (0, "Too many open files\n")
    assert backend.names().count("open") == backend.names().count("close") == 128


def test_signals_during_mmap_arrive_afterwards(python: Execute) -> None:
    """Threads that map again and again under a timer's signals lose neither.

    The handler restarts calls: without that, a signal that comes before the supervisor has received
    a call may end it with EINTR, as docs/exec.md says.
    """
    status, out = python(
        """
        import mmap, signal, threading
        fired = []
        signal.signal(signal.SIGALRM, lambda *_: fired.append(1))
        signal.siginterrupt(signal.SIGALRM, False)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        fd = open("/dev/mem", O_RDONLY)

        def work():
            for _ in range(50):
                with mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ, offset=4096) as view:
                    assert view[:5] == pread(fd, 5, 4096) == b"hello"
            done.append(1)

        done = []
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(len(done), bool(fired))
        """
    )

    assert (status, out) == (0, "3 True\n")


def test_a_call_that_waits_holds_up_nobody_else(python: Execute, backend: FakeBackend) -> None:
    """A SET that waits until another process has read lets that other process read."""
    happened = threading.Event()
    waited: list[bool] = []
    backend.may_wait = lambda request: request in abi.LP64.set
    backend.before_put = lambda: waited.append(happened.wait(20))
    original = backend.get

    def get(limit: int) -> tuple[int, bytes]:
        happened.set()
        return original(limit)

    backend.get = get  # type: ignore[method-assign]
    status, out = python(
        """
        import ctypes, fcntl, struct
        fd = open("/dev/mem", O_RDONLY)
        desc = ctypes.create_string_buffer(struct.pack("<QQI8s4x", 0x3000, 4096, 8, b"waiter"), 32)
        op = struct.pack("<Qii", ctypes.addressof(desc), 0, 0)
        child = fork()
        if not child:
            fcntl.ioctl(fd, 0x80106D33, op)
            _exit(5)
        fcntl.ioctl(fd, 0xC0106D32, bytearray(16))
        print(waitstatus_to_exitcode(waitpid(child, 0)[1]))
        """
    )

    assert (status, out, waited) == (0, "5\n", [True])
    assert backend.table[0].mr_base == 0x3000


def test_a_program_without_devices_runs_as_ever(execute: Execute, backend: FakeBackend) -> None:
    """Output, arguments and environment are the program's own; the backend hears nothing."""
    assert execute("/bin/echo", "two  words", "$HOME") == (0, "two  words $HOME\n")
    assert execute(tool("env"))[1].splitlines() == [f"{k}={v}" for k, v in os.environ.items()]
    assert backend.events == []


def test_status_and_signals_are_the_programs(execute: Execute) -> None:
    """The exit status is passed on; a signal shows as 128 plus its number."""
    assert execute("/bin/sh", "-c", "exit 42")[0] == 42
    assert execute("/bin/sh", "-c", "kill -TERM $$")[0] == 128 + signal.SIGTERM
    assert execute("/bin/sh", "-c", "yes | head -n 1")[0] == 0


def test_a_program_that_cannot_start_says_why(execute: Execute, tmp_path: Path) -> None:
    """127 for no such program, 126 for one that cannot be executed, as env(1) has it."""
    plain = tmp_path / "plain"
    plain.write_text("no program")

    assert execute("memhub-no-such-program")[0] == 127
    assert execute(str(plain))[0] == 126


def test_signals_are_passed_on(execute: Execute, backend: FakeBackend) -> None:
    """SIGTERM to the supervisor ends the program; its device is closed."""

    def interrupted(request: int | None) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return False

    backend.may_wait = interrupted
    status, _ = execute("/bin/sh", "-c", "head -c 1 </dev/mem >/dev/null; exec sleep 60")

    assert status == 128 + signal.SIGTERM
    assert backend.names()[-1] == "close"


def test_a_signal_after_the_end_leaves_what_still_runs(python: Execute) -> None:
    """Serving ends, not the process that the program left behind."""
    status, out = python(
        f"""
        import select, signal
        program = pidfd_open(getpid())
        left = fork()
        if not left:
            poll = select.poll()
            poll.register(program, select.POLLIN)
            poll.poll()
            kill({os.getpid()}, signal.SIGTERM)
            signal.pause()
        print(left, flush=True)
        _exit(3)
        """
    )
    os.kill(int(out), signal.SIGKILL)

    assert status == 3


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a convention of x86-64")
def test_a_32_bit_call_is_refused(
    execute: Execute,
    compiled: Callable[[str], str],
    backend: FakeBackend,
) -> None:
    """What could slip past the filter is killed, and the reason given."""
    lines: list[str] = []
    status = run([compiled("compat")], backend, complain=lines.append)

    assert status == 128 + signal.SIGKILL
    assert "only 64-bit x86_64 programs can be run" in lines[0]


def test_one_inside_the_other_is_refused_with_the_reason(
    execute: Execute,
) -> None:
    """The kernel serves one listener per process; the error says so."""
    status, out = execute(
        sys.executable,
        "-c",
        "from memhub.exec import run, ShimUnavailable\n"
        "try: run(['true'], None)\n"
        "except ShimUnavailable as error: print(error)",
    )

    assert status == 0
    assert "a listener serves this process already" in out


def test_a_fault_of_the_backend_ends_the_program(backend: FakeBackend, facility: None) -> None:
    """Anything but a DeviceError is a bug: the program is killed and the error comes out."""

    def broken(request: int | None) -> bool:
        raise ZeroDivisionError

    backend.may_wait = broken
    with pytest.raises(ZeroDivisionError):
        run(["/bin/sh", "-c", "head -c 1 </dev/mem; exec sleep 60"], backend)


def test_arguments_are_checked(backend: FakeBackend) -> None:
    """No program, or a device name that is not a plain absolute path, is a ValueError."""
    with pytest.raises(ValueError, match="no program to run"):
        run([], backend)

    with pytest.raises(ValueError, match="'mem' is not an absolute path"):
        run(["true"], backend, device_names=["mem"])
