"""Unmodified programs on a client: their claims, their ioctls and their mappings."""

from __future__ import annotations

import os
import sys
import textwrap
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from exec.exec_rig import tool
from memhub.abi import LP64, MDF_UNCACHEABLE, RangeDesc
from memhub.errors import BadAddress, InvalidArgument, NotSupported, UnknownIoctl
from memhub.exec import run
from memhub.exec.over_client import ClientBackend
from memhub.service.blocking import BlockingClient
from memhub.service.local import LocalClient
from service.served import served
from shell.kit import ARCHES, OLD, PAT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from memhub.exec.over_client import ClientSession

    AnyClient = LocalClient | BlockingClient
    Execute = Callable[..., tuple[int, str]]

PATHS = {"/dev/mem": "/dev/mem", "/dev/kmem": "old:/dev/kmem"}
TEXT = b"hello, physical memory\n"


class Space:
    """The memory of a program that is not there: one buffer."""

    def __init__(self, at: int, data: bytes) -> None:
        self.at, self.data = at, bytearray(data)

    def fetch(self, address: int, size: int) -> bytes:
        if not self.at <= address <= address + size <= self.at + len(self.data):
            raise BadAddress(f"{address:#x} is not mapped")

        return bytes(self.data[address - self.at :][:size])

    def store(self, address: int, data: bytes) -> None:
        self.fetch(address, len(data))
        self.data[address - self.at : address - self.at + len(data)] = data


@pytest.fixture(params=["local", "service"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyClient]:
    """The same machines in this process, and behind a socket."""
    specs = (replace(PAT, wp_writes="allow"), replace(OLD, commit_latency=0.01))
    with ExitStack() as stack:
        client: AnyClient
        if request.param == "local":
            client = LocalClient(specs, arches=ARCHES, name="prog")
        else:
            stack.enter_context(served(tmp_path / "lab.sock", *specs))
            client = BlockingClient(tmp_path / "lab.sock", label="prog")

        stack.enter_context(client)
        with client.open("/dev/mem", "r+") as handle:
            handle.pwrite(TEXT, 0x1000)

        yield client


@pytest.fixture
def session(client: AnyClient) -> Iterator[ClientSession]:
    session = ClientBackend(client, PATHS).open("/dev/mem", os.O_RDWR)
    yield session
    session.close()


# One session, without a program


def test_only_a_set_may_wait(session: ClientSession) -> None:
    waiting = [r for r in (None, LP64.get, *LP64.set, 0) if session.may_wait(r)]

    assert waiting == list(LP64.set)


def test_a_mapping_lies_where_the_file_has_the_memory(session: ClientSession) -> None:
    for offset, length in ((0x1000, 0x1000), (0, 0xA0000), (0x100000, 0x300000), (0xFF000, 0x2000)):
        session.pwrite(b"mark", offset)
        (mapping,) = session.map(offset, length, writable=False)

        assert os.pread(mapping.fd, 4, mapping.offset) == b"mark"
        assert (mapping.length, mapping.private) == (length, False)


@pytest.mark.parametrize(
    ("offset", "length", "pieces"),
    [
        (0x9F000, 0x2000, [(0x1000, False), (0x1000, True)]),
        (0xA0000, 0x1000, [(0x1000, True)]),
        (1 << 34, 0x180000, [(1 << 20, True), (0x80000, True)]),
    ],
)
def test_what_is_not_one_stretch_of_memory_is_mapped_in_pieces(
    session: ClientSession, offset: int, length: int, pieces: list[tuple[int, bool]]
) -> None:
    found = session.map(offset, length, writable=False)

    assert [(it.length, it.private) for it in found] == pieces
    assert b"".join(os.pread(it.fd, it.length, it.offset) for it in found) == (
        session.pread(length, offset)
    )


def test_what_lies_past_the_physical_width_is_not_mapped(session: ClientSession) -> None:
    with pytest.raises(InvalidArgument, match="past the last physical address 0xfffffffff"):
        session.map((1 << 36) - 0x1000, 0x2000, writable=False)


def test_kernel_memory_is_not_mapped(client: AnyClient) -> None:
    session = ClientBackend(client, PATHS).open("/dev/kmem", os.O_RDONLY)
    with pytest.raises(NotSupported):
        session.map(0, 0x1000, writable=False)

    session.close()


def test_an_ioctl_follows_the_programs_pointer(session: ClientSession) -> None:
    space = Space(0x7000, LP64.pack(RangeDesc(0x200000, 0x1000, MDF_UNCACHEABLE, b"p" + bytes(7))))
    set_op, get_op = LP64.op.pack(0x7000, 0, 0), LP64.op.pack(0x7000, 1, 5)

    assert session.ioctl(LP64.set[0], set_op, space) is None
    space.data[:] = bytes(len(space.data))
    assert session.ioctl(LP64.get, get_op, space) == get_op
    assert LP64.unpack(bytes(space.data)).owner == "p"
    assert session.ioctl(LP64.get, bytes(16), space) == LP64.op.pack(0, 4, 0)


def test_pointers_that_lead_nowhere_are_efault(session: ClientSession) -> None:
    for request in (LP64.get, *LP64.set):
        with pytest.raises(BadAddress):
            session.ioctl(request, LP64.op.pack(0, 1, 0), Space(0x7000, bytes(32)))

    with pytest.raises(UnknownIoctl):
        session.ioctl(0x5401, b"", Space(0, b""))


# Programs


@pytest.fixture
def execute(facility: None, client: AnyClient, capfd: pytest.CaptureFixture[str]) -> Execute:
    def execute(*argv: str) -> tuple[int, str]:
        capfd.readouterr()
        status = run(argv, ClientBackend(client, PATHS), device_names=PATHS)

        return status, capfd.readouterr().out

    return execute


@pytest.fixture
def python(execute: Execute) -> Callable[[str], tuple[int, str]]:
    def python(source: str) -> tuple[int, str]:
        code = "import os, mmap\n" + textwrap.dedent(source)

        return execute(sys.executable, "-I", "-S", "-c", code)

    return python


@pytest.mark.parametrize("encoding", ["bsd", "linux"])
def test_a_c_program_sets_and_lists_ranges(
    execute: Execute, compiled: Callable[[str], str], encoding: str
) -> None:
    """On a kernel's own rules: what it sets is listed, what is wrong is refused."""
    status, out = execute(compiled("memrange"), "/dev/mem", encoding)
    lines = out.splitlines()

    assert status == 0
    assert lines[:3] == ["set ok", "set Invalid argument", "set Operation not supported"]
    assert lines[3:5] == ["count ok 4", "get ok 4"]
    assert lines[5].split()[1:3] == ["0x100000", "0x100000"]


def test_the_programs_claims_end_with_it(
    execute: Execute, compiled: Callable[[str], str], client: AnyClient
) -> None:
    execute(compiled("memrange"), "/dev/mem", "bsd")
    (row, _) = client.report()["machines"]

    assert (row["generation"], row["claims"], row["processes"]) == (1, [], [])


@pytest.mark.parametrize(
    ("argv", "out"),
    [
        (("dd", "if=/dev/mem", "bs=8", "skip=512", "count=1", "status=none"), "hello, p"),
        (("od", "-An", "-c", "-j4096", "-N5", "/dev/mem"), "   h   e   l   l   o\n"),
        (("xxd", "-s", "4096", "-l", "5", "-p", "/dev/mem"), "68656c6c6f\n"),
    ],
)
def test_tools_of_the_host_read_the_machine(
    execute: Execute, argv: tuple[str, ...], out: str
) -> None:
    tool(argv[0])

    assert execute(*argv) == (0, out)


def test_python_reads_writes_and_maps(
    python: Callable[[str], tuple[int, str]], client: AnyClient
) -> None:
    status, out = python("""
        with open("/dev/mem", "r+b", buffering=0) as device:
            view = mmap.mmap(device.fileno(), 4096, offset=0x1000)
            print(view[:5])
            os.pwrite(device.fileno(), b"HELLO", 0x1000)
            print(view[:5])
            view[0:1] = b"J"
            print(os.pread(device.fileno(), 5, 0x1000))
    """)

    assert (status, out.split()) == (0, ["b'hello'", "b'HELLO'", "b'JELLO'"])
    with client.open("/dev/mem") as handle:
        assert handle.pread(5, 0x1000) == b"JELLO"


def test_what_cannot_be_mapped_is_an_error_of_mmap(
    python: Callable[[str], tuple[int, str]],
) -> None:
    status, out = python("""
        for path, offset in ("/dev/mem", 1 << 36), ("/dev/kmem", 0):
            with open(path, "rb", buffering=0) as device:
                try:
                    mmap.mmap(device.fileno(), 4096, offset=offset, prot=mmap.PROT_READ)
                except OSError as error:
                    print(os.strerror(error.errno))
    """)

    assert (status, out.splitlines()) == (0, ["Invalid argument", "Operation not supported"])


def test_kernel_memory_is_the_machines_that_it_was_named_for(
    python: Callable[[str], tuple[int, str]], client: AnyClient
) -> None:
    with client.open("old:/dev/mem", "r+") as handle:
        handle.pwrite(b"kernel", 0x2000)

    status, out = python("""
        with open("/dev/kmem", "rb", buffering=0) as device:
            device.seek(0xc0002000)
            print(device.read(6))
    """)

    assert (status, out) == (0, "b'kernel'\n")


def test_every_way_to_the_device_is_the_machines(
    python: Callable[[str], tuple[int, str]], tmp_path: Path
) -> None:
    """Threads that open it at once by links and /proc, beside each other."""
    (tmp_path / "link").symlink_to("/dev/mem")
    status, out = python(
        f"""
        import threading
        paths = ["//dev/mem", "/proc/self/root/dev/mem", {str(tmp_path / "link")!r}, "/dev/mem"]
        def use(path):
            fd = os.open(path, os.O_RDONLY)
            shown.append((path, os.pread(fd, 5, 0x1000)))
            kept.append(fd)
        shown, kept = [], []
        threads = [threading.Thread(target=use, args=(path,)) for path in paths * 5]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(sorted(shown) == sorted((path, b"hello") for path in paths * 5), len(set(kept)))
        """
    )

    assert (status, out) == (0, "True 20\n")
