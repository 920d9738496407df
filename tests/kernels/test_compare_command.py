"""The command `memhub compare`: its table, pictures, logs, page and exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import anyio
import pytest

from memhub import AuditLog, DeviceError, Hub, MachineSpec, load_arches
from memhub.abi import MDF_ACTIVE, MDF_UNCACHEABLE, MDF_WRITEBACK, MDF_WRITECOMBINE
from memhub.cli import main
from memhub.compare import choose_kernels, compare, ordinary_machine, parse_script
from memhub.compare.picture import picture_spec
from memhub.kernels import load_kernels

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"
FRAME = "set -b 0xd0000000 -l 0x1000000 write-combine\n"


# Logs


def logged(path: Path) -> Path:
    async def ask() -> None:
        specs = [MachineSpec(name="pc", arch="i386"), MachineSpec(name="lab", arch="i386")]
        with AuditLog.open(path) as log:
            async with Hub(specs, log=log) as hub:
                handle = await hub.open("pc:/dev/mem")
                await handle.set_range(0xD0000000, 1 << 24, MDF_WRITECOMBINE, owner="X")
                with pytest.raises(DeviceError):
                    await handle.set_range(0xD0001000, 3 << 12, MDF_UNCACHEABLE)

                await handle.remove_range(0xD0000000, 1 << 24)
                other = await hub.open("lab:/dev/mem")
                await other.set_range(0xE0000000, 1 << 24, MDF_WRITEBACK | MDF_ACTIVE)

    anyio.run(ask)

    return path


def test_the_requests_of_a_log_are_a_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = logged(tmp_path / "audit.jsonl")
    arguments = ["compare", "--log", str(path), "--kernels", "i386,linux-6.18", "--json"]
    assert main(arguments) == 2
    assert "has requests to lab, pc: say whose with --log-machine" in capsys.readouterr().err

    assert main([*arguments, "--log-machine", "pc"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(it["request"], it["answers"]["linux-6.18"]["errno"]) for it in facts["steps"]] == [
        ("set 0xd0000000/0x1000000 write-combine", None),
        ("set 0xd0001000/0x3000 uncacheable", "EINVAL"),
        ("clear 0xd0000000/0x1000000", None),
    ]

    assert main([*arguments, "--log-machine", "none"]) == 2
    assert "has no requests for ranges to 'none'" in capsys.readouterr().err


# The command


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script"
    path.write_text(f"{FRAME}set -b 0x50000000 -l 0x1000000 write-through\n")

    return path


def test_the_command_shows_where_kernels_part(
    script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(script), "--kernels", "i386,linux-6.18"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "pc: Intel, 36 address bits, 8 variable ranges",
        "",
        "1  set 0xd0000000/0x1000000 write-combine",
        "2  set 0x50000000/0x1000000 write-through",
        "",
        "            start     1         2",
        "i386            a  ok a  EINVAL a",
        "linux-6.18      a  ok a      ok b",
        "",
        "Kernels with the same letter have the same effective map after the step. `-`:",
        "the kernel cannot be asked this. `panic`: it died.",
        "",
        "linux-6.18 parts from i386 at step 2: ok, not EINVAL; 0x50000000 is WT, not WB",
    ]


@pytest.mark.parametrize(
    ("form", "magic"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF")]
)
def test_a_comparison_is_drawn(script: Path, tmp_path: Path, form: str, magic: bytes) -> None:
    out = tmp_path / f"c.{form}"
    assert main(["compare", str(script), "--kernels", "i386,linux-6.18", "--out", str(out)]) == 1
    assert out.read_bytes().startswith(magic)
    if form == "svg":
        text = out.read_text()
        assert all(it in text for it in ("i386", "linux-6.18", "EINVAL a", "ok b", "write-through"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nowhere"], "No such file"),
        (["--kernels", "plan9"], "there is no kernel 'plan9'"),
        (["--machine", "nothing"], "there is no real machine 'nothing'"),
        (["--out", "c.gif"], "a picture ends in .svg, .png, .pdf"),
        (["--log", "nowhere"], "nowhere"),
        (["--log-machine", "pc"], "--log-machine says whose requests of --log are meant"),
        (["x", "--log", "y"], "from SCRIPT or from --log, not from both"),
    ],
)
def test_wrong_input_is_named_and_ends_with_2(
    arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *arguments]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff\xfe\0\n", "line 1: the byte 0xff behind '' is no UTF-8"),
        (
            b"# Gr\xfcn\nset -l 4096 unca\xff",
            "line 2: the byte 0xff behind 'set -l 4096 unca' is no UTF-8",
        ),
        (b"base=0\xa0size=0 type=x", "line 1: the byte 0xa0 behind 'base=0' is no UTF-8"),
    ],
)
def test_a_byte_that_is_no_text_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, why: str
) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(data)
    assert main(["compare", str(path)]) == 2
    assert why in " ".join(capsys.readouterr().err.split())


def test_a_picture_says_what_its_words_mean_and_marks_refusals_alone() -> None:
    pytest.importorskip("altair")
    kernels = choose_kernels(["i386", "linux-6.18"], load_arches(), load_kernels())
    requests = parse_script("set -b 0xd0000000 -l 0x1000000\nset -b 0xd0000000 -l 1 uncacheable\n")
    spec = picture_spec(compare(requests, kernels, ordinary_machine()))
    assert "-: the kernel cannot be asked this; panic: it died" in spec["title"]["subtitle"]
    refused = {row["word"]: row["refused"] for row in spec["data"]["values"]}
    assert refused == {"": False, "EINVAL": True, "-": False}


def test_too_large_a_picture_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "script"
    path.write_text(FRAME * 600)
    out = tmp_path / "c.svg"
    assert main(["compare", str(path), "--kernels", "all", "--out", str(out)]) == 2
    assert "cells are more than a picture has room for" in capsys.readouterr().err
    assert not out.exists()


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare"])
    printed = capsys.readouterr().out
    found = re.search(
        r"<!-- compare -->\n```sh\nmemhub compare\n```\n\n<!-- output -->\n```text\n(.*?)```",
        PAGE.read_text(),
        re.DOTALL,
    )

    assert found is not None
    assert found[1] == printed
