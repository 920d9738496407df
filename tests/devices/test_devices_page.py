"""docs/devices.md is true: its snippets run, and its example tears as it says."""

from __future__ import annotations

import io
import json
import re
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio

from devices.strange import BASE, device, machine
from memhub import DeviceSpec, Hub, load_arches, load_config
from memhub.device_kinds import load_device_kinds

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "devices.md").read_text()
KINDS = load_device_kinds().kinds


def snippet(name: str, language: str = "python") -> str:
    found = re.search(rf"<!-- {name} -->\n```{language}\n(.*?)```", PAGE, re.S)
    assert found is not None

    return found[1]


def names_of(name: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(snippet(name), "docs/devices.md", "exec"), names)

    return names


def load_page_machine(folder: Path) -> Any:
    (folder / "m.toml").write_text(snippet("machine", "toml"))

    return load_config(folder / "m.toml", arches=load_arches()).machines["pc"]


def test_the_machine_of_the_page_is_that_of_the_file(tmp_path: Path) -> None:
    spec = load_page_machine(tmp_path)
    file = load_config(ROOT / "configs" / "devices.toml", arches=load_arches())
    assert spec.devices == file.machines["pc"].devices
    assert [it.name for it in spec.devices] == ["vga", "card", "com1"]


def test_the_table_has_every_kind_with_its_options() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \| .*? \| (.*?) \|", PAGE, re.M))
    assert rows.keys() == KINDS.keys()
    for name, kind in KINDS.items():
        assert rows[name] == ", ".join(
            f"`{key}` {json.dumps(it)}" for key, it in kind.options.items()
        )


async def test_a_picture_of_the_page_is_drawn(tmp_path: Path) -> None:
    spec = load_page_machine(tmp_path)
    alone = machine(*(it for it in spec.devices if it.name == "vga"))
    for it in (spec, alone):
        assert (await names_of("png")["draw"](it)).startswith(b"\x89PNG")


async def test_the_uart_of_the_page_talks() -> None:
    with anyio.fail_after(10):
        await names_of("uart")["main"]()


async def test_the_plugin_of_the_page_counts() -> None:
    module = ModuleType("mine")
    exec(compile(snippet("plugin"), "docs/devices.md", "exec"), vars(module))
    book = load_device_kinds(plugins=[("mine", module)], installed=False)
    spec = machine(device("counter", options={"start": 5}))
    async with Hub([spec], device_kinds=book) as hub, await hub.open("/dev/mem", "r+") as mem:
        assert await mem.pread(4, BASE) == b"\6\0\0\0"
        hub.reset()
        assert await mem.pread(1, BASE) == b"\6"
        await mem.pwrite(b"\xff\0\0\0", BASE)
        assert await mem.pread(2, BASE) == b"\0\1"


def test_the_frame_buffer_tears_as_the_page_says(tmp_path: Path, monkeypatch: Any) -> None:
    program = ROOT / "examples" / "frame_buffer.py"
    monkeypatch.setattr(sys, "argv", [str(program), str(tmp_path)])
    said = io.StringIO()
    with redirect_stdout(said):
        runpy.run_path(str(program), run_name="__main__")

    assert said.getvalue() == snippet("tear", "text")
    torn, whole = ((tmp_path / f"{it}.png").read_bytes() for it in ("torn", "whole"))
    assert torn != whole


async def test_on_a_coherent_machine_the_mistake_is_not_seen() -> None:
    names = runpy.run_path(str(ROOT / "examples" / "frame_buffer.py"))
    spec = names["SPEC"]
    plain = type(spec)(name="pc", arch="amd64", devices=spec.devices)
    async with Hub([plain]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await names["draw_bars"](mem)
        assert names["black_points"](hub.show()) == 0


def test_a_device_is_a_public_name() -> None:
    assert DeviceSpec(name="it", kind="vga-text").base is None
