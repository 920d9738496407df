"""The reference covers what the pages show, and each public name is described."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import pytest

from docs import reference
from docs.reference import MODULES, public_names, undocumented
from pages.page_blocks import blocks, pages

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_of_a_module_is_described(module: str) -> None:
    assert undocumented(module) == []


def test_what_the_pages_import_is_in_the_reference() -> None:
    trees = (
        ast.parse(block.code)
        for page in pages()
        for block in blocks(page)
        if block.language == "python" and "async with" not in block.code.partition("\n")[0]
    )
    imported = {
        node.module or ""
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }

    assert {it for it in imported if it.split(".")[0] == "memhub"} <= MODULES.keys()


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a module can be written that the reference covers."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "memhubcase", raising=False)
    for kept in (reference.source_of, reference._source_lines):
        kept.cache_clear()

    return tmp_path


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("def f():\n    return 1\n", ["memhubcase.f: no docstring"]),
        (
            "class A:\n    def m(self): ...\n",
            ["memhubcase.A: no docstring", "memhubcase.A.m: no docstring"],
        ),
        ("LIMIT = 1\n", ["memhubcase.LIMIT: no comment #:"]),
        ("# Not for readers.\nLIMIT = 1\n", ["memhubcase.LIMIT: no comment #:"]),
        (
            "from memhub import core as core\n",
            ["memhubcase.core: a module without a page"],
        ),
        ("#: Most.\nLIMIT = 1\n\ndef _f():\n    return 1\n", []),
        ('def f():\n    """Do it."""\n', []),
        ("from json import dumps\n", []),
    ],
)
def test_what_is_not_described_is_named(written: Path, text: str, faults: list[str]) -> None:
    (written / "memhubcase.py").write_text(text)

    assert undocumented("memhubcase") == faults


def test_a_name_that_is_passed_on_is_looked_for_where_it_is_defined() -> None:
    homes = {it.name: it.home for it in public_names("memhub.abi")}

    assert homes["MDF_BUSY"] == "memhub.abi_layout"
    assert homes["RangeDesc"] == "memhub.abi"
    assert {it.name: it.home for it in public_names("memhub")}["Hub"] == "memhub.hub.hub"


def test_a_name_of_several_modules_is_described_once() -> None:
    made = reference.pages()
    where = [name for name, text in made.items() if "autoclass:: memhub.abi.RangeDesc\n" in text]

    assert where == ["memhub.abi.rst"]
    assert ":py:obj:`RangeDesc <memhub.abi.RangeDesc>`" in made["memhub.plugin.rst"]
    assert set(made) == {"index.rst", *(f"{module}.rst" for module in MODULES)}
