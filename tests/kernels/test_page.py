"""docs/kernels.md is true: its example prints what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memhub.arches import load_arches
from memhub.config import load_config
from memhub_linux.settings import OPTIONS

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


def test_a_machine_of_the_page_is_one_with_linux(tmp_path: Path) -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "lab.toml"
    path.write_text(toml)
    spec = load_config(path, arches=load_arches()).machines["pc"]

    assert spec.kernel_name == "linux-6.18"


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
