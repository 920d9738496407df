"""Tools as they are, each on a PC with firmware: the table "Tools" of docs/exec.md."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exec.exec_rig import tool
from exec.firmware import FADT, MIB, PC, RSDP
from memhub import load_arches
from memhub.exec import run
from memhub.exec.over_client import ClientBackend
from memhub.service.local import LocalClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = Path(__file__).parent / "programs"
TEXT = b"hello, physical memory\n"


@dataclass(frozen=True)
class Row:
    """One tool at work.

    Attributes:
        tool: its name in the table.
        words: what is run; the first word is looked up, or is a program of `programs/`.
        shows: texts that it prints.
        leaves: what lies at 0x1000 afterwards.
        installed: the package has to be installed: run where CI has done that.
    """

    tool: str
    words: tuple[str, ...]
    shows: tuple[str, ...] = ()
    leaves: bytes = TEXT[:8]
    installed: bool = field(default=False)


MAP = """
import mmap, os
fd = os.open("/dev/mem", os.O_RDWR)
whole = mmap.mmap(fd, 0x2000, offset=0xEF000)
print(whole[:2], whole[0x1000:0x1004], len(whole))
page = mmap.mmap(fd, 4096, offset=0x1000)
print(page[:5])
page[:2] = b"HE"
"""
READ = """
with open("/dev/mem", "rb") as file:
    file.seek(0x1000)
    print(file.read(5))
"""
PERL = 'open F, "<", "/dev/mem"; seek F, 4096, 0; read F, $text, 5; print $text'
ROWS = (
    Row(
        "dd", ("dd", "if=/dev/mem", "bs=16", "skip=256", "count=1", "status=none"), ("hello, phys",)
    ),
    Row(
        "dd",
        ("sh", "-c", "printf HE | dd of=/dev/mem bs=2 seek=2048 status=none"),
        leaves=b"HEllo, p",
    ),
    Row("cat, head, tail", ("sh", "-c", "head -c 4101 /dev/mem | tail -c 5"), ("hello",)),
    Row("hexdump", ("hexdump", "-C", "-s", "0x1000", "-n", "5", "/dev/mem"), ("68 65 6c 6c 6f",)),
    Row("od", ("od", "-An", "-c", "-j", "0x1000", "-N", "5", "/dev/mem"), ("h   e   l   l   o",)),
    Row("xxd", ("xxd", "-s", "0x1000", "-l", "4", "/dev/mem"), ("00001000: 6865 6c6c",)),
    Row(
        "xxd",
        ("sh", "-c", "echo 1000: 4845 | xxd -r - /dev/mem"),
        leaves=b"HEllo, p",
    ),
    Row("Perl", ("perl", "-e", PERL), ("hello",)),
    Row("Python: files", (sys.executable, "-I", "-S", "-c", READ), ("b'hello'",)),
    Row(
        "Python: mmap",
        (sys.executable, "-I", "-S", "-c", MAP),
        (r"b'\xff\xff' b'_SM_' 8192", "b'hello'"),
        b"HEllo, p",
    ),
    Row("devmem2, pcimem", ("devmem", "/dev/mem", "0x1000"), ("read 0x6c6c6568",)),
    Row(
        "devmem2, pcimem",
        ("pcimem", "/dev/mem", "0x1004", "16", "2", "0x4142"),
        ("0x1004: 0x2c6f\nwritten: 0x4142\n0x1006: 0x7020\nwritten: 0x4142\n",),
        b"hellBABA",
    ),
    Row("devmem2, pcimem", ("pcimem", "/dev/mem", hex(RSDP), "64", "1"), ("0x2052545020445352",)),
    Row(
        "a static C program",
        ("devmem-static", "/dev/mem", "0x1000", "0x4c4c4548"),
        ("written 0x4c4c4548",),
        b"HELLo, p",
    ),
    Row("a static Go program", ("device",), ("hello <nil>\n<nil>\nHEllo\n",), b"HEllo, p", True),
    Row(
        "busybox devmem",
        ("busybox", "devmem", hex(RSDP), "64"),
        ("0x2052545020445352",),
        installed=True,
    ),
    Row("busybox devmem", ("busybox", "devmem", "0x1000", "16", "0x4142"), (), b"BAllo, p", True),
    Row(
        "busybox dd, hexdump, xxd",
        ("busybox", "dd", "if=/dev/mem", "bs=16", "skip=256", "count=1"),
        ("hello, phys",),
        installed=True,
    ),
    Row(
        "busybox dd, hexdump, xxd",
        ("busybox", "hexdump", "-C", "-s", "0x1000", "-n", "5", "/dev/mem"),
        ("68 65 6c 6c 6f",),
        installed=True,
    ),
    Row(
        "busybox dd, hexdump, xxd",
        ("busybox", "xxd", "-s", "0x1000", "-l", "4", "/dev/mem"),
        ("00001000: 6865 6c6c",),
        installed=True,
    ),
    Row(
        "memtester",
        ("memtester", "-p", hex(MIB), "16K", "1"),
        ("Bit Flip", "Done."),
        installed=True,
    ),
    Row(
        "dmidecode",
        ("dmidecode", "--no-sysfs"),
        ("SMBIOS 2.8 present", "Product Name: simulated machine", "Size: 512 MB"),
        installed=True,
    ),
    Row(
        "acpidump",
        ("acpidump", "-c", "off", "-s"),
        tuple(
            f"ACPI: {name} 0x" for name in ("RSDP", "RSDT", "XSDT", "DSDT", "FACS", "FACP", "APIC")
        ),
        installed=True,
    ),
    Row(
        "acpidump",
        ("acpidump", "-c", "off", "-r", hex(RSDP), "-n", "FACP"),
        (f"FACP @ {FADT:#018x}",),
        installed=True,
    ),
    Row(
        "lshw", ("lshw", "-quiet", "-C", "system"), ("product: simulated machine",), installed=True
    ),
    Row("hwinfo", ("hwinfo", "--bios"), ('Product: "simulated machine"',), installed=True),
)


@pytest.fixture
def machine(facility: None) -> Iterator[LocalClient]:
    with LocalClient([PC], arches=load_arches()) as client:
        with client.open("/dev/mem", "r+") as handle:
            handle.pwrite(TEXT, 0x1000)

        yield client


@pytest.fixture
def find(tmp_path: Path, compiled: Callable[..., str]) -> Callable[[str], str]:
    """The path of a tool of the host, or of a program of `programs/`; or a skip."""

    def find(name: str) -> str:
        base, _, static = name.partition("-")
        if (PROGRAMS / f"{base}.go").exists():
            return build_go(base, tmp_path)

        if (PROGRAMS / f"{base}.c").exists():
            return compiled(base, *(["-static"] if static else []))

        return name if Path(name).is_absolute() else tool(name)

    return find


def build_go(name: str, folder: Path) -> str:
    target = folder / name
    subprocess.run(
        [tool("go"), "build", "-o", str(target), str(PROGRAMS / f"{name}.go")],
        check=True,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "CGO_ENABLED": "0"},
    )

    return str(target)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row,
            id=f"{row.tool}-{at}",
            marks=[pytest.mark.campaign] if row.installed else [],
        )
        for at, row in enumerate(ROWS)
    ],
)
@pytest.mark.timeout(120)
def test_a_tool_works_as_it_is(
    machine: LocalClient,
    find: Callable[[str], str],
    capfd: pytest.CaptureFixture[str],
    row: Row,
) -> None:
    """It ends well, shows what lies in the machine's memory, and writes it."""
    names = {"/dev/mem": "/dev/mem"}
    words = [find(row.words[0]), *row.words[1:]]
    capfd.readouterr()
    status = run(words, ClientBackend(machine, names), device_names=names)
    shown = capfd.readouterr()

    assert status == 0, shown.err
    assert [text for text in row.shows if text not in shown.out] == [], shown.out
    with machine.open("/dev/mem") as handle:
        assert handle.pread(8, 0x1000) == row.leaves


def test_the_table_has_a_row_for_each_tool() -> None:
    text = (Path(__file__).parents[2] / "docs" / "exec.md").read_text()
    table = text.partition("### Tools\n")[2].partition("\n#")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]

    assert rows[2:] == list(dict.fromkeys(row.tool for row in ROWS))
