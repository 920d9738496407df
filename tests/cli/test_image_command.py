"""`memhub image` on machines of a file, a running service, and files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from images.files import ihex
from memhub.images import load_image
from memhub.service.blocking import BlockingClient
from shell.kit import M

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run


def test_memory_of_a_service_is_saved_shown_and_loaded(
    run: Run, socket: Path, tmp_path: Path
) -> None:
    core = tmp_path / "core"
    with BlockingClient(socket) as client, client.open("/dev/mem", "r+") as mem:
        mem.pwrite(b"before", M)
        done = run("image", "save", "--out", str(core))
        name = mem.path.partition(":")[0]
        assert (done.err, done.out) == ("", f"memhub: {core}: {name}, 4K touched\n")

        mem.pwrite(b"after!", M)
        mem.pwrite(b"more", 2 * M)
        done = run("image", "load", str(core), "--clear")
        assert done.err == ""
        assert mem.pread(6, M) + mem.pread(4, 2 * M) == b"before" + bytes(4)

    lime = tmp_path / "lime"
    assert run("image", "save", "--out", str(lime), "--format", "lime", "--json").code == 0
    assert run("image", "show", str(lime)).out == f"{M:#018x}  4K\n"
    shown = json.loads(run("image", "show", str(lime), "--json").out)
    assert shown == [{"base": M, "length": 4096, "zeros": 0}]


def test_a_hex_file_is_loaded_into_a_service(run: Run, socket: Path, tmp_path: Path) -> None:
    file = tmp_path / "fw.hex"
    file.write_text(ihex((4, 0, b"\0\x10"), (0, 0x20, b"firmware"), (1, 0, b"")))
    done = run("image", "load", str(file), "--offset", "0x1000", "--json")

    assert json.loads(done.out) == {"file": str(file), "bytes": 8}
    with BlockingClient(socket) as client, client.open("/dev/mem") as mem:
        assert mem.pread(8, 0x101020) == b"firmware"


def test_the_images_of_a_file_of_machines_are_saved(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"image")
    config = tmp_path / "lab.toml"
    config.write_text(
        '[machines.pc]\narch = "amd64"\n[[machines.pc.images]]\npath = "a.bin"\nbase = 0x200000\n'
    )
    out = tmp_path / "ram.img"
    words = ["--format", "raw", "--base", "0x200000", "--length", "1M"]
    assert run("image", "save", "--config", str(config), "--out", str(out), *words).err == ""

    assert load_image(out, base=0)[0].data[:6] == b"image\0"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("image", 2, "VERB"),
        ("image save", 2, "--out"),
        ("image save --out {here} --base 0", 2, "base and length are of a raw file; elf says its"),
        ("image save --out {here}/a/b", 2, "/here/a/b: Not a directory"),
        ("image save --out {here} --machine nix", 1, "there is no machine 'nix'"),
        ("image load {here}", 2, "is raw, which says no address: give its base"),
        ("image load {here} --base 0xa0000", 1, "0xa0000/0x5 does not fit: the byte at 0xa0000 is"),
        ("image load {here} --base x", 2, "'x' is not an address"),
        ("image load {here} --config x.toml", 2, "a running service is loaded"),
        ("image load {here} --format ihex", 2, "line 1: is no record"),
        ("image show {here}.none", 2, "No such file"),
    ],
)
def test_what_is_wrong_is_named(
    run: Run, socket: Path, tmp_path: Path, words: str, code: int, says: str
) -> None:
    here = tmp_path / "here"
    here.write_text("bytes")
    done = run(*words.replace("{here}", str(here)).split())

    assert done.code == code
    assert says in done.err
    assert here.read_text() == "bytes"
