"""`memhub exec` runs programs on a service or on a file's machines, as one process each."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exec.exec_rig import FakeBackend, tool
from memhub.audit import read_records, verify
from memhub.cli.run_program import split
from memhub.exec import ShimUnavailable, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clirun import Run

    Memhub = Callable[..., subprocess.CompletedProcess[str]]

CONFIG = """
default = "pc"

[audit]
path = "service.jsonl"

[machines.pc]
arch = "amd64"
memory = [{ base = 0x0, length = 0xa0000 }, { base = 0x100000, length = "1M" }]

[machines.old]
arch = "i386"
commit_latency = 0.001
memory = [{ base = 0x0, length = 0xa0000 }]
kmem = [{ virtual = 0xc0000000, physical = 0x0, length = "64K" }]

[machines.old.mtrr]
variable = [{ base = 0x0, length = "1M", type = "WB" }]
"""
PROGRAMS = Path(__file__).parents[1] / "exec" / "programs"


@pytest.fixture(scope="module")
def facility() -> None:
    """Skips where this kernel or container has no seccomp user notification."""
    backend = FakeBackend()
    try:
        run(["/bin/true"], backend)
    except ShimUnavailable as error:
        pytest.skip(f"cannot run programs here: {error}")
    finally:
        backend.close()


@pytest.fixture(scope="module")
def folder(facility: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A service of its own process, with its socket and its log in a folder."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "lab.toml").write_text(CONFIG)
    command = [sys.executable, "-m", "memhub", "serve", "lab.toml", "--socket", "lab.sock"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert "ready on unix:" in server.stdout.readline()
        yield folder
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0

    assert verify(folder / "service.jsonl").ok


@pytest.fixture
def memhub(folder: Path) -> Memhub:
    """Runs the command line as a user does, with MEMHUB_SOCKET set."""

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "memhub", *map(str, words)],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "MEMHUB_SOCKET": "lab.sock"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return call


@pytest.fixture(scope="module")
def ranges(folder: Path) -> str:
    """A C program that issues MEMRANGE ioctls."""
    target = folder / "memrange"
    command = [tool("cc"), "-O1", "-o", str(target), str(PROGRAMS / "memrange.c")]
    subprocess.run(command, check=True)

    return str(target)


def test_dd_copies_into_one_machine_and_out_of_it(memhub: Memhub, folder: Path) -> None:
    dd = tool("dd")
    (folder / "in").write_bytes(b"0123456789abcdef" * 8)
    put = memhub("exec", "--", dd, "if=in", "of=/dev/mem", "bs=16", "seek=512", "status=none")
    got = memhub("exec", "--", dd, "if=/dev/mem", "bs=16", "skip=512", "count=8", "status=none")

    assert (put.returncode, put.stderr) == (0, "")
    assert (got.returncode, got.stdout) == (0, "0123456789abcdef" * 8)
    assert memhub("hexdump", "-n", 16, "0x2000").stdout.endswith("|0123456789abcdef|\n00002010\n")


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (("hexdump", "-C", "-s", "0x3000", "-n", "4", "/dev/mem"), "00003000  74 65 78 74  "),
        (("xxd", "-s", "0x3000", "-l", "4", "/dev/mem"), "00003000: 7465 7874  "),
        (("od", "-An", "-tx1", "-j", "0x3000", "-N", "4", "/dev/mem"), " 74 65 78 74\n"),
        (("sh", "-c", "dd bs=4 skip=3072 count=1 status=none < /dev/mem"), "text"),
    ],
)
def test_the_hosts_tools_read_what_another_client_wrote(
    memhub: Memhub, words: tuple[str, ...], out: str
) -> None:
    tool(words[0])
    memhub("write", "0x3000", "--hex", b"text".hex())
    done = memhub("exec", *words)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(out)


def test_a_c_program_sets_ranges_that_others_see_afterwards(memhub: Memhub, ranges: str) -> None:
    """Its claims end with it; what it programmed stays."""
    done = memhub("exec", "--machine", "old", ranges, "/dev/mem", "bsd")

    assert done.returncode == 0
    assert done.stdout.startswith("set ok\nset Invalid argument\nset Operation not supported\n")
    assert "0x100000/0x100000 cprog write-combine active" in (
        memhub("memcontrol", "--machine", "old", "list").stdout
    )
    (_, old) = memhub("top", "--once").stdout.splitlines()[3:5]
    assert old.split()[-3:] == ["0", "0", "0"]
    memhub("memcontrol", "--machine", "old", "clear", "-o", "cprog")


def test_the_log_says_what_would_free_a_slot_for_a_program(facility: None, tmp_path: Path) -> None:
    config, log = tmp_path / "pc.toml", tmp_path / "audit.jsonl"
    config.write_text(
        '[machines.pc]\narch = "i386"\n[machines.pc.mtrr]\nvariable_count = 2\nvariable = ['
        '{ base = 0xd0000000, length = "16M", type = "WC" },'
        '{ base = 0xd1000000, length = "16M", type = "WC" }]\n'
    )
    source = (
        "import ctypes, fcntl, os, struct\n"
        "desc = struct.pack('=QQi8s4x', 0x40000000, 1 << 24, 1 << 3, b'prog')\n"
        "kept = ctypes.create_string_buffer(desc)\n"
        "op = struct.pack('=Qii', ctypes.addressof(kept), 0, 0)\n"
        "try:\n fcntl.ioctl(os.open('/dev/mem', os.O_RDONLY), 0x80106D33, op)\n"
        "except OSError as error:\n print(error.errno)\n"
    )
    words = ["exec", "--config", config, "--log", log, sys.executable, "-I", "-S", "-c", source]
    done = subprocess.run(
        [sys.executable, "-m", "memhub", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stdout.strip() == str(errno.ENOSPC)
    reasons = [it.get("reason") or "" for it in read_records(log)]
    assert any("; slots 0 and 1 can be one, 0xd0000000/0x2000000 (" in it for it in reasons)


def test_both_devices_are_the_named_machines(memhub: Memhub) -> None:
    source = (
        "import os; a = os.open('/dev/mem', os.O_RDWR); b = os.open('/dev/kmem', os.O_RDONLY);"
        "os.pwrite(a, b'both', 0x4000); print(os.pread(b, 4, 0xc0004000).decode())"
    )
    done = memhub("exec", "--machine", "old", sys.executable, "-I", "-S", "-c", source)

    assert (done.returncode, done.stdout) == (0, "both\n")
    assert "|....|" in memhub("hexdump", "-n", 4, "0x4000").stdout


def test_memory_is_mapped_through_the_service(memhub: Memhub) -> None:
    source = (
        "import mmap, os; fd = os.open('/dev/mem', os.O_RDWR);"
        "view = mmap.mmap(fd, 4096, offset=0x100000); view[:6] = b'mapped';"
        "print(os.pread(fd, 6, 0x100000).decode())"
    )
    done = memhub("exec", sys.executable, "-I", "-S", "-c", source)

    assert (done.returncode, done.stdout) == (0, "mapped\n")
    assert "|mapped|" in memhub("hexdump", "-n", 6, "0x100000").stdout


def test_a_descriptor_of_the_programs_own_number_needs_the_option(memhub: Memhub) -> None:
    words = "sh", "-c", "exec 3</dev/mem; dd bs=1 count=1 status=none <&3 | wc -c"

    assert memhub("exec", "--every-descriptor", *words).stdout.strip() == "1"


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("true",), 0),
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -TERM $$"), 128 + 15),
        (("no-such-program",), 127),
        (("/etc",), 126),
        (("--", "sh", "-c", "exit 3", "--", "x"), 3),
    ],
)
def test_the_programs_status_is_passed_on(
    memhub: Memhub, words: tuple[str, ...], status: int
) -> None:
    assert memhub("exec", *words).returncode == status


def test_a_program_is_named_in_the_services_log(memhub: Memhub, folder: Path) -> None:
    memhub("exec", tool("dd"), "if=/dev/mem", "bs=1", "count=1", "skip=77", "status=none")
    found = [
        record["process"]
        for record in read_records(folder / "service.jsonl")
        if record.get("op") == "pread" and record.get("base") == 77
    ]

    assert len(found) == 1
    assert "dd" in found[0]


# On machines of a file


def test_a_file_of_machines_needs_no_service_and_keeps_a_log_if_told(
    memhub: Memhub, folder: Path, ranges: str
) -> None:
    log = folder / "exec.jsonl"
    words = "exec", "--config", "lab.toml", "--log", log, ranges, "/dev/mem", "linux"
    first, second = memhub(*words), memhub(*words)

    assert (first.returncode, first.stdout) == (second.returncode, second.stdout)
    assert first.stdout.startswith("set ok\n")
    assert verify(log).ok
    events = [record["event"] for record in read_records(log)]
    assert events.count("request.set") == 6


# What goes wrong


def test_a_machine_that_the_service_does_not_have_is_refused_before_the_program_starts(
    memhub: Memhub,
) -> None:
    done = memhub("exec", "--machine", "nope", "--", "echo", "started")

    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no machine 'nope' (machines: old, pc)" in done.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "name the program to run"),
        (("--",), "name the program to run"),
        (("--log", "x", "true"), "--log goes with --config"),
        (("--nosuch", "true"), "unrecognized arguments: --nosuch"),
        (("--allow-host", "disk", "true"), "'disk': not one of mtrr, msr, port, ioport, kcore"),
        (("--allow-host", "mem", "true"), "'mem': /dev/mem is always the machine's"),
    ],
)
def test_wrong_usage_says_what_is_wrong(run: Run, words: tuple[str, ...], complaint: str) -> None:
    code, _, err = run("exec", *words)

    assert code == 2
    assert complaint in err


def test_a_host_device_is_refused_with_a_line_unless_it_is_allowed(
    memhub: Memhub, folder: Path
) -> None:
    """EACCES, which device it is, and the option that lets it through."""
    node = folder / "port"
    try:
        os.mknod(node, 0o020600, os.makedev(1, 4))
    except PermissionError:
        pytest.skip("no leave to make device nodes")

    refused = memhub("exec", "--", tool("cat"), node)
    allowed = memhub(
        "exec", "--allow-host=mtrr", "--allow-host", "port", "--", tool("head"), "-c0", node
    )

    assert "Permission denied" in refused.stderr
    said = " ".join(refused.stderr.split())
    assert f"memhub exec: opening {node} refused (EACCES)" in said
    assert "--allow-host port allows it" in refused.stderr
    assert "EACCES" not in allowed.stderr


def test_a_standard_stream_of_the_host_is_refused(memhub: Memhub) -> None:
    if not Path("/proc/mtrr").exists():
        pytest.skip("no /proc/mtrr here")

    kept = os.dup(0)
    with Path("/proc/mtrr").open("rb") as registers:
        os.dup2(registers.fileno(), 0)
        done = memhub("exec", "true")
        os.dup2(kept, 0)

    os.close(kept)
    assert done.returncode == 2
    assert "standard input is the host's own /proc/mtrr" in done.stderr


def test_a_system_that_cannot_do_it_says_what_is_missing_in_one_line(
    run: Run, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise ShimUnavailable("no seccomp user notification here")

    monkeypatch.setattr("memhub.exec.run", refuse)

    assert run("exec", "--config", lab, "true") == (
        2,
        "",
        "memhub: no seccomp user notification here\n",
    )


def test_options_end_where_the_program_begins() -> None:
    assert split(["--machine", "m", "dd", "--connect", "x"]) == (
        ["--machine", "m"],
        ["dd", "--connect", "x"],
    )
    assert split(["--machine=m", "--", "--odd", "--"]) == (["--machine=m"], ["--odd", "--"])
    assert split(["--allow-host", "msr", "dd"]) == (["--allow-host", "msr"], ["dd"])
    assert split(["--machine"]) == (["--machine"], [])
