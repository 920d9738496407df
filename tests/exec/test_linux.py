"""Unmodified programs on a machine with Linux: `/proc/mtrr` and its ioctls are the machine's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exec.exec_rig import tool
from memhub.config import load_config
from memhub.core.spec import MachineSpec
from memhub.exec import run
from memhub.exec.over_client import ClientBackend
from memhub.service.blocking import BlockingClient
from memhub.service.local import LocalClient
from service.served import served
from shell.kit import ARCHES

if TYPE_CHECKING:
    from collections.abc import Iterator

    AnyClient = LocalClient | BlockingClient

LINUX = MachineSpec(name="pc", arch="amd64", kernel="linux-6.18")
LIST = "/sys/kernel/debug/x86/pat_memtype_list"
PATHS = {it: it for it in ("/dev/mem", "/dev/kmem", "/proc/mtrr", LIST)}
PROGRAM = Path(__file__).parent / "programs" / "mtrr.c"
FIRST = "reg00: base=0x000000000 (    0MB), size= 1024MB, count=1: write-back\n"
SECOND = "reg01: base=0x0d0000000 ( 3328MB), size=   16MB, count=1: write-combining\n"
LINE = "base=0xd0000000 size=0x1000000 type=write-combining"


@pytest.fixture(params=["local", "service"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyClient]:
    """The same machine in this process, and behind a socket."""
    with ExitStack() as stack:
        client: AnyClient
        if request.param == "local":
            client = LocalClient([LINUX], arches=ARCHES, name="prog")
        else:
            stack.enter_context(served(tmp_path / "lab.sock", LINUX))
            client = BlockingClient(tmp_path / "lab.sock", label="prog")

        stack.enter_context(client)
        yield client


def shell(client: AnyClient, script: str, capfd: pytest.CaptureFixture[str]) -> str:
    """What a shell's script prints."""
    capfd.readouterr()
    run([tool("sh"), "-c", script], ClientBackend(client, PATHS), device_names=PATHS)
    written = capfd.readouterr()
    assert written.err == ""

    return written.out


def hosts_text() -> bytes | None:
    """What the host's own file says; None where it has none."""
    try:
        return Path("/proc/mtrr").read_bytes()
    except OSError:
        return None


def test_a_shell_reads_and_writes_the_machines_ranges(
    client: AnyClient, capfd: pytest.CaptureFixture[str]
) -> None:
    before = hosts_text()
    assert shell(client, "cat /proc/mtrr", capfd) == FIRST
    script = f'echo "{LINE}" > /proc/mtrr; cat /proc/mtrr; echo disable=1 >| /proc/mtrr'
    assert shell(client, script, capfd) == FIRST + SECOND
    script = f'echo "{LINE}" > /proc/mtrr; cat < /proc/mtrr; head -c 7 /proc/mtrr'
    assert shell(client, script, capfd) == FIRST + SECOND + FIRST[:7]
    assert hosts_text() == before


@pytest.mark.parametrize(
    "path", ["/proc/mtrr", "//proc/./mtrr", "/proc/self/root/proc/mtrr", "/dev/../proc/mtrr"]
)
def test_every_name_of_the_file_is_the_machines(
    client: AnyClient, path: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert shell(client, f"cat {path}; cd /proc; cat mtrr", capfd) == FIRST * 2


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        ("cp /proc/mtrr copy; cat copy", FIRST),
        ("dd if=/proc/mtrr bs=16 2> /dev/null", FIRST),
        ("sed -n 1p /proc/mtrr", FIRST),
        (f'echo "{LINE}" | tee /proc/mtrr; tail -n 1 /proc/mtrr', f"{LINE}\n{SECOND}"),
        (f'echo "{LINE}" | dd of=/proc/mtrr 2> /dev/null; cat /proc/mtrr', FIRST + SECOND),
        ('exec 5<> /proc/mtrr; read line <&5; echo "$line"', FIRST),
        (f"exec 5<> /proc/mtrr; echo {LINE} >&5; cat <&5", FIRST + SECOND),
    ],
)
def test_tools_use_the_file_as_they_use_the_hosts(
    client: AnyClient,
    script: str,
    printed: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    assert shell(client, script, capfd) == printed


def test_python_uses_the_file(client: AnyClient, capfd: pytest.CaptureFixture[str]) -> None:
    script = (
        "import os; file = open('/proc/mtrr', 'r+b', buffering=0);"
        f"print(file.write(b'{LINE}')); print(file.read().decode(), end='');"
        "print(os.path.samestat(os.stat('/proc/mtrr'), os.fstat(file.fileno())))"
    )
    if not Path("/proc/mtrr").exists():
        pytest.skip("no /proc/mtrr here, which stat shows")

    run([sys.executable, "-c", script], ClientBackend(client, PATHS), device_names=PATHS)
    assert capfd.readouterr().out == f"{len(LINE)}\n{FIRST}{SECOND}True\n"


VECTORS = """
import ctypes, os

class Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))

def writev(*spans):
    vector = (Span * len(spans))(*((it, len(it)) if it else (None, n) for it, n in spans))
    moved = libc.writev(file, vector, len(spans))
    return os.strerror(ctypes.get_errno()) if moved < 0 else moved

def line(base, end="\\n"):
    return f"base={base:#x} size=0x100000 type=write-combining{end}".encode()

libc = ctypes.CDLL(None, use_errno=True)
file = os.open("/proc/mtrr", os.O_RDWR)
two, bad = line(0xD0000000), line(0xD0000001)
print(writev((two, 0), (line(0xE0000000), 0)) - 2 * len(two))
print(writev((b"base=0xc0000000 size=0x100000 ", 0), (b"type=write-through\\n", 0)))
print(writev((two, 0), (bad, 0)) - len(two))
print(writev((two, 0), (None, 8)) - len(two))
print(writev((None, 8), (two, 0)))
print(writev((None, 0), (two, 0)))
print(writev((two, 0), (None, 0), (two, 0)) - 2 * len(two))
print(writev((None, 0)))
print(writev((None, 1 << 63)))
try: os.pwritev(file, [two], 0)
except OSError as error: print(error.strerror)
first, rest = bytearray(10), bytearray(4000)
print(os.preadv(file, [first, rest], 3), os.readv(file, [first, rest]))
print((first + rest).rstrip(b"\\0").decode(), end="")
"""


def test_each_span_of_a_vector_is_an_operation_of_its_own(
    client: AnyClient, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [sys.executable, "-I", "-c", VECTORS]
    run(words, ClientBackend(client, PATHS), device_names=PATHS)
    counted = "base=0x0d0000000 ( 3328MB), size=    1MB, count=5: write-combining\n"
    last = "base=0x0e0000000 ( 3584MB), size=    1MB, count=1: write-combining\n"
    text = f"{FIRST}reg01: {counted}reg02: {last}"
    assert capfd.readouterr().out.splitlines() == [
        "0",
        "Invalid argument",
        "0",
        "0",
        "Bad address",
        "Invalid argument",
        "0",
        "0",
        "Invalid argument",
        "Illegal seek",
        f"{len(text) - 3} {len(text)}",
        *text.splitlines(),
    ]


POSITIONS = """
import os

def told(call, *args):
    try: return call(*args)
    except OSError as error: return error.strerror

file, source, sink = (os.open("/proc/mtrr", it) for it in (os.O_RDWR, os.O_RDONLY, os.O_WRONLY))
print(told(os.pwrite, file, b"x", -1), told(os.pwrite, source, b"x", -1), sep=", ")
print(told(os.pread, sink, 1, -1), told(os.pread, sink, 1, 0), sep=", ")
print(told(os.pwrite, source, b"x", 0), told(os.write, source, b"x"), sep=", ")
print(told(os.pwritev, file, [b"x"], 0, os.RWF_DSYNC))
print(told(os.preadv, file, [bytearray(5)], 0, os.RWF_HIPRI))
print(told(os.preadv, file, [bytearray(5)], 0, os.RWF_NOWAIT))
"""


def test_a_position_is_looked_at_before_rights_and_flags(
    client: AnyClient, capfd: pytest.CaptureFixture[str]
) -> None:
    """As a file of the same kind answers on Linux 6.18 (fs/read_write.c)."""
    words = [sys.executable, "-I", "-c", POSITIONS]
    run(words, ClientBackend(client, PATHS), device_names=PATHS)
    assert capfd.readouterr().out.splitlines() == [
        "Invalid argument, Invalid argument",
        "Invalid argument, Bad file descriptor",
        "Illegal seek, Bad file descriptor",
        "Illegal seek",
        "5",
        "Operation not supported",
    ]


def test_what_a_shell_writes_wrongly_is_an_error(
    client: AnyClient, capfd: pytest.CaptureFixture[str]
) -> None:
    script = 'sh -c "echo base=1 > /proc/mtrr" 2> /dev/null || echo refused; cat /proc/mtrr'

    assert shell(client, script, capfd) == "refused\n" + FIRST


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_a_c_program_makes_each_ioctl(
    client: AnyClient, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    built = tmp_path / "mtrr"
    subprocess.run(["cc", "-o", str(built), str(PROGRAM)], check=True)
    capfd.readouterr()
    assert run([str(built)], ClientBackend(client, PATHS), device_names=PATHS) == 0
    assert capfd.readouterr().out.splitlines() == [
        "file: 1",
        "add: 1",
        "get: 0",
        "d0000000 1000000 1",
        "set: Invalid argument",
        "add pages: 2",
        "set pages: 2",
        "get page: 0",
        "e0000 10 0",
        "del pages: 2",
        "kill pages: Invalid argument",
        "kill: Invalid argument",
        "bad pointer: Bad address",
        "unknown: Inappropriate ioctl for device",
        "read: 5",
        "seek: 0",
        "seek to the end: Invalid argument",
        "pwrite: Illegal seek",
        "write: Invalid argument",
        "del: 1",
        "add again: 1",
    ]
    # what the program had added ended with it
    assert shell(client, "cat /proc/mtrr", capfd) == FIRST


def test_a_shell_reads_the_list_of_page_attributes(
    client: AnyClient, capfd: pytest.CaptureFixture[str]
) -> None:
    script = f"cat {LIST}; head -c 3 {LIST}; echo; wc -c < {LIST}"
    assert shell(client, script, capfd) == "PAT memtype list:\nPAT\n18\n"


@pytest.mark.parametrize("served_by", ["file", "service"])
@pytest.mark.parametrize("allowed", [[], ["--allow-host", "mtrr"]], ids=["", "allowed"])
@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('kernel = "linux-6.18"\nmemory = [{ base = 0x0, length = "1M" }]', "Input/output error"),
        ('kernel = "linux-6.18"', ""),
        ('kernel = "linux-6.18"\nkernel_options = { features = [] }', "No such file or directory"),
    ],
    ids=["MTRRs are off", "MTRRs are on", "no MTRRs"],
)
def test_what_a_kernel_answers_to_an_open_of_its_file_is_the_programs_answer(
    facility: None, tmp_path: Path, lines: str, told: str, allowed: list[str], served_by: str
) -> None:
    config = tmp_path / "pc.toml"
    others = 'default = "pc"\n[machines.bsd]\narch = "amd64"\n'
    config.write_text(f'{others}[machines.pc]\narch = "amd64"\n{lines}\n')
    source = "try: open('/proc/mtrr')\nexcept OSError as error: print(error.strerror)"
    where: list[object] = ["--config", config]
    with ExitStack() as stack:
        if served_by == "service":
            machines = load_config(config).machines.values()
            stack.enter_context(served(tmp_path / "lab.sock", *machines, default="pc"))
            where = ["--connect", tmp_path / "lab.sock"]

        words = ["exec", *where, *allowed, "--", sys.executable, "-I", "-S", "-c", source]
        done = subprocess.run(
            [sys.executable, "-m", "memhub", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert done.stdout.strip() == told
    assert done.stderr == ""
