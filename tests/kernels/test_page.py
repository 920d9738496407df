"""docs/kernels.md is true: its example prints what it shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from memhub import DeviceError, Hub, MachineSpec
from memhub.arches import load_arches
from memhub.config import load_config
from memhub_linux.served.settings import OPTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text()


EXAMPLES = re.findall(
    r"<!-- ([\w-]+) -->\n```python\n(.*?)```\n\n<!-- output -->\n```text\n(.*?)```", PAGE, re.DOTALL
)


def test_each_kernel_has_an_example() -> None:
    assert [name for name, _, _ in EXAMPLES] == [
        "served",
        "memtype-hub",
        "linux",
        "netbsd-hub",
        "netbsd",
    ]


@pytest.mark.anyio
async def test_the_machines_of_the_page_have_linux_and_its_file(tmp_path: Path) -> None:
    path, arches = tmp_path / "lab.toml", load_arches()
    path.write_text("\n".join(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)))
    cyrix = load_config(path, arches=arches).machines["old"]
    path.write_text(path.read_text().replace('"Cyrix"', '"Centaur"\nsignature = 0x541'))
    specs = load_config(path, arches=arches).machines
    async with Hub([*specs.values(), replace(cyrix, name="cyrix")], arches=arches) as hub:
        shown = {}
        for name, machine in hub.machines.items():
            async with await hub.open(f"{name}:/proc/mtrr", "r+") as file:
                await file.write(b"base=0xd0000000 size=0x1000000 type=write-combining\n")
                shown[name] = (await file.read(4096)).splitlines()[-1].rpartition(b" ")[2]

            assert machine.spec.kernel_name == "linux-6.18"

    # A Centaur's write-combining reads back as write-back.
    assert shown == {"pc": b"write-combining", "old": b"write-back", "cyrix": b"write-combining"}


@pytest.mark.anyio
async def test_features_alone_make_no_other_processor() -> None:
    spec = MachineSpec(
        name="pc",
        arch="i386",
        kernel="linux-6.18",
        kernel_options={"features": ["cyrix_arr"]},
    )
    async with Hub([spec], arches=load_arches()) as hub:
        with pytest.raises(DeviceError) as refused:
            await hub.open("pc:/proc/mtrr")

    assert refused.value.code.name == "EIO"


def test_the_page_lists_the_options_of_linux() -> None:
    (table,) = re.findall(r"\n\| option \| what it says \|\n((?:\|.*\n)+)", PAGE)
    rows = [row.split("|")[1] for row in table.splitlines()[1:]]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]

    assert sorted(listed) == sorted(OPTIONS)


@pytest.mark.parametrize(("code", "printed"), [it[1:] for it in EXAMPLES], ids=lambda it: it[:20])
def test_an_example_prints_what_the_page_shows(
    code: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(code, "example", "exec"), {"__name__": "example"})

    assert capsys.readouterr().out == printed
