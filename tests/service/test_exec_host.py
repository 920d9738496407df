"""The host's own devices stay out of a program's reach, however it gets at them."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memhub.service.shim import run
from memhub.service.shim.host import HostDevices, check_allowed, inherited_device, refusal_line
from service.exec_rig import TEXT, FakeBackend

if TYPE_CHECKING:
    from collections.abc import Callable

#: Makes `opened(...)`, which says what an open gives: the machine's text, or an error's name.
OPENED = """
import errno, socket, struct, threading, ctypes

def opened(path, flags=O_RDONLY, **more):
    try:
        fd = open(path, flags, **more)
    except OSError as error:
        return errno.errorcode[error.errno]
    try:
        return pread(fd, 5, 4096).decode()
    except OSError as error:
        return "read " + errno.errorcode[error.errno]
    finally:
        close(fd)

libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
"""


@pytest.fixture
def lines() -> list[str]:
    """What the person who runs the program is told."""
    return []


@pytest.fixture
def opened(
    facility: None, backend: FakeBackend, lines: list[str], capfd: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Runs Python source that has `opened` and `call`; the lines that it prints."""

    def opened(source: str, **more: object) -> list[str]:
        code = f"import os, sys\nfrom os import *\n{OPENED}\n{source}"
        words = [sys.executable, "-I", "-S", "-c", code]
        assert run(words, backend, complain=lines.append, **more) == 0  # type: ignore[arg-type]

        return capfd.readouterr().out.splitlines()

    return opened


@pytest.fixture
def make_node(tmp_path: Path) -> Callable[[int, int], str]:
    """Makes a character device; its path."""

    def make(major: int, minor: int) -> str:
        path = tmp_path / f"node-{major}-{minor}"
        try:
            os.mknod(path, 0o020600, os.makedev(major, minor))
        except PermissionError:
            pytest.skip("no leave to make device nodes")

        return str(path)

    return make


@pytest.fixture
def mtrr() -> str:
    if not Path("/proc/mtrr").exists():
        pytest.skip("no /proc/mtrr here")

    return "/proc/mtrr"


# The machine's device, by any path


@pytest.mark.parametrize(
    "path",
    [
        "//dev/mem",
        "///dev//./mem",
        "/proc/self/root/dev/mem",
        "/proc/thread-self/root/dev/mem",
        "/proc/self/cwd/mem",
        "/proc/self/task/../root/dev/mem",
        "/proc/1/../../dev/mem",
        "/proc/self/../../dev/mem",
        "/dev/fd/../root/dev/mem",
        "./mem",
        "../dev/mem",
        "{tmp}/link",
        "{tmp}/chain",
        "{tmp}/relative",
        "{tmp}/folder/mem",
        "{tmp}/folder/../dev/mem",
        "{tmp}/through",
    ],
)
def test_every_spelling_of_the_device_is_the_machines(
    opened: Callable[..., list[str]], tmp_path: Path, path: str
) -> None:
    """By links, linked directories, /proc and dots, in the main thread and in another."""
    (tmp_path / "link").symlink_to("/dev/mem")
    (tmp_path / "chain").symlink_to("link")
    (tmp_path / "relative").symlink_to(os.path.relpath("/dev/mem", tmp_path.resolve()))
    (tmp_path / "folder").symlink_to("/dev")
    (tmp_path / "through").symlink_to("/proc/thread-self/cwd/mem")
    shown = opened(
        f"""
chdir("/dev")
path = {path.format(tmp=tmp_path)!r}
thread = threading.Thread(target=lambda: print(opened(path), opened(path, O_RDWR | O_CREAT)))
thread.start()
thread.join()
print(opened(path))
"""
    )

    assert shown == ["hello hello", "hello"]


def test_descriptors_of_directories_lead_to_the_machines_device(
    opened: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "folder").symlink_to("/dev")
    shown = opened(
        f"""
for base, rest in (("/", "dev/mem"), ("/dev", "mem"), ("/proc/self/root", "dev/mem"),
                   ({str(tmp_path)!r}, "folder/mem"), ("/proc/self", "root/dev/mem")):
    print(opened(rest, dir_fd=open(base, O_RDONLY | O_DIRECTORY)))
print(opened("mem", dir_fd=open({str(tmp_path / "folder")!r}, O_PATH)))
"""
    )

    assert shown == ["hello"] * 6


def test_a_node_of_the_same_number_is_the_machines_device(
    opened: Callable[..., list[str]], make_node: Callable[[int, int], str], tmp_path: Path
) -> None:
    """Made outside or by the program itself; also by a descriptor that only names it."""
    path = make_node(1, 1)
    shown = opened(
        f"""
path, made = {path!r}, {path!r} + "-made"
mknod(made, 0o020600, makedev(1, 1))
link(made, made + "-linked")
named = open(path, O_PATH)
print(opened(path), opened(made), opened(made + "-linked"), opened(f"/proc/self/fd/{{named}}"))
"""
    )

    assert shown == ["hello hello hello hello"]


def test_a_handle_of_a_node_opens_the_machines_device(
    opened: Callable[..., list[str]], make_node: Callable[[int, int], str]
) -> None:
    """open_by_handle_at has no path to look at."""
    shown = opened(
        f"""
path = {make_node(1, 1)!r}
handle = ctypes.create_string_buffer(struct.pack("<Ii", 120, 0), 128)
mount = ctypes.c_int()
if libc.name_to_handle_at(-100, path.encode(), handle, ctypes.byref(mount), 0):
    print("no handles here")
else:
    folder = open(path.rpartition("/")[0], O_RDONLY)
    fd = libc.open_by_handle_at(folder, handle, O_RDONLY)
    print(pread(fd, 5, 4096) if fd >= 0 else errno.errorcode[ctypes.get_errno()])
"""
    )
    if shown == ["no handles here"]:
        pytest.skip("this file system has no handles")

    assert shown == [str(TEXT[:5])]


def test_other_roots_and_mounts_are_the_programs_own(
    opened: Callable[..., list[str]], make_node: Callable[[int, int], str], tmp_path: Path
) -> None:
    """After chroot, a path is looked up below the new root, links included."""
    if os.geteuid():
        pytest.skip("chroot needs root")

    root = tmp_path / "root"
    (root / "dev").mkdir(parents=True)
    (root / "folder").symlink_to("/dev")
    (root / "plain").write_text("x" * 4096 + "plain")
    (root / "odd").symlink_to("../../../../../plain")
    os.link(make_node(1, 1), root / "node")
    shown = opened(
        f"""
chroot({str(root)!r})
chdir("/")
for path in ("/dev/mem", "//dev/mem", "dev/mem", "../../dev/mem", "/folder/mem", "/node", "/odd"):
    print(opened(path))
"""
    )

    assert shown == ["hello"] * 6 + ["plain"]


def test_other_files_are_opened_as_ever(opened: Callable[..., list[str]], tmp_path: Path) -> None:
    """Names that look like a device's, links and files of procfs that are none."""
    (tmp_path / "mem").write_text("x" * 4096 + "plain")
    (tmp_path / "link").symlink_to("mem")
    (tmp_path / "loop").symlink_to("loop")
    shown = opened(
        f"""
chdir({str(tmp_path)!r})
print(opened("mem"), opened("link"), opened("loop"), opened("/dev/mem/"), opened("mem/"))
print(opened("none"), opened("none/mem"), opened("link", O_RDONLY | O_NOFOLLOW), opened(""))
print(opened("new", O_RDWR | O_CREAT | O_EXCL) == "", opened("new", O_RDWR | O_CREAT | O_EXCL))
print(opened("mem", dir_fd=999), opened("mem", dir_fd=open("mem", O_RDONLY)))
print(b"Pid:\\t%d\\n" % getpid() in read(open("/proc/self/status", O_RDONLY), 4096))
"""
    )

    missing = "ENOTDIR" if Path("/dev/mem").exists() else "ENOENT"
    assert shown == [
        f"plain plain ELOOP {missing} ENOTDIR",
        "ENOENT ENOENT ELOOP ENOENT",
        "True EEXIST",
        "EBADF ENOTDIR",
        "True",
    ]


def test_restrictions_of_openat2_hold_for_a_device(
    opened: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "link").symlink_to("/dev/mem")
    shown = opened(
        f"""
def restricted(path, resolve):
    how = struct.pack("<QQQ", O_RDONLY, 0, resolve)
    fd = call(437, folder, path, how, ctypes.c_size_t(24))
    return fd if isinstance(fd, str) else pread(fd, 5, 4096).decode()

folder = open({str(tmp_path)!r}, O_RDONLY)
for path, resolve in ((b"link", 0), (b"link", 4), (b"link", 8), (b"/dev/mem", 8), (b"link", 1),
                      (b"/proc/self/root/dev/mem", 2)):
    print(restricted(path, resolve))
"""
    )

    assert shown[:4] == ["hello", "ELOOP", "EXDEV", "EXDEV"]
    assert shown[5] == "ELOOP"


# What the hub has nothing of its own for


@pytest.mark.parametrize(
    ("major", "minor", "name"), [(1, 4, "port"), (202, 0, "msr"), (202, 17, "msr")]
)
def test_device_nodes_that_act_on_the_host_are_refused(
    opened: Callable[..., list[str]],
    make_node: Callable[[int, int], str],
    lines: list[str],
    tmp_path: Path,
    major: int,
    minor: int,
    name: str,
) -> None:
    """EACCES and a line; what the kernel says (ENXIO without the driver) once it is allowed."""
    path = make_node(major, minor)
    (tmp_path / "link").symlink_to(path)
    source = f"print(opened({path!r}), opened({str(tmp_path / 'link')!r}, O_RDWR))"

    assert opened(source) == ["EACCES EACCES"]
    assert lines == [
        refusal_line(f"opening {path}", name),
        refusal_line(f"opening {tmp_path / 'link'}", name),
    ]
    assert "EACCES" not in opened(source, allow_host=[name])[0]
    assert len(lines) == 2


def test_kernel_memory_that_no_machine_serves_is_refused(
    opened: Callable[..., list[str]], make_node: Callable[[int, int], str], lines: list[str]
) -> None:
    path = make_node(1, 2)

    assert opened(f"print(opened({path!r}))", device_names=["/dev/mem"]) == ["EACCES"]
    assert "no machine's kmem is given to this program" in lines[0]


@pytest.mark.parametrize(
    "path",
    [
        "/proc/mtrr",
        "//proc/mtrr",
        "/proc/self/../mtrr",
        "/proc/self/root/proc/mtrr",
        "/proc/thread-self/../../../mtrr",
        "{tmp}/link",
        "{tmp}/folder/mtrr",
    ],
)
@pytest.mark.parametrize("mode", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
def test_the_hosts_range_registers_are_refused(
    opened: Callable[..., list[str]],
    lines: list[str],
    tmp_path: Path,
    mtrr: str,
    path: str,
    mode: int,
) -> None:
    (tmp_path / "link").symlink_to(mtrr)
    (tmp_path / "folder").symlink_to("/proc")
    path = path.format(tmp=tmp_path)

    assert opened(f"print(opened({path!r}, {mode}))") == ["EACCES"]
    assert lines == [refusal_line(f"opening {path}", "mtrr")]


def test_a_procfs_mounted_elsewhere_is_the_same(
    opened: Callable[..., list[str]], tmp_path: Path, mtrr: str
) -> None:
    """Also one of a new process namespace, and a bind mount of the file alone."""
    if os.geteuid():
        pytest.skip("mounting needs root")

    (tmp_path / "proc").mkdir()
    (tmp_path / "file").touch()
    shown = opened(
        f"""
unshared = libc.unshare(0x20020000)  # CLONE_NEWNS | CLONE_NEWPID
private = libc.mount(b"none", b"/", None, 0x44000, None)
if unshared or private:
    print("no mounts here")
    _exit(0)
if not fork():
    there = {str(tmp_path)!r}
    made = libc.mount(b"proc", there.encode() + b"/proc", b"proc", 0, None)
    bound = libc.mount(b"/proc/mtrr", there.encode() + b"/file", None, 4096, None)
    print(made, bound, opened(there + "/proc/mtrr"), opened(there + "/file"), flush=True)
    print(opened(there + "/proc/self/root/dev/mem"), flush=True)
    _exit(0)
wait()
"""
    )
    if shown == ["no mounts here"]:
        pytest.skip("no mounts here")

    assert shown == ["0 0 EACCES EACCES", "hello"]


def test_range_requests_of_linux_are_refused_by_number(
    opened: Callable[..., list[str]], lines: list[str], mtrr: str
) -> None:
    """On a descriptor that came from elsewhere too; other files do not know the requests."""
    descriptor = os.open(mtrr, os.O_RDONLY)
    try:
        shown = opened(
            f"""
import fcntl
def request(fd):
    results = set()
    for number in (*(0x40104D00 | n for n in (0, 1, 2, 4, 5, 6, 7, 9)), 0xC0184D03, 0xC0184D08):
        try:
            fcntl.ioctl(fd, number, bytearray(24))
            results.add("ok")
        except OSError as error:
            results.add(errno.errorcode[error.errno])
    return results
there = call(438, pidfd_open({os.getpid()}), {descriptor}, 0)
print(there, request(open("/dev/null", O_RDONLY)), request(900))
"""
        )
    finally:
        os.close(descriptor)

    assert shown == ["EACCES {'ENOTTY'} {'EBADF'}"]
    assert lines == [refusal_line("taking a descriptor of another process", "mtrr")]


def test_port_access_is_refused_and_giving_it_up_is_not(
    opened: Callable[..., list[str]], lines: list[str]
) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("calls of x86-64")

    library = ctypes.CDLL(None, use_errno=True)
    answers = {0: "0", -1: "ENOSYS"}  # a kernel built without port access
    given_up = answers[library.syscall(172, 0)]
    source = "print(call(172, 3), call(172, 0), call(173, 0x80, 1, 1), call(173, 0x80, 1, 0))"
    assert opened(source) == [f"EACCES {given_up} EACCES {given_up}"]
    assert lines == [refusal_line("iopl", "ioport"), refusal_line("ioperm", "ioport")]


def test_io_uring_is_absent(opened: Callable[..., list[str]]) -> None:
    """What it opens or reads passes no filter."""
    shown = opened("print([call(number, 1, bytes(256), 0, 0, 0, 0) for number in (425, 426, 427)])")

    assert shown == ["['ENOSYS', 'ENOSYS', 'ENOSYS']"]


def test_the_program_has_no_leave_for_raw_access_unless_allowed(
    opened: Callable[..., list[str]],
) -> None:
    """The kernel itself refuses an open that slipped past: CAP_SYS_RAWIO is gone for good."""
    source = """
for line in read(open("/proc/self/status", O_RDONLY), 4096).decode().splitlines():
    if line.startswith(("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb")):
        print(int(line.split()[1], 16) >> 17 & 1)
"""
    mine = Path("/proc/self/status").read_text()
    held = [int(line.split()[1], 16) >> 17 & 1 for line in mine.splitlines() if "CapPrm" in line]

    assert opened(source) == ["0"] * 5
    assert opened(source, allow_host=["mtrr"]) == ["0"] * 5
    assert opened(source, allow_host=["msr"])[1] == str(held[0])


def test_a_standard_stream_that_is_the_hosts_is_refused_at_the_start(
    backend: FakeBackend, mtrr: str, facility: None
) -> None:
    """`memhub exec PROGRAM </proc/mtrr` opens before any filter is there."""
    kept, descriptor = os.dup(0), os.open(mtrr, os.O_RDONLY)
    try:
        os.dup2(descriptor, 0)
        with pytest.raises(ValueError, match="standard input is the host's own /proc/mtrr"):
            run(["/bin/true"], backend)

        assert inherited_device(HostDevices(frozenset({"mtrr"}))) is None
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(descriptor)


@pytest.mark.parametrize("name", ["mem", "kmem"])
def test_the_hosts_memory_cannot_be_allowed(name: str) -> None:
    with pytest.raises(ValueError, match=f"the host's '{name}': /dev/{name} is always the machine"):
        check_allowed([name])


def test_names_that_may_be_allowed_are_a_fixed_list(backend: FakeBackend) -> None:
    assert check_allowed(["msr", "mtrr"]) == {"msr", "mtrr"}
    with pytest.raises(ValueError, match="'disk': not one of mtrr, msr, port, ioport, kcore"):
        run(["/bin/true"], backend, allow_host=["disk"])
