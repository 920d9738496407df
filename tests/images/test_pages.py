"""docs/images.md and docs/kvm.md are true: their examples run, and they name what there is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from images.files import ihex
from kvm.kernel_rig import KERNEL, kernel_machine
from memhub import Hub, load_arches, load_config
from memhub.core.memory.contents import ROM_MAX
from memhub.images import DUMP_FORMATS, FORMATS
from memhub.images.patterns import PATTERN_MAX
from memhub.images.sparse import DATA_MAX, PIECES_MAX
from memhub.kvm import open_image
from memhub.service.server.snapshots import FILE_MAX

DOCS = Path(__file__).parents[2] / "docs"
IMAGES, KVM = (DOCS / "images.md").read_text(), (DOCS / "kvm.md").read_text()


def code(page: str, language: str) -> str:
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the pages name."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(KERNEL, "kernel")
    (tmp_path / "table.bin").write_bytes(b"table")
    text = ihex((4, 0, b"\0\x10"), (0, 0x10, b"firmware"), (1, 0, b""))
    (tmp_path / "firmware.hex").write_text(text)

    return tmp_path


def move_kernel(folder: Path) -> None:
    """Let the kernel be one that was linked with physical addresses that are its virtual ones."""
    data = bytearray(KERNEL.read_bytes())
    data[64 + 24 : 64 + 32] = data[64 + 16 : 64 + 24]
    (folder / "kernel").write_bytes(data)


def test_the_file_of_machines_loads_and_says_what_memory_holds(folder: Path) -> None:
    move_kernel(folder)
    (folder / "lab.toml").write_text(code(IMAGES, "toml"))
    spec = load_config(folder / "lab.toml", arches=load_arches()).machines["pc"]
    memory = Hub([spec]).machines["pc"].memory

    assert memory.read(0x8000, 6) == b"table\0"
    assert memory.read(0x100010, 8) == b"firmware"
    assert memory.read(0x200000, 2) == KERNEL.read_bytes()[0x1000:0x1002]
    assert memory.read(0x400008, 8) == (0x400008).to_bytes(8, "little")
    assert memory.read(0x60FFFF, 2) == b"\xa5\0"
    assert memory.read(0xF0000, 4) == b"\x55\xaa\x40\xff"


def test_the_examples_of_images_run(folder: Path) -> None:
    move_kernel(folder)
    names: dict[str, Any] = {}
    exec(compile(code(IMAGES, "python"), "docs/images.md", "exec"), names)
    anyio.run(names["main"])

    assert (folder / "pc.core").read_bytes()[:4] == b"\x7fELF"


def test_the_examples_of_kvm_run(folder: Path) -> None:
    names: dict[str, Any] = {}
    exec(compile(code(KVM, "python"), "docs/kvm.md", "exec"), names)

    async def main() -> Any:
        async with Hub([kernel_machine()]) as hub:
            hub.dump_memory().save("core")
            return await names["commands"](hub)

    assert anyio.run(main) == [b"kernel", b"init", b"sh", b"ps"]
    assert names["nprocs"]("core") == 4
    with open_image("core") as kd:
        assert kd.nlist(["nprocs"])[0].found


def test_the_pages_name_the_formats_and_the_limits() -> None:
    words = set(re.findall(r"`(\w+)`", IMAGES))

    assert {*FORMATS, *DUMP_FORMATS} <= words
    assert (DATA_MAX, PATTERN_MAX) == (1 << 30, 1 << 30)
    assert "1 GiB of bytes that are not zero" in IMAGES
    assert f"first {ROM_MAX >> 20} MiB" in IMAGES
    assert f"2^{PIECES_MAX.bit_length() - 1} stretches" in IMAGES
    assert f"{FILE_MAX >> 20} MiB at most" in IMAGES


def test_the_page_on_kvm_names_what_it_raises() -> None:
    from memhub.kvm.session import NOT_FOR_DEAD

    assert NOT_FOR_DEAD in KVM
    assert {"EFAULT", "EOPNOTSUPP", "EBADF", "EINVAL"} <= set(re.findall(r"\| (E\w+) \|", KVM))
