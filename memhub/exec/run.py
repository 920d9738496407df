"""Starts a program under the filter and serves it until it ends."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memhub.errors import BadAddress
from memhub.escape import escape_controls
from memhub.exec import filter as seccomp_filter
from memhub.exec.context import Context
from memhub.exec.devices import OpenDevices
from memhub.exec.filter import Window
from memhub.exec.host import HostDevices, check_allowed, inherited_device
from memhub.exec.kernel import Listener, ShimUnavailable
from memhub.exec.lookup import Lookup
from memhub.exec.machine import native
from memhub.exec.memory import ProgramMemory
from memhub.exec.names import DeviceNames
from memhub.exec.resolve import Resolver
from memhub.exec.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from types import FrameType

    from memhub.exec.backend import DeviceBackend

#: Most device descriptors in one process of the program.
_WINDOW_SIZE: Final = 128
#: The window ends here at most: select(2) knows no greater numbers.
_FD_SETSIZE: Final = 1024
_LEAST_LIMIT: Final = 64
_FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_FROM_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)
_SIGNALLED: Final = 128
_LAUNCHER: Final = Path(__file__).with_name("launch.py")


def run(
    argv: Sequence[str],
    backend: DeviceBackend,
    *,
    device_names: Collection[str] = ("/dev/mem", "/dev/kmem"),
    environment: Mapping[str, str] | None = None,
    every_descriptor: bool = False,
    allow_host: Collection[str] = (),
    complain: Callable[[str], None] | None = None,
) -> int:
    """Run a program whose device files are the backend's.

    Standard input, output and error, the working directory and the environment are the
    caller's. In the main thread, SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to the program
    (the first and last only where the terminal has not sent them to it already).

    Args:
        argv: the program, looked for on PATH, and its arguments.
        backend: the devices.
        device_names: absolute paths that are devices; they need not exist.
        environment: the program's environment; the caller's by default.
        every_descriptor: watch transfers on every descriptor, for a program that uses a device
            under a low number that it chose itself (`prog 3</dev/mem`); every read and write of
            the program then costs a round trip.
        allow_host: devices of the host that the program may reach, by the names of
            `host.ALLOWABLE`. All others are refused with EACCES, and `complain` is told.
        complain: takes lines for the user, as the program gave them; by default they are written
            to standard error with control characters escaped.

    Returns:
        the program's exit status; 128 plus the signal if one ended it; 127 if it was not found
        and 126 if it could not be executed.

    Raises:
        ShimUnavailable: this machine cannot do it; the message says what is missing.
        ValueError: there is no program, a device name is not an absolute path, a name in
            `allow_host` is unknown, or a standard stream is a device of the host.
    """
    if not argv:
        raise ValueError("no program to run")

    abi = native()
    names = DeviceNames(device_names)
    lookup = Lookup()
    hosts = HostDevices(check_allowed(allow_host))
    inherited = inherited_device(hosts)
    if inherited is not None:
        raise ValueError(inherited)

    window = _choose_window(every=every_descriptor)
    code = seccomp_filter.build(abi, window)
    words = ["keep" if hosts.keeps_raw_io else "drop", *argv]
    process, listener = _start_launcher(
        words, code, os.environ if environment is None else environment
    )
    with contextlib.ExitStack() as stack:
        stack.callback(process.wait)
        stack.callback(listener.close)
        child = os.pidfd_open(process.pid)
        stack.callback(os.close, child)
        context = Context(
            abi=abi,
            listener=listener,
            backend=backend,
            devices=OpenDevices(),
            names=names,
            window=window,
            resolver=Resolver(lookup, names),
            hosts=hosts,
            complain=complain or _to_stderr,
            lookup=lookup,
        )
        supervisor = Supervisor(context, child, process.poll)
        stack.enter_context(_forward_signals(child, supervisor.stop))
        try:
            supervisor.run()
        except BaseException:
            process.kill()  # without a supervisor each of its trapped calls would fail
            raise

    return _exit_status(process.returncode)


def _choose_window(*, every: bool) -> Window:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    end = _FD_SETSIZE if soft == resource.RLIM_INFINITY else min(soft, _FD_SETSIZE)
    if end < _LEAST_LIMIT:
        raise ShimUnavailable(
            f"RLIMIT_NOFILE {soft} leaves no room for device descriptors: at least {_LEAST_LIMIT}"
        )

    return Window(end - min(_WINDOW_SIZE, end // 2), end, every=every)


def _start_launcher(
    words: Sequence[str], code: bytes, environment: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], Listener]:
    """Start the launcher, with the words that it takes: the process and its listener."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", str(_LAUNCHER), str(theirs.fileno()), *words],
                pass_fds=(theirs.fileno(),),
            )

        pairs = (os.fsencode(f"{name}={value}") for name, value in environment.items())
        for block in (code, b"\0".join(pairs)):
            ours.sendall(struct.pack("<I", len(block)) + block)

        message, descriptors, _, _ = socket.recv_fds(ours, 4096, 1)

        if not descriptors:
            process.wait()
            raise ShimUnavailable(_describe_missing(message.decode()))

        listener = _open_listener(process, descriptors[0])
        ours.sendall(b"\0")  # now the launcher executes the program

    return process, listener


def _describe_missing(complaint: str) -> str:
    if not complaint:
        return "the launcher ended before it could install the filter"

    hint = ""
    if "busy" in complaint.lower():
        hint = "; a listener serves this process already (memhub exec inside memhub exec?)"

    return (
        f"the kernel refuses {complaint}{hint}: running a program needs seccomp user "
        "notification (CONFIG_SECCOMP_FILTER, Linux 5.14 or later)"
    )


def _open_listener(process: subprocess.Popen[bytes], descriptor: int) -> Listener:
    os.set_inheritable(descriptor, False)
    try:
        _check_reach(process.pid)
        return Listener(descriptor)
    except ShimUnavailable:
        process.kill()
        process.wait()
        os.close(descriptor)
        raise


def _check_reach(pid: int) -> None:
    """Refuse to go on where the program's memory cannot be read, for example because of Yama."""
    try:
        ProgramMemory().read(pid, 0, 1)
    except BadAddress:
        return
    except PermissionError as error:
        raise ShimUnavailable(
            "the kernel does not let this process read the program's memory "
            "(process_vm_readv: see /proc/sys/kernel/yama/ptrace_scope, or CAP_SYS_PTRACE)"
        ) from error


@contextlib.contextmanager
def _forward_signals(child: int, stop: Callable[[], None]) -> Iterator[None]:
    """Pass signals on to the program; once it has ended, they end the serving instead.

    Args:
        child: a pidfd of the program. `Popen.poll` cannot be used: a handler that interrupts it
            is told that the program still runs.
        stop: ends the serving.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def forward(number: int, _frame: FrameType | None) -> None:
        if _has_ended(child):
            stop()
        elif number not in _FROM_TERMINAL or not _in_foreground():
            signal.pidfd_send_signal(child, number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_ended(child: int) -> bool:
    watch = select.poll()
    watch.register(child, select.POLLIN)

    return bool(watch.poll(0))


def _in_foreground() -> bool:
    """Whether the terminal sends its signals to this process and the program alike."""
    try:
        with Path("/dev/tty").open("rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _exit_status(returncode: int) -> int:
    return _SIGNALLED - returncode if returncode < 0 else returncode


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"memhub exec: {escape_controls(line)}\n")
