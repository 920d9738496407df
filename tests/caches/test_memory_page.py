"""docs/memory.md is true: its rig runs, and it names every hazard as it is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from memhub import Hub, MachineSpec
from memhub.config import load_config
from memhub.core.cache_limits import CacheLimits
from memhub.core.caches.hazards import HAZARDS
from memhub.core.kernel import OptionError
from rig.inner_runs import NEITHER, run_inner

PAGE = (Path(__file__).parents[2] / "docs" / "memory.md").read_text()


def snippet(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", PAGE, re.S)
    assert found is not None
    return found[1]


async def test_the_rig_passes_where_memory_is_coherent_and_is_caught_where_it_is_not() -> None:
    names: dict[str, Any] = {}
    exec(compile(snippet("rig") + snippet("outcome"), "docs/memory.md", "exec"), names)
    await names["main"]()


def test_the_example_of_a_test_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(snippet("test"))
    run_inner(pytester, *NEITHER).assert_outcomes(passed=1)


def test_the_example_of_a_file_loads(tmp_path: Path) -> None:
    text = re.search(r"```toml\n(.*?)```", PAGE, re.S)
    assert text is not None
    (tmp_path / "m.toml").write_text(text[1])
    spec = load_config(tmp_path / "m.toml").machines["pc"]
    assert (spec.coherent, spec.bus) == (False, "blind")
    assert spec.caches == CacheLimits(seed=7, logged=True)
    assert {*tomllib.loads(text[1])["machines"]["pc"]["caches"]} == {
        *CacheLimits.__dataclass_fields__
    }


def test_the_page_lists_every_hazard() -> None:
    rows = [f"| `{name}` | {it.level} | {it.meaning} | {it.cure} |" for name, it in HAZARDS.items()]
    assert "\n".join(rows) in PAGE


def test_a_limit_among_the_options_is_told_where_it_belongs() -> None:
    for key in CacheLimits.__dataclass_fields__:
        spec = MachineSpec(name="pc", arch="amd64", coherent=False, options={key: True})
        with pytest.raises(OptionError, match=rf"one of \[machines.NAME.caches\].*\({key}=") as it:
            Hub([spec])

        assert "known: palette" in str(it.value)
