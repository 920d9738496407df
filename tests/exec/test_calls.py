"""Unmodified programs whose /dev/mem is a backend's: what their calls do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from exec.exec_rig import SIZE, TEXT, Execute, FakeBackend, tool
from memhub import abi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@pytest.mark.parametrize("encoding", ["bsd", "linux"])
def test_a_c_program_sets_and_lists_ranges(
    execute: Execute,
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
    execute: Execute, compiled: Callable[[str], str], backend: FakeBackend
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


def test_dd_reads_at_an_offset(execute: Execute, tmp_path: Path) -> None:
    """dd puts the device on standard input and seeks there."""
    target = tmp_path / "out"
    status, _ = execute(
        tool("dd"), "if=/dev/mem", f"of={target}", "bs=16", "skip=256", "count=2", "status=none"
    )

    assert status == 0
    assert target.read_bytes() == TEXT.ljust(32, b"\0")


def test_dd_writes_at_an_offset(execute: Execute, backend: FakeBackend, tmp_path: Path) -> None:
    """dd puts the device on standard output, for writing only, and seeks there."""
    source = tmp_path / "in"
    source.write_bytes(b"0123456789abcdef")
    status, _ = execute(
        tool("dd"), f"if={source}", "of=/dev/mem", "bs=8", "seek=512", "status=none"
    )

    assert status == 0
    assert os.pread(backend.memory, 16, 4096) == b"0123456789abcdef"
    assert backend.events[1:3] == [("pwrite", b"01234567", 4096), ("pwrite", b"89abcdef", 4104)]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["hexdump", "-C", "-s", "4096", "-n", "16", "/dev/mem"], "68 65 6c 6c 6f 2c 20 70"),
        (["xxd", "-s", "4096", "-l", "16", "/dev/mem"], "6865 6c6c 6f2c 2070"),
        (["od", "-A", "x", "-t", "x1", "-j", "4096", "-N", "16", "/dev/mem"], "68 65 6c 6c 6f 2c"),
    ],
)
def test_dump_tools_show_memory(execute: Execute, command: Sequence[str], expected: str) -> None:
    """hexdump, xxd and od find their way to an offset, each by its own calls."""
    status, out = execute(tool(command[0]), *command[1:])

    assert status == 0
    assert expected in out


def test_a_shell_redirection_reads_the_device(execute: Execute) -> None:
    """Standard input of a pipeline's process may be the device."""
    status, out = execute(
        "/bin/sh", "-c", "dd bs=4096 count=2 status=none </dev/mem | tail -c 4096"
    )

    assert status == 0
    assert out.startswith(TEXT.decode())


def test_python_reads_writes_and_seeks(python: Execute, backend: FakeBackend) -> None:
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


def test_python_file_objects_and_ioctl(python: Execute) -> None:
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


def test_access_modes_are_kept(python: Execute) -> None:
    """Reading a device opened for writing, and the other way round, is EBADF."""
    status, out = python(
        """
        for flags, call, argument in ((O_WRONLY, read, 1), (O_RDONLY, write, b"x")):
            try:
                call(open("/dev/mem", flags), argument)
            except OSError as error:
                print(error.strerror)
        """
    )

    assert (status, out.splitlines()) == (0, ["Bad file descriptor"] * 2)


def test_a_refused_open_reaches_the_program(python: Execute) -> None:
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
    python: Execute, backend: FakeBackend
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


def test_errors_after_progress_advance_the_offset(python: Execute, backend: FakeBackend) -> None:
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


def test_the_end_of_a_device_is_its_start(python: Execute) -> None:
    """SEEK_END counts from the size, which is 0; there are no data and no holes to seek."""
    status, out = python(
        """
        import os
        fd = open("/dev/mem", O_RDONLY)
        print(lseek(fd, 4096, os.SEEK_END))
        try:
            lseek(fd, 0, os.SEEK_DATA)
        except OSError as error:
            print(error.strerror)
        """
    )

    assert (status, out) == (0, "4096\nInappropriate ioctl for device\n")


def test_kernel_addresses_can_be_sought(python: Execute) -> None:
    """Offsets are unsigned: what does not fit a signed one still arrives at the device."""
    status, out = python(
        """
        import ctypes
        seek = ctypes.CDLL(None, use_errno=True).lseek
        seek.argtypes, seek.restype = (ctypes.c_int, ctypes.c_uint64, ctypes.c_int), ctypes.c_uint64
        fd = open("/dev/kmem", O_RDONLY)
        for address in (1 << 63, 0xFFFFFFFF80000000, 0xFFFFFFFFFFFFF000, 0xFFFFFFFFFFFFF001):
            ctypes.set_errno(0)
            print(hex(seek(fd, address, 0)), ctypes.get_errno())
        try:
            read(fd, 4)
        except OSError as error:
            print(error.strerror)
        """
    )

    assert status == 0
    assert out.splitlines() == [
        "0x8000000000000000 0",
        "0xffffffff80000000 0",
        "0xfffffffffffff000 0",
        "0xffffffffffffffff 75",  # EOVERFLOW: the result would be taken for an error
        "Bad address",
    ]


def test_mapped_memory_is_the_machines(python: Execute, backend: FakeBackend) -> None:
    """A shared mapping reads and writes the machine's memory itself, with no call between."""
    status, out = python(
        """
        import mmap
        fd = open("/dev/mem", O_RDWR)
        shared = mmap.mmap(fd, 8192, mmap.MAP_SHARED, offset=4096)
        print(shared[:5])
        shared[4096:4100] = b"mine"
        print(pread(fd, 4, 8192))
        print([number for number in map(int, listdir("/proc/self/fd")) if 3 < number < fd])
        """
    )

    assert (status, out) == (0, "b'hello'\nb'mine'\n[]\n")
    assert ("map", 4096, 8192, True) in backend.events
    assert os.pread(backend.memory, 4, 8192) == b"mine"


def test_mappings_end_at_the_rights_of_the_descriptor(
    python: Execute, backend: FakeBackend
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
