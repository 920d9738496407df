"""The seccomp filter, run by an interpreter of its own on both machines."""

from __future__ import annotations

import errno
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.abi import LP64
from memhub.exec.filter import MTRR_REQUESTS, Window, build
from memhub.exec.kernel import RET_ALLOW, RET_ERRNO, RET_USER_NOTIF
from memhub.exec.machine import AARCH64, X86_64, MachineABI

MACHINES = (X86_64, AARCH64)
WINDOW = Window(896, 1024)
EVERY = Window(896, 1024, every=True)
MINUS_ONE = 0xFFFFFFFF
AT_FDCWD = 0xFFFFFF9C
ABSENT = RET_ERRNO | errno.ENOSYS

machines = pytest.mark.parametrize("abi", MACHINES, ids=lambda abi: abi.name)


def verdict(abi: MachineABI, window: Window, nr: int, *args: int, arch: int | None = None) -> int:
    """What the kernel would decide: classic BPF over `struct seccomp_data`."""
    words = [*args, *[0] * (6 - len(args))]
    data = struct.pack("<iIQ6Q", nr, abi.audit_arch if arch is None else arch, 0, *words)
    code = list(struct.iter_unpack("<HBBI", build(abi, window)))
    accumulator: int = 0
    at: int = 0
    while True:
        operation, true, false, operand = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, operand)
            case 0x15:
                at += true if accumulator == operand else false
            case 0x35:
                at += true if accumulator >= operand else false
            case 0x06:
                assert operand in (RET_ALLOW, RET_USER_NOTIF, ABSENT)
                return int(operand)
            case _:
                raise AssertionError(f"instruction {operation:#x}")


def trapped(abi: MachineABI, window: Window, nr: int, *args: int, arch: int | None = None) -> bool:
    """Whether the supervisor is asked."""
    return verdict(abi, window, nr, *args, arch=arch) == RET_USER_NOTIF


@machines
def test_every_open_is_looked_at(abi: MachineABI) -> None:
    """A filter cannot read a path; nor can it tell what a handle or a pidfd stands for."""
    opens = {"open", "openat", "openat2", "creat", "open_by_handle_at", "pidfd_getfd"}
    for name in opens & abi.calls.keys():
        assert trapped(abi, WINDOW, abi.calls[name], AT_FDCWD, 0x7FFF_0000)


@machines
@given(fd=st.integers(0, 2000))
def test_transfers_are_trapped_in_the_window_and_on_standard_input_or_output(
    abi: MachineABI, fd: int
) -> None:
    """Reads of anything but 0 and the window are free, writes of anything but 1 and it."""
    inside = WINDOW.first <= fd < WINDOW.end
    for name in ("read", "pread64", "readv", "preadv", "preadv2"):
        assert trapped(abi, WINDOW, abi.calls[name], fd) == (inside or fd == 0)

    for name in ("write", "pwrite64", "writev", "pwritev", "pwritev2"):
        assert trapped(abi, WINDOW, abi.calls[name], fd) == (inside or fd == 1)

    for name in ("lseek", "fstat", "newfstatat", "statx"):
        assert trapped(abi, WINDOW, abi.calls[name], fd) == (inside or fd <= 1)

    assert trapped(abi, WINDOW, abi.calls["dup"], fd) == inside
    assert trapped(abi, WINDOW, abi.calls["mmap"], 0, 0, 0, 0, fd) == (inside or fd <= 1)


@machines
def test_what_names_no_descriptor_is_free(abi: MachineABI) -> None:
    """Anonymous mappings and stat by path cost nothing, in either mode."""
    for window in (WINDOW, EVERY):
        assert not trapped(abi, window, abi.calls["mmap"], 0, 4096, 3, 0x22, MINUS_ONE)
        assert not trapped(abi, window, abi.calls["mmap"], 0, 4096, 3, 0x22, (1 << 64) - 1)
        assert not trapped(abi, window, abi.calls["newfstatat"], AT_FDCWD)
        assert not trapped(abi, window, abi.calls["close"], 900)


@machines
def test_the_scratch_number_is_never_trapped(abi: MachineABI) -> None:
    """The supervisor's own mmap in the program must not come back to it."""
    for window in (WINDOW, EVERY):
        assert not trapped(abi, window, abi.calls["mmap"], 0, 0, 0, 0, window.scratch)


@machines
@given(fd=st.integers(0, 2000))
def test_watching_every_descriptor_traps_all_transfers(abi: MachineABI, fd: int) -> None:
    """All but the scratch number's."""
    for name in ("read", "write", "pread64", "lseek"):
        assert trapped(abi, EVERY, abi.calls[name], fd) == (fd != EVERY.scratch)


@machines
@given(fd=st.integers(0, 2000), upper=st.sampled_from([0, 0xFFFFFFFF << 32]))
def test_range_requests_are_trapped_on_every_descriptor(
    abi: MachineABI, fd: int, upper: int
) -> None:
    """MEMRANGE ioctls by number, sign extended or not; others only in the window."""
    for request in (LP64.get, *LP64.set):
        assert trapped(abi, WINDOW, abi.calls["ioctl"], fd, upper | request)

    inside = WINDOW.first <= fd < WINDOW.end
    assert trapped(abi, WINDOW, abi.calls["ioctl"], fd, 0x1234) == inside
    assert not trapped(abi, WINDOW, abi.calls["ioctl"], fd, 0x5401)


@machines
@given(fd=st.integers(0, 2000), command=st.integers(0, 2000))
def test_fcntl_is_trapped_for_copies_and_status_flags(
    abi: MachineABI, fd: int, command: int
) -> None:
    """Locks, owners and close-on-exec are the kernel's own."""
    watched = (WINDOW.first <= fd < WINDOW.end or fd <= 1) and command in (0, 3, 4, 1030)

    assert trapped(abi, WINDOW, abi.calls["fcntl"], fd, command) == watched


@machines
@given(nr=st.integers(0, 600))
def test_calls_without_a_rule_are_decided_by_number_alone(abi: MachineABI, nr: int) -> None:
    """Whatever the arguments, so that the kernel may remember it."""
    if nr not in abi.calls.values() or nr == abi.calls["close"]:
        assert not any(trapped(abi, WINDOW, nr, fd, LP64.get) for fd in (0, 1, 900))


@machines
def test_what_acts_on_the_host_is_trapped_or_absent(abi: MachineABI) -> None:
    """Port access, range requests of Linux on any descriptor, and io_uring."""
    for name in {"iopl", "ioperm"} & abi.calls.keys():
        assert trapped(abi, WINDOW, abi.calls[name])

    for request in MTRR_REQUESTS:
        assert trapped(abi, WINDOW, abi.calls["ioctl"], 3, request)

    for name in ("io_uring_setup", "io_uring_enter", "io_uring_register"):
        assert verdict(abi, WINDOW, abi.calls[name]) == ABSENT


@machines
def test_other_conventions_are_trapped_whatever_they_call(abi: MachineABI) -> None:
    """32-bit calls, and x32's on x86-64, reach the supervisor, which refuses them."""
    assert trapped(abi, WINDOW, 39, arch=0x40000003)
    assert trapped(abi, WINDOW, 0x40000000 | 39) == (abi is X86_64)


@pytest.mark.skipif(sys.byteorder != "little", reason="the machines are little-endian")
@pytest.mark.parametrize(("abi", "size"), [(X86_64, 144), (AARCH64, 128)])
def test_struct_stat_has_its_size(abi: MachineABI, size: int) -> None:
    """`sizeof(struct stat)` of each machine."""
    assert len(abi.stat(1, 2, 0o020640, 0x101)) == size
