"""The host's own devices stay out of a program's reach, however it gets at them."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memhub.exec import run
from memhub.exec.host import HostDevices, check_allowed, inherited_device, refusal_line

if TYPE_CHECKING:
    from exec.exec_rig import FakeBackend, MakeNode, Opened


@pytest.fixture
def mtrr() -> str:
    if not Path("/proc/mtrr").exists():
        pytest.skip("no /proc/mtrr here")

    return "/proc/mtrr"


@pytest.mark.parametrize(
    ("major", "minor", "name"), [(1, 4, "port"), (202, 0, "msr"), (202, 17, "msr")]
)
def test_device_nodes_that_act_on_the_host_are_refused(
    opened: Opened,
    make_node: MakeNode,
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
    opened: Opened, make_node: MakeNode, lines: list[str]
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
    opened: Opened,
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


def test_a_procfs_mounted_elsewhere_is_the_same(opened: Opened, tmp_path: Path, mtrr: str) -> None:
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
    opened: Opened, lines: list[str], mtrr: str
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


def test_port_access_is_refused_and_giving_it_up_is_not(opened: Opened, lines: list[str]) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("calls of x86-64")

    library = ctypes.CDLL(None, use_errno=True)
    answers = {0: "0", -1: "ENOSYS"}  # a kernel built without port access
    given_up = answers[library.syscall(172, 0)]
    source = "print(call(172, 3), call(172, 0), call(173, 0x80, 1, 1), call(173, 0x80, 1, 0))"
    assert opened(source) == [f"EACCES {given_up} EACCES {given_up}"]
    assert lines == [refusal_line("iopl", "ioport"), refusal_line("ioperm", "ioport")]


def test_io_uring_is_absent(opened: Opened) -> None:
    """What it opens or reads passes no filter."""
    shown = opened("print([call(number, 1, bytes(256), 0, 0, 0, 0) for number in (425, 426, 427)])")

    assert shown == ["['ENOSYS', 'ENOSYS', 'ENOSYS']"]


def test_the_program_has_no_leave_for_raw_access_unless_allowed(
    opened: Opened,
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


def test_the_hosts_memory_in_procfs_is_refused(opened: Opened, lines: list[str]) -> None:
    """/proc/kcore shows it as an ELF file."""
    if not Path("/proc/kcore").exists():
        pytest.skip("no /proc/kcore here")

    assert opened("print(opened('/proc/self/root/proc/kcore'))") == ["EACCES"]
    assert lines == [refusal_line("opening /proc/self/root/proc/kcore", "kcore")]
