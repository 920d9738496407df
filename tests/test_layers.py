"""The order of the layers, and the few rules that keep the core pure, read off the source."""

from __future__ import annotations

import ast
import re

import pytest

from import_circles import circle, circle_of_rooms
from source_rules import (
    COMPONENTS,
    MAX_LINES,
    NAMES_THAT_SAY_NOTHING,
    ROOT,
    Source,
    aliases_called,
    from_plugins,
    impure,
    mutable_state,
    past_the_plugin_face,
    past_the_value,
    rank,
    sources,
    wrong_way,
)

# The project


def test_every_component_has_a_place_in_the_order() -> None:
    for part in sorted(COMPONENTS):
        rank(part)


def test_the_page_on_the_architecture_names_every_component_in_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rooms = page.partition("## The rooms")[2].partition("##")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", rooms, re.MULTILINE)
    named = [part for row in rows for part in re.findall(r"`(\w+)`", row)]
    present = [part for part in named if part in COMPONENTS]

    assert sorted(present) == sorted(COMPONENTS - {"memhub", "__main__"})
    assert present == sorted(present, key=rank)


def test_no_layer_imports_one_to_its_right() -> None:
    assert [fault for source in sources("memhub") for fault in wrong_way(source)] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(sources("memhub")) == []
    assert circle(sources("plugins")) == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    assert circle_of_rooms(sources("memhub")) == []
    assert circle_of_rooms(sources("plugins")) == []


def test_memhub_imports_no_architecture() -> None:
    assert [fault for source in sources("memhub") for fault in from_plugins(source)] == []


def test_architectures_import_the_plugin_face_alone() -> None:
    assert [fault for s in sources("plugins") for fault in past_the_plugin_face(s)] == []


def test_the_core_x86_and_the_architectures_are_pure() -> None:
    pure = sources("memhub/core", "memhub/x86", "plugins")

    assert [fault for source in pure for fault in impure(source)] == []


def test_what_a_machine_is_made_of_does_not_know_who_decides() -> None:
    assert [fault for source in sources("memhub/core") for fault in past_the_value(source)] == []


def test_no_module_holds_state() -> None:
    assert [fault for s in sources("memhub", "plugins") for fault in mutable_state(s)] == []


def test_no_type_is_made_where_a_collection_is() -> None:
    found = sources("memhub", "plugins")

    assert [fault for source in found for fault in aliases_called(source)] == []


def test_no_file_is_too_long() -> None:
    lengths = {
        source.path: len(source.text.splitlines())
        for source in sources("memhub", "plugins", "tests", "benchmarks")
    }

    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_every_module_is_named_for_what_it_holds() -> None:
    parts = [(s.path, set(s.module.split("."))) for s in sources("memhub", "plugins", "tests")]

    assert [path for path, names in parts if names & NAMES_THAT_SAY_NOTHING] == []


def test_ioctl_numbers_and_structures_are_laid_out_in_one_file() -> None:
    """0xc0106d32 and its like, and the formats of the structures."""
    numbers = {0xC0106D32, 0x80106D33, 0x40106D33, 0xC00C6D32, 0x800C6D33, 0x400C6D33}
    told = numbers | {"<Qii", "<Iii", "<QQI8s4x", "<QQI8s"}
    found = {
        source.path
        for source in sources("memhub", "plugins")
        for node in source.nodes()
        if isinstance(node, ast.Constant) and node.value in told
    }

    assert found == {"memhub/abi_layout.py"}


# The rules themselves: each finds the fault it is for


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("memhub/abi.py", "import memhub.errors", "abi imports memhub.errors"),
        ("memhub/abi.py", "from memhub import errors", "abi imports memhub.errors"),
        ("memhub/abi.py", "from . import errors", "abi imports memhub.errors"),
        ("memhub/abi.py", "from memhub import Hub", "abi imports memhub.Hub"),
        ("memhub/core/x.py", "from ..plugin.spec import y", "core imports memhub.plugin.spec.y"),
        ("memhub/core/x.py", "import memhub.x86.registers", "core imports memhub.x86.registers"),
        ("memhub/x86/x.py", "from memhub.plugin import y", "x86 imports memhub.plugin.y"),
        ("memhub/core/__init__.py", "from ..audit import y", "core imports memhub.audit.y"),
        ("memhub/core/x.py", "def f():\n  import memhub.audit", "core imports memhub.audit"),
        ("memhub/core/x.py", "if TYPE_CHECKING:\n  import memhub.audit", "imports memhub.audit"),
        ("memhub/core/x.py", "import_module('memhub.audit')", "core imports memhub.audit"),
        ("memhub/service/wire/x.py", "import memhub.config", "service imports memhub.config"),
        ("memhub/service/x.py", "from memhub.exec import run", "service imports memhub.exec.run"),
    ],
)
def test_an_import_to_the_right_is_found(path: str, text: str, found: str) -> None:
    (fault,) = wrong_way(Source(path, text))

    assert found in fault


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("memhub/errors.py", "from memhub.abi import Errno"),
        ("memhub/core/x.py", "from . import y; from .z import w; from memhub.core import v"),
        ("memhub/cli/x.py", "from memhub import Hub, abi; import memhub.config"),
        ("memhub/service/x.py", "import memhubris; import numpy; from memhub.audit import y"),
    ],
)
def test_an_import_to_the_left_is_allowed(path: str, text: str) -> None:
    assert wrong_way(Source(path, text)) == []


def test_an_unknown_component_asks_for_a_place() -> None:
    with pytest.raises(AssertionError, match=r"memhub.novelty has no place in ORDER"):
        rank("novelty")


def test_a_circle_for_types_alone_is_found() -> None:
    one = Source("memhub/core/a.py", "from memhub.core.b import B")
    text = "if TYPE_CHECKING:\n    from memhub.core.a import A"

    assert set(circle([one, Source("memhub/core/b.py", text)])) == {
        "memhub.core.a",
        "memhub.core.b",
    }
    assert circle([one, Source("memhub/core/b.py", "")]) == []


def test_a_circle_of_rooms_is_found_where_their_modules_have_none() -> None:
    one = Source("memhub/core/p/a.py", "from memhub.core.q.b import B")
    two = Source("memhub/core/q/b.py", "")
    back = Source("memhub/core/q/c.py", "from memhub.core.p.d import D")
    found = [one, two, back, Source("memhub/core/p/d.py", "from memhub.core.p import a")]

    assert circle(found) == []
    assert set(circle_of_rooms(found)) == {"p", "q"}
    assert circle_of_rooms([one, two]) == []


def test_each_other_rule_finds_its_fault() -> None:
    assert from_plugins(Source("memhub/hub/hub.py", "from memhub_i386 import I386"))
    assert past_the_plugin_face(Source("plugins/memhub_x/a.py", "from memhub import abi"))
    assert not past_the_plugin_face(
        Source("plugins/memhub_x/a.py", "from memhub import plugin; from memhub.plugin import abi")
    )
    assert aliases_called(Source("memhub/core/x.py", "found = list[int]()"))
    assert not aliases_called(Source("memhub/core/x.py", "found: list[int] = make[0]()"))
    assert past_the_value(Source("memhub/core/x.py", "from memhub.core.deciding.decide import y"))
    assert past_the_value(Source("memhub/core/holding/x.py", "import memhub.core.deciding"))
    assert not past_the_value(Source("memhub/core/deciding/x.py", "import memhub.core.deciding.y"))
    assert impure(Source("memhub/core/x.py", "from os import path"))
    assert impure(Source("memhub/core/memory/backing.py", "import time"))
    assert not impure(Source("memhub/core/memory/backing.py", "import os"))


@pytest.mark.parametrize(
    "text",
    [
        "cache = {}",
        "cache: dict[int, int] = {}",
        "_seen = set()",
        "names = [n for n in x]",
        "if x:\n  queue = deque()",
        "def f():\n  global counter\n  counter = 1",
    ],
)
def test_module_level_state_is_found(text: str) -> None:
    assert len(mutable_state(Source("memhub/x.py", text))) == 1


@pytest.mark.parametrize(
    "text",
    ["TABLE = {}", "table: Final = {}", "__all__ = ['x']", "x = ()", "def f():\n  cache = {}"],
)
def test_constants_and_locals_are_no_state(text: str) -> None:
    assert mutable_state(Source("memhub/x.py", text)) == []
