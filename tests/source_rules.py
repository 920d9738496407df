"""The order of the layers and the rules of the source, each as the faults of one file."""

from __future__ import annotations

import ast
import gc
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
MAX_LINES = 350

#: Each row may import itself and the rows above it. `memhub` is the public face, `__init__.py`.
ORDER: tuple[frozenset[str], ...] = (
    frozenset({"abi_layout", "escape", "folding", "whole_file"}),
    frozenset({"arguments"}),
    frozenset({"abi"}),
    frozenset({"errors"}),
    frozenset({"planner"}),
    frozenset({"core"}),
    frozenset({"images", "x86"}),
    frozenset({"plugin", "hooks", "hook_values", "entry_points"}),
    frozenset({"arches", "device_kinds", "device_thread", "fault_kinds", "kernels"}),
    frozenset({"audit", "clock"}),
    frozenset({"engine"}),
    frozenset({"devices", "faces", "faults", "maps", "snapshots", "watchdog"}),
    frozenset({"handles"}),
    frozenset({"hub"}),
    frozenset({"service", "shipping", "analysis", "kvm"}),
    frozenset({"exec"}),
    frozenset({"config"}),
    frozenset({"machines"}),
    frozenset({"rig"}),
    frozenset({"compare"}),
    frozenset({"memhub"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)

#: What would bring a clock, chance, a thread, a file or an event loop into the core.
IMPURE = frozenset(
    {
        "anyio",
        "asyncio",
        "datetime",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "pluggy",
        "random",
        "secrets",
        "select",
        "signal",
        "socket",
        "structlog",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "trio",
        "uuid",
    }
)

#: The store behind a large memory may be a file: the one place that touches one.
CORE_EXCEPTIONS = {
    "memhub/core/memory/backing.py": frozenset({"os"}),
    "memhub/core/memory/memfile.py": frozenset({"os"}),
    "memhub/core/memory/pages.py": frozenset({"os"}),
}

NAMES_THAT_SAY_NOTHING = frozenset({"utils", "util", "helpers", "helper", "common", "misc"})


@cache
def _parse_text(text: str, path: str) -> tuple[ast.Module, tuple[ast.AST, ...]]:
    gc.disable()  # all nodes stay; to look for garbage among them takes twice as long as to parse
    try:
        tree = ast.parse(text, path)

        return tree, tuple(ast.walk(tree))
    finally:
        gc.enable()


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: where it lies, and what it says."""

    path: str
    text: str

    @property
    def module(self) -> str:
        """Its dotted name, without a trailing `__init__`."""
        parts = Path(self.path).with_suffix("").parts
        parts = parts[1:] if parts[0] == "plugins" else parts

        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> list[str]:
        """The parts of the package that its relative imports start from."""
        parts = self.module.split(".")

        return parts if self.path.endswith("__init__.py") else parts[:-1]

    def tree(self) -> ast.Module:
        """The parsed file."""
        return _parse_text(self.text, self.path)[0]

    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the parsed file."""
        return _parse_text(self.text, self.path)[1]

    def imports(self) -> Iterator[tuple[int, str]]:
        """Line and dotted name of everything imported, wherever in the file it is written.

        `from a import b` gives `a.b`, as `b` may be a module. A type-checking block and the body
        of a function count too: a layer that needs a name from above is in the wrong place.
        """
        for node in self.nodes():
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
            elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
                yield from ((node.lineno, name) for name in _literals(node))

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""

        parts = self.package[: len(self.package) - node.level + 1]

        return ".".join([*parts, node.module] if node.module else parts)


def _called(node: ast.Call) -> str:
    function = node.func

    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _literals(node: ast.Call) -> Iterator[str]:
    for argument in node.args[:1]:
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value


def sources(*folders: str) -> list[Source]:
    """Every Python file below these folders of the project."""
    return [
        Source(path.relative_to(ROOT).as_posix(), path.read_text())
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


def components() -> frozenset[str]:
    """What lies directly in `memhub`: a module or a package, by name."""
    names = (source.module.split(".") for source in sources("memhub"))

    return frozenset(parts[1] for parts in names if len(parts) > 1)


COMPONENTS = components()


def component(name: str) -> str:
    """The first part of a dotted name below `memhub`, or `memhub` for its public face."""
    parts = name.split(".")

    return parts[1] if len(parts) > 1 and parts[1] in COMPONENTS else "memhub"


def rank(part: str) -> int:
    """The row of a component in ORDER."""
    for row, parts in enumerate(ORDER):
        if part in parts:
            return row

    raise AssertionError(f"memhub.{part} has no place in ORDER: give it one in tests/{__name__}.py")


def wrong_way(source: Source) -> list[str]:
    """Imports of a layer to the right of the file's own."""
    here = component(source.module)

    return [
        f"{source.path}:{line}: {here} imports {name}"
        for line, name in source.imports()
        if name.split(".")[0] == "memhub" and rank(component(name)) > rank(here)
    ]


def from_plugins(source: Source) -> list[str]:
    """Imports of an architecture, or of the folder that they lie in."""
    return [
        f"{source.path}:{line}: imports {name}"
        for line, name in source.imports()
        if name.startswith("memhub_") or name.split(".")[0] == "plugins"
    ]


def past_the_plugin_face(source: Source) -> list[str]:
    """Imports of memhub that are not of `memhub.plugin`."""
    return [
        f"{source.path}:{line}: imports {name}"
        for line, name in source.imports()
        if name.split(".")[0] == "memhub" and name.split(".")[1:2] != ["plugin"]
    ]


def impure(source: Source) -> list[str]:
    """Imports that a pure, synchronous machine has no use for."""
    refused = IMPURE - CORE_EXCEPTIONS.get(source.path, frozenset())

    return [
        f"{source.path}:{line}: imports {name}"
        for line, name in source.imports()
        if name.split(".")[0] in refused or name.startswith("numpy.random")
    ]


def past_the_value(source: Source) -> list[str]:
    """Imports of the deciders by what a machine is made of, which does not know who decides."""
    if source.module.startswith(("memhub.core.deciding", "memhub.core.faults")):
        return []

    return [
        f"{source.path}:{line}: imports {name}"
        for line, name in source.imports()
        if name.startswith("memhub.core.deciding")
    ]


def aliases_called(source: Source) -> list[str]:
    """Calls of a subscripted type, as `list[int]()`: each makes the alias anew."""
    return [
        f"{source.path}:{node.lineno}: {ast.unparse(node)} makes its type at every call; "
        "annotate the name instead"
        for node in source.nodes()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Subscript)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("list", "dict", "set", "tuple", "frozenset")
    ]


def mutable_state(source: Source) -> list[str]:
    """Module-level names that hold something to change, and functions that rebind one."""
    faults = [
        f"{source.path}:{node.lineno}: module-level mutable {name}"
        for node in _module_level(source.tree().body)
        for name in _mutable_names(node)
    ]
    faults += [
        f"{source.path}:{node.lineno}: global {', '.join(node.names)}"
        for node in source.nodes()
        if isinstance(node, ast.Global)
    ]

    return faults


def _module_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _module_level([n for n in ast.iter_child_nodes(node) if _is_stmt(n)])  # type: ignore[misc]


def _is_stmt(node: ast.AST) -> bool:
    return isinstance(node, ast.stmt)


def _mutable_names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.AnnAssign) and "Final" not in ast.unparse(node.annotation):
        targets: list[ast.expr] = [node.target]
    elif isinstance(node, ast.Assign):
        targets = node.targets
    else:
        return []

    if not _is_mutable(node.value):
        return []

    names = [ast.unparse(target) for target in targets]

    return [name for name in names if not name.isupper() and name != "__all__"]


def _is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        makers = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "count"}

        return _called(value) in makers

    displays = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)

    return isinstance(value, displays)
