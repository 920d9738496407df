"""docs/faults.md is true: its example runs, its rules load, and it names all that a rule has."""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from machines import one_machine
from memhub import FaultRule, Sickness, load_config
from memhub.config import ConfigError
from memhub.core.faults.fault_rules import ACTIONS, OPERATION_WORDS
from memhub.core.health.sickness import MOMENTS, SICK_ACTIONS
from memhub.service.local import LocalClient
from plugins.distribution import install

PAGE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def block(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None

    return found[1]


@pytest.mark.parametrize("name", ["faults example", "sickness example"])
def test_an_example_runs_and_prints_what_it_says(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code = block(name)
    exec(compile(code, "example", "exec"), {"__name__": "example"})
    lines = capsys.readouterr().out.splitlines()

    assert lines
    assert all(f"# {line}\n" in code for line in lines)


def test_the_rules_of_the_page_load(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    rules = [it for it in blocks("toml") if it != block("plugin rule")]
    path.write_text(one_machine("") + "".join(rules))

    assert load_config(path).faults == (
        FaultRule("errno", op="set", base=0xD0000000, length=32 << 20, errno="ENOSPC", times=2),
        Sickness(
            action="firmware_rewrite", machine="pc", registers={0x2FF: 0xC00}, moment="resume"
        ),
    )


def test_the_plugin_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "acme-faults", "acme", block("plugin example"), "memhub.faults")
    path = tmp_path / "lab.toml"
    path.write_text(one_machine("") + block("plugin rule"))
    try:
        config = load_config(path)
        client = LocalClient(config.machines.values(), faults=config.faults)
        with client, client.open("/dev/mem") as mem:
            assert mem.pread(2, 0xD0000000) == b"\xf7\xff"

        path.write_text(one_machine("") + block("plugin rule").replace("bit", "but"))
        with pytest.raises(ConfigError, match=r"has no option 'but'.*did you mean 'bit'"):
            load_config(path)
    finally:
        sys.modules.pop("loader_acme_faults", None)


def test_the_page_names_every_action_operation_and_field() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))

    assert {*ACTIONS, *OPERATION_WORDS} <= named
    assert {*SICK_ACTIONS, *MOMENTS} <= named
    for rule in (FaultRule, Sickness):
        assert {it.name for it in fields(rule)} - {"action", "name"} <= named
