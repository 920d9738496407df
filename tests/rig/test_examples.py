"""What the README, the pages and the examples show of rigs runs as it stands there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.inner_runs import NEITHER, run_inner

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGE = (ROOT / "docs" / "rigs.md").read_text()
XORG = (ROOT / "docs" / "xorg.md").read_text()

#: Tests in each snippet of the page, an architecture or a machine each.
COUNTS = {"blocking": 1, "awaiting": 2, "marker": 6 + 53, "own machine": 1}


def snippets(text: str, marker: str) -> Mapping[str, str]:
    found = re.findall(rf"<!-- {marker}(.*?) -->\n```python\n(.*?)```", text, re.DOTALL)

    return {name.removeprefix(": "): code for name, code in found}


def test_the_rig_of_the_readme_has_ten_lines_at_most_and_passes(pytester: pytest.Pytester) -> None:
    (rig,) = snippets(README, "rig").values()
    pytester.makepyfile(rig)

    assert len([line for line in rig.splitlines() if line.strip()]) <= 10
    run_inner(pytester, *NEITHER).assert_outcomes(passed=1)


@pytest.mark.parametrize("name", COUNTS)
def test_the_snippets_of_the_page_pass(pytester: pytest.Pytester, name: str) -> None:
    pytester.makepyfile(snippets(PAGE, "rig")[name])

    run_inner(pytester, *NEITHER).assert_outcomes(passed=COUNTS[name])


def test_the_machines_of_the_page_are_made(capsys: pytest.CaptureFixture[str]) -> None:
    exec(snippets(PAGE, "rig")["machines"], {})

    assert "all 8 variable slots are in use" in capsys.readouterr().out
    assert set(snippets(PAGE, "rig")) == {*COUNTS, "machines"}


def test_a_failing_rig_shows_what_the_page_shows(pytester: pytest.Pytester) -> None:
    shown = re.search(r"<!-- failing rig -->\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    pytester.makepyfile(
        """
        def test_fails(memhub_client, memhub_log):
            memhub_client("Xorg").open().set_range(
                0xD0000000, 256 << 20, "write-combine", owner="Xorg"
            )
            memhub_log.expect("request.set", errno="EBUSY")
        """
    )
    lines = run_inner(pytester, *NEITHER).outlines
    expected = [line for line in shown[1].splitlines() if "- memhub -" not in line]

    assert [line for line in expected if line not in lines] == []


def test_the_whole_rig_has_sixty_lines_at_most_and_passes(pytester: pytest.Pytester) -> None:
    rig = (ROOT / "examples" / "test_rig.py").read_text()
    pytester.makepyfile(rig)

    assert len(rig.splitlines()) <= 60
    assert f"in {len(rig.splitlines())} lines" in PAGE
    run_inner(pytester, *NEITHER).assert_outcomes(passed=8)


def test_the_story_of_the_x_server_prints_the_table_of_its_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runpy.run_path(str(ROOT / "examples" / "xorg.py"), run_name="__main__")
    printed = capsys.readouterr().out
    table = XORG.partition("<!-- xorg table -->\n")[2].partition("<!-- end of xorg table -->")[0]

    assert printed == table
    assert "it succeeds on 33 through MTRRs and on 53 through page attributes" in printed
    for reason in ("ENOSPC: no slot", "(write-back, owner BIOS)", "(uncacheable, owner BIOS)"):
        assert reason in printed


def test_the_readme_counts_the_lines_of_the_whole_rig() -> None:
    number = len((ROOT / "examples" / "test_rig.py").read_text().splitlines())

    assert f"](examples/test_rig.py) a whole rig in {number} lines" in README
