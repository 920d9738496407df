"""`memhub machines` lists, shows and writes the real machines that come with memhub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from memhub import machines
from memhub.config import load_config

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run


def test_the_command_lists_shows_and_writes_machines(run: Run, tmp_path: Path) -> None:
    listed = run("machines", "--with", "holes")
    shown = run("machines", "desktop-2g")
    written = run("machines", "acer", "--toml")
    (tmp_path / "acer.toml").write_text(written.out)
    facts = json.loads(run("machines", "acer", "--json").out)

    assert (listed.code, len(listed.out.splitlines())) == (0, 1)
    assert "zero-mask: slot 0 (base 0x0, mask 0x0): the mask is zero" in shown.out
    assert load_config(tmp_path / "acer.toml").machines == {
        "acer-aspire-one-8-slots-full": machines.load("acer")
    }
    assert facts[0]["kinds"] == ["full", "write-protect"]
    assert run("machines", "--kinds").out.startswith("holes ")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--with", "flies"), 1, "nothing is said of 'flies'; kinds: holes"),
        (("--with", "holes", "--with", "flies"), 1, "nothing is said of 'flies'; kinds: holes"),
        (("--with", "holes", "--with", "tom2"), 1, "of one machine with all of 'holes', 'tom2'; "),
        (("nowhere",), 1, "there is no real machine 'nowhere'"),
        (("--toml",), 2, "--toml writes one machine: give its NAME"),
        (("acer", "--with", "holes"), 2, "NAME shows one machine"),
    ],
)
def test_the_command_refuses_what_it_cannot_show(
    run: Run, words: tuple[str, ...], code: int, says: str
) -> None:
    done = run("machines", *words)

    assert (done.code, done.out) == (code, "")
    assert says in done.err
