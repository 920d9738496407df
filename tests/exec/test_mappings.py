"""mmap under `memhub exec`: RAM, ROM and holes, on machines here and behind a service."""

from __future__ import annotations

import os
import sys
import textwrap
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from core.test_memory import pages_held
from exec.exec_rig import tool
from exec.firmware import BIOS, MIB, PC
from memhub.abi import MDF_WRITEPROTECT
from memhub.exec import run
from memhub.exec.over_client import ClientBackend
from memhub.service.blocking import BlockingClient
from memhub.service.local import LocalClient
from service.served import served
from shell.kit import ARCHES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from memhub.core.memory.physical import PhysicalMemory

    AnyClient = LocalClient | BlockingClient
    Execute = Callable[..., tuple[int, str]]

PATHS = {"/dev/mem": "/dev/mem"}

#: Makes `mapped(offset, length, prot, flags)`: a mapping, or the name of its error.
PRELUDE = """
import ctypes, errno, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_ulong)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
R, RW, SHARED, PRIVATE = mmap.PROT_READ, mmap.PROT_READ | mmap.PROT_WRITE, 1, 2
fd = os.open("/dev/mem", os.O_RDWR)
def failed():
    return errno.errorcode[ctypes.get_errno()]
def mapped(offset, length, prot=R, flags=SHARED, at=None, fd=fd):
    found = libc.mmap(at, length, prot, flags, fd, offset)
    if found == 2**64 - 1:
        return failed()
    return found
def read(at, size):
    return ctypes.string_at(at, size)
def write(at, data):
    ctypes.memmove(at, data, len(data))
"""


@pytest.fixture(params=["local", "service"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyClient]:
    """The same machine in this process, and behind a socket."""
    with ExitStack() as stack:
        if request.param == "local":
            yield stack.enter_context(LocalClient((PC,), arches=ARCHES))
        else:
            stack.enter_context(served(tmp_path / "lab.sock", PC))
            yield stack.enter_context(BlockingClient(tmp_path / "lab.sock"))


@pytest.fixture
def execute(facility: None, client: AnyClient, capfd: pytest.CaptureFixture[str]) -> Execute:
    def execute(*argv: str, every: bool = False) -> tuple[int, str]:
        capfd.readouterr()
        backend = ClientBackend(client, PATHS)
        status = run(argv, backend, device_names=PATHS, every_descriptor=every)

        return status, capfd.readouterr().out

    return execute


@pytest.fixture
def shown(execute: Execute) -> Callable[..., list[str]]:
    """Runs Python source; the lines that it prints."""

    def shown(source: str, *, every: bool = False) -> list[str]:
        code = PRELUDE + textwrap.dedent(source)
        status, out = execute(sys.executable, "-I", "-S", "-c", code, every=every)
        assert status == 0

        return out.splitlines()

    return shown


def test_a_c_program_reads_and_writes_a_word_of_ram(
    execute: Execute, compiled: Callable[[str], str], client: AnyClient
) -> None:
    """As devmem2 does, on a machine that has ROM elsewhere."""
    with client.open("/dev/mem", "r+") as handle:
        handle.pwrite(b"\x78\x56\x34\x12", MIB + 0x24)
        argv = (compiled("devmem"), "/dev/mem", hex(MIB + 0x24), "0xcafe")

        assert execute(*argv) == (0, "read 0x12345678\nwritten 0x0000cafe\n")
        assert handle.pread(4, MIB + 0x24) == b"\xfe\xca\0\0"


@pytest.mark.parametrize(
    ("address", "out"),
    [
        (0xF0000, "read 0x5f4d535f\nwritten 0x00000001\n"),
        (0xC0000, "read 0xffffffff\nwritten 0x00000001\n"),
        (0xA0000, "read 0xffffffff\nwritten 0x00000001\n"),
        (1 << 36, "mmap Invalid argument\n"),
    ],
    ids=["rom", "empty rom", "open bus", "past the width"],
)
def test_a_c_program_writes_what_nobody_can_write_for_itself(
    execute: Execute, compiled: Callable[[str], str], client: AnyClient, address: int, out: str
) -> None:
    argv = (compiled("devmem"), "/dev/mem", hex(address), "1")

    assert execute(*argv) == (int("mmap" in out), out)
    with client.open("/dev/mem") as handle:
        assert handle.pread(4, 0xF0000) == b"_SM_"


def test_pythons_mmap_by_default_is_shared_with_the_machine(
    shown: Callable[..., list[str]], client: AnyClient
) -> None:
    """Two pieces of RAM with a hole between: what others write is seen, and the other way."""
    assert shown(f"""
        view = mmap.mmap(fd, 4 * {MIB}, offset={MIB})
        os.pwrite(fd, b"low", 2 * {MIB} - 3)
        os.pwrite(fd, b"high", 4 * {MIB})
        print(view[{MIB} - 3 : 3 * {MIB} + 4] == b"low" + b"\\xff" * 2 * {MIB} + b"high")
        view[:4] = view[3 * {MIB} : 3 * {MIB} + 4] = b"mine"
        view[{MIB} : {MIB} + 4] = b"lost"
        print(os.pread(fd, 4, {MIB}), os.pread(fd, 4, 4 * {MIB}), os.pread(fd, 4, 2 * {MIB}))
    """) == ["True", r"b'mine' b'mine' b'\xff\xff\xff\xff'"]
    with client.open("/dev/mem") as handle:
        assert handle.pread(4, 4 * MIB) == b"mine"


@pytest.mark.parametrize("every", [False, True])
def test_the_bios_area_is_mapped_whole(shown: Callable[..., list[str]], *, every: bool) -> None:
    """From half a page of RAM over holes and ROM to RAM; two files in one mapping."""
    assert shown(
        """
        before = sorted(os.listdir("/proc/self/fd"))
        at = mapped(0x9f000, 0x62000)
        print(read(at, 0x62000) == os.pread(fd, 0x62000, 0x9f000))
        print(read(at + 0x51000, 4), sorted(os.listdir("/proc/self/fd")) == before)
        """,
        every=every,
    ) == ["True", "b'_SM_' True"]


def test_private_writes_stay_private(shown: Callable[..., list[str]], client: AnyClient) -> None:
    assert shown(f"""
        one, two = (mapped(0xf0000, 0x11000, RW, PRIVATE) for _ in range(2))
        write(one, b"mine")
        write(one + 0x10000, b"mine")
        print(read(one, 4), read(two, 4), os.pread(fd, 4, 0xf0000), os.pread(fd, 4, {MIB}))
    """) == [r"b'mine' b'_SM_' b'_SM_' b'\x00\x00\x00\x00'"]
    with client.open("/dev/mem") as handle:
        assert handle.pread(len(BIOS), 0xF0000) == BIOS


def test_a_device_opened_for_reading_maps_nothing_for_writing(
    shown: Callable[..., list[str]],
) -> None:
    """Not RAM and not ROM, now or by a later mprotect; a private mapping is its own."""
    assert (
        shown("""
        fd = os.open("/dev/mem", os.O_RDONLY)
        for offset, length in (0x1000, 4096), (0xf0000, 4096), (0xfe000, 8192), (0x9e000, 0x4000):
            at = mapped(offset, length, fd=fd)
            print(mapped(offset, length, RW, fd=fd), libc.mprotect(at, length, RW), failed())
            own = mapped(offset, length, RW, PRIVATE, fd=fd)
            write(own, b"mine")
    """)
        == ["EACCES -1 EACCES"] * 4
    )


def test_what_the_kernel_would_refuse_is_refused(shown: Callable[..., list[str]]) -> None:
    assert shown("""
        print(mapped(1 << 36, 4096), mapped((1 << 36) - 4096, 8192), mapped(0, 1 << 63))
        print(mapped(2**64 - 4096, 4096), mapped(0x1001, 4096), mapped(0x1000, 0))
        print(mapped(0x1000, 4096, flags=0), mapped(0xf0000, 0x11000, flags=0))
        print(mapped(0x200000, 2**35 - 0x200000), read(mapped(2**36 - 4096, 4096), 2))
        print(mapped(0xf0000, 0x11000, flags=SHARED | 0x10, at=0x1001))
    """) == [
        "EINVAL EINVAL EINVAL",
        "EINVAL EINVAL EINVAL",
        "EINVAL EINVAL",
        r"ENOMEM b'\xff\xff'",
        "EINVAL",
    ]


def test_a_mapping_lies_where_the_program_says(shown: Callable[..., list[str]]) -> None:
    assert shown("""
        room = libc.mmap(None, 0x40000, RW, 0x22, -1, 0)
        write(room, b"before")
        print(mapped(0xef000, 0x12000, RW, SHARED | 0x10, at=room + 0x1000) == room + 0x1000)
        print(read(room, 6), read(room + 0x2000, 4))
        print(mapped(0xef000, 0x12000, flags=SHARED | 0x100000, at=room))
        print(read(room + 0x13000, 4), mapped(0x1000, 4096, RW, 0x22) not in (0, room))
    """) == ["True", "b'before' b'_SM_'", "EEXIST", r"b'\x00\x00\x00\x00' True"]


def test_no_number_left_for_the_second_file_is_emfile(shown: Callable[..., list[str]]) -> None:
    assert shown("""
        first = fd
        os.dup2(0, first - 2)
        print(mapped(0xf0000, 0x11000), read(mapped(0xf0000, 4096), 4))
        os.close(first - 2)
        print(read(mapped(0xf0000, 0x11000), 4), os.path.exists(f"/proc/self/fd/{first - 1}"))
    """) == ["EMFILE b'_SM_'", "b'_SM_' False"]


def test_write_protected_ram_is_not_written(
    shown: Callable[..., list[str]], client: AnyClient
) -> None:
    with client.open("/dev/mem", "r+") as handle:
        handle.set_range(4 * MIB, MIB, MDF_WRITEPROTECT)
        assert shown(f"""
            print(mapped(4 * {MIB}, 4096, RW), mapped({MIB}, 4096, RW))
            print(mapped(4 * {MIB}, 4096) > 0, mapped(0xf0000, 4096, RW) > 0)
            own = mapped(4 * {MIB}, 4096, RW, PRIVATE)
            write(own, b"mine")
        """) == ["EPERM EPERM", "True True"]
        assert handle.pread(4, 4 * MIB) == bytes(4)


@pytest.fixture
def sparse(tmp_path: Path, facility: None) -> Iterator[tuple[PhysicalMemory, BlockingClient]]:
    """The memory of a served machine, and a client of it."""
    with served(tmp_path / "lab.sock", PC) as hub, BlockingClient(tmp_path / "lab.sock") as client:
        yield hub.machines["pc"].memory, client


def test_reading_over_the_service_takes_no_page(
    sparse: tuple[PhysicalMemory, BlockingClient],
) -> None:
    memory, client = sparse
    before = pages_held(memory)
    with client.open("/dev/mem") as handle:
        for at in range(1 << 32, (1 << 32) + 256 * MIB, 16 * MIB):
            assert handle.pread(16 * MIB, at) == bytes(16 * MIB)

    assert pages_held(memory) == before


def test_a_program_that_reads_takes_no_page(
    sparse: tuple[PhysicalMemory, BlockingClient],
) -> None:
    memory, client = sparse
    tool("dd")
    before = pages_held(memory)
    argv = ["dd", "if=/dev/mem", "of=/dev/null", "bs=4M", "skip=1024", "count=64", "status=none"]

    assert run(argv, ClientBackend(client, PATHS), device_names=PATHS) == 0
    assert pages_held(memory) == before
    assert os.fstat(memory.fileno()).st_size > 1 << 30
