"""Unmodified programs whose /dev/mem is a backend's."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memhub import abi
from memhub.errors import BadAddress, InvalidRange, NotPermitted, NotSupported
from memhub.service.shim import (
    CallerMemory,
    DeviceSession,
    Mapping,
    ShimUnavailable,
    memrange_ioctl,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRAMS = Path(__file__).parent / "programs"
SIZE = 1 << 30
TEXT_AT = 0x1000
TEXT = b"hello, physical memory\n"


class FakeSession:
    """Bytes in a memfd, and one table that all sessions share."""

    def __init__(self, backend: FakeBackend, path: str) -> None:
        self.backend = backend
        self.path = path

    def may_wait(self, request: int | None) -> bool:
        return self.backend.may_wait(request)

    def pread(self, length: int, offset: int) -> bytes:
        self.backend.events.append(("pread", length, offset))
        if offset >= SIZE:
            raise BadAddress(f"{offset:#x} is past the end", moved=self.backend.moved)

        return os.pread(self.backend.memory, length, offset)

    def pwrite(self, data: bytes, offset: int) -> int:
        self.backend.events.append(("pwrite", data, offset))
        return os.pwrite(self.backend.memory, data, offset)

    def ioctl(self, request: int, argument: bytes, memory: CallerMemory) -> bytes | None:
        return memrange_ioctl(request, argument, memory, get=self.backend.get, put=self.backend.put)

    def map(self, offset: int, length: int, *, writable: bool) -> Mapping:
        self.backend.events.append(("map", offset, length, writable))
        if offset + length > SIZE:
            raise NotSupported(f"{offset:#x} has no memory behind it")

        return Mapping(self.backend.memory if writable else self.backend.read_only, offset)

    def close(self) -> None:
        self.backend.events.append(("close", self.path))


class FakeBackend:
    """One machine of bytes and four slots."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.moved = 0
        self.table = [abi.RangeDesc(0, 0)] * 4
        self.may_wait: Callable[[int | None], bool] = lambda request: False
        self.before_put: Callable[[], object] = lambda: None
        self.memory = os.memfd_create("machine")
        os.ftruncate(self.memory, SIZE)
        os.pwrite(self.memory, TEXT, TEXT_AT)
        self.read_only = os.open(f"/proc/self/fd/{self.memory}", os.O_RDONLY)

    def open(self, path: str, flags: int) -> DeviceSession:
        self.events.append(("open", path, flags & os.O_ACCMODE))
        if path == "/dev/secure" and flags & os.O_ACCMODE != os.O_RDONLY:
            raise NotPermitted("securelevel 1 forbids writing")

        return FakeSession(self, path)

    def get(self, limit: int) -> tuple[int, bytes]:
        if limit <= 0:
            return len(self.table), b""

        count = min(limit, len(self.table))

        return count, abi.LP64.pack_table(self.table[:count])

    def put(self, desc: bytes, operation: int) -> None:
        self.before_put()
        wanted = abi.LP64.unpack(desc)
        if wanted.mr_base % abi.PAGE_SIZE:
            raise InvalidRange(f"base {wanted.mr_base:#x} is not page aligned")

        self.table[0] = wanted

    def close(self) -> None:
        os.close(self.memory)
        os.close(self.read_only)

    def names(self) -> list[object]:
        return [event[0] for event in self.events]


Exec = "Callable[..., tuple[int, str]]"


@pytest.fixture(scope="session")
def facility() -> None:
    """Skips where this kernel or container has no seccomp user notification."""
    backend = FakeBackend()
    try:
        run(["/bin/true"], backend)
    except ShimUnavailable as error:
        pytest.skip(f"cannot run programs here: {error}")
    finally:
        backend.close()


@pytest.fixture
def backend() -> object:
    backend = FakeBackend()
    yield backend
    backend.close()


@pytest.fixture
def execute(
    facility: None, backend: FakeBackend, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs a program on the backend; its status and standard output."""

    def execute(*argv: str, every: bool = False) -> tuple[int, str]:
        capfd.readouterr()
        status = run(
            argv,
            backend,
            device_names=("/dev/mem", "/dev/kmem", "/dev/secure"),
            every_descriptor=every,
        )

        return status, capfd.readouterr().out

    return execute


@pytest.fixture
def python(execute: Callable[..., tuple[int, str]]) -> Callable[..., tuple[int, str]]:
    """Runs Python source on the backend."""

    def python(source: str, *, every: bool = False) -> tuple[int, str]:
        prelude = "import os, sys\nfrom os import *\n"
        code = prelude + textwrap.dedent(source)

        return execute(sys.executable, "-I", "-S", "-c", code, every=every)

    return python


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Compiles a C program of `programs/`; its path."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")

    where = tmp_path_factory.mktemp("programs")

    def build(name: str) -> str:
        target = where / name
        command = [compiler, "-Wall", "-O1", "-o", str(target), str(PROGRAMS / f"{name}.c")]
        subprocess.run(command, check=True)

        return str(target)

    return build


def tool(name: str) -> str:
    """The path of a program of the host, or a skip."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} here")

    return path


@pytest.mark.parametrize("encoding", ["bsd", "linux"])
def test_a_c_program_sets_and_lists_ranges(
    execute: Callable[..., tuple[int, str]],
    compiled: Callable[[str], str],
    backend: FakeBackend,
    encoding: str,
) -> None:
    """Both encodings of the requests arrive, with their nested descriptors, and so do errors."""
    status, out = execute(compiled("memrange"), "/dev/mem", encoding)

    assert status == 0
    assert out.splitlines() == [
        "set ok",
        "set Invalid argument",
        "set Operation not supported",
        "count ok 4",
        "get ok 4",
        "0 0x100000 0x100000 0x2 cprog",
    ]
    assert backend.table[0] == abi.RangeDesc(0x100000, 0x100000, 2, b"cprog\0\0\0")
    assert backend.events[0] == ("open", "/dev/mem", os.O_RDONLY)


def test_pointers_that_lead_nowhere_are_efault_and_foreign_requests_enotty(
    execute: Callable[..., tuple[int, str]], compiled: Callable[[str], str], backend: FakeBackend
) -> None:
    """A bad argument or a bad mo_desc fails as it would in a kernel."""
    before = list(backend.table)
    status, out = execute(compiled("memrange"), "/dev/mem", "bad")

    assert (status, before) == (0, backend.table)
    assert out.splitlines() == [
        "get Bad address",
        "set Bad address",
        "argument Bad address",
        "unknown Inappropriate ioctl for device",
    ]


def test_dd_reads_at_an_offset(execute: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """dd puts the device on standard input and seeks there."""
    target = tmp_path / "out"
    status, _ = execute(
        tool("dd"), "if=/dev/mem", f"of={target}", "bs=16", "skip=256", "count=2", "status=none"
    )

    assert status == 0
    assert target.read_bytes() == TEXT.ljust(32, b"\0")


def test_dd_writes_at_an_offset(
    execute: Callable[..., tuple[int, str]], backend: FakeBackend, tmp_path: Path
) -> None:
    """dd puts the device on standard output, for writing only, and seeks there."""
    source = tmp_path / "in"
    source.write_bytes(b"0123456789abcdef")
    status, _ = execute(
        tool("dd"), f"if={source}", "of=/dev/mem", "bs=8", "seek=512", "status=none"
    )

    assert status == 0
    assert os.pread(backend.memory, 16, 4096) == b"0123456789abcdef"
    assert backend.events[0] == ("open", "/dev/mem", os.O_WRONLY)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["hexdump", "-C", "-s", "4096", "-n", "16", "/dev/mem"], "68 65 6c 6c 6f 2c 20 70"),
        (["xxd", "-s", "4096", "-l", "16", "/dev/mem"], "6865 6c6c 6f2c 2070"),
        (["od", "-A", "x", "-t", "x1", "-j", "4096", "-N", "16", "/dev/mem"], "68 65 6c 6c 6f 2c"),
    ],
)
def test_dump_tools_show_memory(
    execute: Callable[..., tuple[int, str]], command: Sequence[str], expected: str
) -> None:
    """hexdump, xxd and od find their way to an offset, each by its own calls."""
    status, out = execute(tool(command[0]), *command[1:])

    assert status == 0
    assert expected in out


def test_a_shell_redirection_reads_the_device(execute: Callable[..., tuple[int, str]]) -> None:
    """Standard input of a pipeline's process may be the device."""
    status, out = execute(
        "/bin/sh", "-c", "dd bs=4096 count=2 status=none </dev/mem | tail -c 4096"
    )

    assert status == 0
    assert out.startswith(TEXT.decode())


def test_python_reads_writes_and_seeks(
    python: Callable[..., tuple[int, str]], backend: FakeBackend
) -> None:
    """Positioned transfers leave the offset alone, the others move it."""
    status, out = python(
        """
        fd = open("/dev/mem", O_RDWR)
        print(pread(fd, 5, 4096), lseek(fd, 0, SEEK_CUR))
        print(lseek(fd, 4096, SEEK_SET), read(fd, 5), lseek(fd, 2, SEEK_CUR), read(fd, 8))
        print(pwrite(fd, b"HELLO", 4096), lseek(fd, 0, SEEK_CUR))
        buffers = [bytearray(2), bytearray(3)]
        print(preadv(fd, buffers, 4096), buffers, lseek(fd, 0, SEEK_CUR))
        print(lseek(fd, 0x2000, SEEK_SET), writev(fd, [b"ab", b"", b"cd"]), lseek(fd, 0, SEEK_CUR))
        """
    )

    assert status == 0
    assert out.splitlines() == [
        "b'hello' 0",
        "4096 b'hello' 4103 b'physical'",
        "5 4111",
        "5 [bytearray(b'HE'), bytearray(b'LLO')] 4111",
        "8192 4 8196",
    ]
    assert os.pread(backend.memory, 4, 0x2000) == b"abcd"


def test_python_file_objects_and_ioctl(python: Callable[..., tuple[int, str]]) -> None:
    """open() and fcntl.ioctl work, and fstat shows a character device of the right mode."""
    status, out = python(
        """
        import fcntl, stat, struct, builtins
        with builtins.open("/dev/mem", "rb") as device:
            device.seek(4103)
            print(device.read(8), stat.S_ISCHR(fstat(device.fileno()).st_mode))
            print(fcntl.fcntl(device, fcntl.F_GETFL) & O_ACCMODE == O_RDONLY, device.isatty())
            op = bytearray(16)
            fcntl.ioctl(device, 0xC0106D32, op)
            print(struct.unpack("<Qii", op))
        """
    )

    assert status == 0
    assert out.splitlines() == ["b'physical' True", "True False", "(0, 4, 0)"]


def test_access_modes_are_kept(python: Callable[..., tuple[int, str]]) -> None:
    """Reading a device opened for writing, and the other way round, is EBADF."""
    status, out = python(
        """
        for flags, call in ((O_WRONLY, lambda fd: read(fd, 1)), (O_RDONLY, lambda fd: write(fd, b"x"))):
            try:
                call(open("/dev/mem", flags))
            except OSError as error:
                print(error.strerror)
        """
    )

    assert (status, out.splitlines()) == (0, ["Bad file descriptor"] * 2)


def test_a_refused_open_reaches_the_program(python: Callable[..., tuple[int, str]]) -> None:
    """The backend's errno is what open(2) fails with; other files open as ever."""
    status, out = python(
        """
        for flags in (O_RDWR, O_RDONLY | O_DIRECTORY, O_WRONLY | O_CREAT | O_EXCL):
            try:
                open("/dev/secure", flags)
            except OSError as error:
                print(error.strerror)
        print(open("/dev/secure", O_RDONLY) > 2, open("/dev/null", O_RDONLY) > 2)
        """
    )

    assert status == 0
    assert out.splitlines() == [
        "Operation not permitted",
        "Not a directory",
        "File exists",
        "True True",
    ]


def test_names_are_recognised_however_they_are_written(
    python: Callable[..., tuple[int, str]], backend: FakeBackend
) -> None:
    """Relative paths, dots and reopened descriptors lead to the device; other files do not."""
    status, _ = python(
        """
        chdir("/dev")
        directory = open("/", O_RDONLY)
        first = open("mem", O_RDONLY)
        open("dev/kmem", O_RDONLY, dir_fd=directory)
        open("/dev/../dev//mem", O_RDONLY)
        open(f"/proc/self/fd/{first}", O_RDONLY)
        """
    )

    opened = [event[1] for event in backend.events if event[0] == "open"]
    assert (status, opened) == (0, ["/dev/mem", "/dev/kmem", "/dev/mem", "/dev/mem"])


def test_errors_after_progress_advance_the_offset(
    python: Callable[..., tuple[int, str]], backend: FakeBackend
) -> None:
    """An error that says how far it came (i386) moves the offset by that."""
    backend.moved = 0x123
    status, out = python(
        f"""
        fd = open("/dev/mem", O_RDONLY)
        lseek(fd, {SIZE}, SEEK_SET)
        try:
            read(fd, 4096)
        except OSError as error:
            print(error.strerror, hex(lseek(fd, 0, SEEK_CUR)))
        """
    )

    assert (status, out) == (0, f"Bad address {SIZE + 0x123:#x}\n")


def test_kernel_addresses_can_be_sought(python: Callable[..., tuple[int, str]]) -> None:
    """Offsets are unsigned: what does not fit a signed one still arrives at the device."""
    status, out = python(
        """
        import ctypes
        seek = ctypes.CDLL(None, use_errno=True).lseek
        seek.argtypes, seek.restype = (ctypes.c_int, ctypes.c_uint64, ctypes.c_int), ctypes.c_uint64
        fd = open("/dev/kmem", O_RDONLY)
        print(hex(seek(fd, 0xFFFFFFFF80000000, 0)))
        try:
            read(fd, 4)
        except OSError as error:
            print(error.strerror)
        """
    )

    assert (status, out) == (0, "0xffffffff80000000\nBad address\n")


def test_mapped_memory_is_the_machines(
    python: Callable[..., tuple[int, str]], backend: FakeBackend
) -> None:
    """A shared mapping reads and writes the machine's memory itself, with no call between."""
    status, out = python(
        """
        import mmap
        fd = open("/dev/mem", O_RDWR)
        shared = mmap.mmap(fd, 8192, mmap.MAP_SHARED, offset=4096)
        print(shared[:5])
        shared[4096:4100] = b"mine"
        print(pread(fd, 4, 8192), sorted(listdir("/proc/self/fd")) == sorted(set("0123") | {str(fd)}))
        """
    )

    assert (status, out) == (0, "b'hello'\nb'mine' True\n")
    assert ("map", 4096, 8192, True) in backend.events
    assert os.pread(backend.memory, 4, 8192) == b"mine"


def test_mappings_end_at_the_rights_of_the_descriptor(
    python: Callable[..., tuple[int, str]], backend: FakeBackend
) -> None:
    """A device opened for reading maps for reading, now and after mprotect."""
    status, out = python(
        f"""
        import ctypes, mmap
        fd = open("/dev/mem", O_RDONLY)
        for length, prot, offset in ((4096, 3, 4096), (4096, 1, {SIZE})):
            try:
                mmap.mmap(fd, length, mmap.MAP_SHARED, prot, offset=offset)
            except OSError as error:
                print(error.strerror)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
        at = libc.mmap(None, 4096, 1, 1, fd, 4096)
        print(ctypes.string_at(at, 5))
        libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        print(libc.mprotect(at, 4096, 3), strerror(ctypes.get_errno()))
        """
    )

    assert status == 0
    assert out.splitlines() == [
        "Permission denied",
        "Operation not supported",
        "b'hello'",
        "-1 Permission denied",
    ]


def test_copies_share_the_offset_and_the_session(
    python: Callable[..., tuple[int, str]], backend: FakeBackend
) -> None:
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
    python: Callable[..., tuple[int, str]], backend: FakeBackend
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


def test_a_killed_child_closes_its_session(
    python: Callable[..., tuple[int, str]], backend: FakeBackend
) -> None:
    """SIGKILL closes what the process held, and its parent goes on."""
    status, _ = python(
        """
        ready, told = pipe()
        child = fork()
        if not child:
            open("/dev/kmem", O_RDONLY)
            write(told, b"x")
            while True:
                read(ready + 0, 0) or __import__("signal").pause()
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


def test_a_descriptor_survives_exec(execute: Callable[..., tuple[int, str]]) -> None:
    """A program hands its device to the next one."""
    source = "import os; fd = os.open('/dev/mem', 0); os.dup2(fd, 0); os.lseek(0, 4096, 0); "
    source += "os.execv('/usr/bin/env', ['env', 'head', '-c', '5'])"
    status, out = execute(sys.executable, "-I", "-S", "-c", source)

    assert (status, out) == (0, "hello")


def test_low_numbers_fail_loudly_and_work_when_every_descriptor_is_watched(
    python: Callable[..., tuple[int, str]],
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


def test_a_call_that_waits_holds_up_nobody_else(
    python: Callable[..., tuple[int, str]], backend: FakeBackend
) -> None:
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


def test_a_program_without_devices_runs_as_ever(
    execute: Callable[..., tuple[int, str]], backend: FakeBackend
) -> None:
    """Output, arguments and environment are the program's own; the backend hears nothing."""
    assert execute("/bin/echo", "two  words", "$HOME") == (0, "two  words $HOME\n")
    assert execute(tool("env"))[1].splitlines() == [f"{k}={v}" for k, v in os.environ.items()]
    assert backend.events == []


def test_status_and_signals_are_the_programs(execute: Callable[..., tuple[int, str]]) -> None:
    """The exit status is passed on; a signal shows as 128 plus its number."""
    assert execute("/bin/sh", "-c", "exit 42")[0] == 42
    assert execute("/bin/sh", "-c", "kill -TERM $$")[0] == 128 + signal.SIGTERM
    assert execute("/bin/sh", "-c", "yes | head -n 1")[0] == 0


def test_a_program_that_cannot_start_says_why(
    execute: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """127 for no such program, 126 for one that cannot be executed, as env(1) has it."""
    plain = tmp_path / "plain"
    plain.write_text("no program")

    assert execute("memhub-no-such-program")[0] == 127
    assert execute(str(plain))[0] == 126


def test_signals_are_passed_on(
    execute: Callable[..., tuple[int, str]], backend: FakeBackend
) -> None:
    """SIGTERM to the supervisor ends the program; its device is closed."""
    backend.may_wait = lambda request: bool(os.kill(os.getpid(), signal.SIGTERM))
    status, _ = execute("/bin/sh", "-c", "head -c 1 </dev/mem >/dev/null; exec sleep 60")

    assert status == 128 + signal.SIGTERM
    assert backend.names()[-1] == "close"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a convention of x86-64")
def test_a_32_bit_call_is_refused(
    execute: Callable[..., tuple[int, str]],
    compiled: Callable[[str], str],
    backend: FakeBackend,
) -> None:
    """What could slip past the filter is killed, and the reason given."""
    lines: list[str] = []
    status = run([compiled("compat")], backend, complain=lines.append)

    assert status == 128 + signal.SIGKILL
    assert "only 64-bit x86_64 programs can be run" in lines[0]


def test_one_inside_the_other_is_refused_with_the_reason(
    execute: Callable[..., tuple[int, str]],
) -> None:
    """The kernel serves one listener per process; the error says so."""
    status, out = execute(
        sys.executable,
        "-c",
        "from memhub.service.shim import run, ShimUnavailable\n"
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
