"""What the reference of the Python interface covers, and its pages as reStructuredText.

A public name is one of a module's `__all__`, or one that it imports as itself (`X as X`), or one
without an underscore that it defines. Each has a docstring; a constant has a comment `#:`.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The public modules and what each is for, in the order of the reference. What several of them
#: have is described on the page of the first.
MODULES: Final = {
    "memhub": "machines, processes and open files, awaited",
    "memhub.abi": "flags, descriptors and ioctl numbers of mem(4)",
    "memhub.errors": "what a request is refused with",
    "memhub.arches": "the installed architectures",
    "memhub.clock": "time, the computer's or by hand",
    "memhub.machines": "machines without a file",
    "memhub.config": "machines and services from TOML, dumps and boot logs",
    "memhub.config.importers.added": "importers of texts of your own",
    "memhub.engine.subscriptions": "changes as they happen",
    "memhub.snapshots.snapshot": "snapshots of the machines of a hub",
    "memhub.images": "files and patterns as contents of memory, and memory saved",
    "memhub.hub.memory_images": "memory of a hub's machines dumped and loaded",
    "memhub.kvm": "kvm(3): kernel memory by symbol and structure",
    "memhub.kvm.opening": "what opens it",
    "memhub.kvm.descriptor": "what it reads",
    "memhub.kvm.session": "what its faces share",
    "memhub.kvm.page_tables": "page tables in an image",
    "memhub.kvm.minidump": "minidumps of FreeBSD",
    "memhub.core.snapshots": "one machine at a moment, and another like it",
    "memhub.core.spec": "what a machine is made of",
    "memhub.core.replies": "what requests are answered with",
    "memhub.core.claims": "claims, as reports and states show them",
    "memhub.device_kinds": "kinds of devices",
    "memhub.devices.shown": "devices of a hub, and what they show",
    "memhub.devices.screens": "pictures of devices as PNG and in a terminal",
    "memhub.plugin.devices": "what a plugin of device models imports",
    "memhub.plugin.pictures": "what a device shows",
    "memhub.plugin.serial": "a wire with two ends",
    "memhub.fault_kinds": "kinds of faults",
    "memhub.plugin.faults": "what a plugin of fault kinds imports",
    "memhub.core.memory.physmap": "device models behind physical addresses",
    "memhub.core.instant": "moments on both clocks",
    "memhub.watchdog": "drivers that do not answer",
    "memhub.devices.bus": "a machine's bus, and what devices see",
    "memhub.handles.device_caches": "flush, write back and fence, of an open file",
    "memhub.handles.device_kernel": "system calls of another kernel, through an open file",
    "memhub.handles.cache_calls": "the same of a handle",
    "memhub.maps": "the physical address space, as text or as a figure",
    "memhub.planner": "the fewest registers for a wanted map of types",
    "memhub.planner.map_text": "maps of types as text",
    "memhub.core.ranges.plannable": "what an architecture has to plan with",
    "memhub.rig": "fixtures, virtual time, checks of architectures",
    "memhub.rig.arch_check": "what an architecture is checked for",
    "memhub.plugin": "what an architecture imports",
    "memhub.plugin.declared": "architectures without code",
    "memhub.plugin.software": "slots without registers behind them",
    "memhub.plugin.types": "effective memory types",
    "memhub.plugin.x86": "MTRRs and page attribute tables",
    "memhub.core.drivers.range_refusals": "the words of refusals",
    "memhub.plugin.kernels": "what a plugin says of another kernel",
    "memhub.plugin.comparing": "what `memhub compare` asks of another kernel",
    "memhub.kernels": "other kernels over the same registers",
    "memhub.compare": "one sequence of requests over several kernels",
    "memhub.handles.kernel_calls": "what drivers call of a machine's other kernel",
    "memhub.faces.linux": "the ioctls of Linux's `/proc/mtrr`",
    "memhub.hooks": "plugins of other kinds",
    "memhub.audit": "the audit log: written, read, verified",
    "memhub.audit.history.travel": "every table and claim at a moment",
    "memhub.audit.history.diff": "what differs between two moments",
    "memhub.audit.history.blame": "why an address has its type",
    "memhub.audit.history.rebuild": "machines from the records of a log",
    "memhub.audit.history.restore": "going on from a log",
    "memhub.audit.seals.signed_note": "keys and signed notes",
    "memhub.audit.seals.checkpoint": "signed checkpoints",
    "memhub.audit.seals.merkle": "Merkle trees",
    "memhub.audit.seals.tlog_proof": "proofs of one record",
    "memhub.audit.schema": "the events and fields of a record",
    "memhub.analysis": "questions to logs",
    "memhub.analysis.lint": "rules for what to look into",
    "memhub.service.blocking": "the client of a service, blocking",
    "memhub.service.client": "the client of a service, awaited",
    "memhub.service.client.administration": "what it asks of the whole hub",
    "memhub.service.client.handle": "its open files",
    "memhub.service.client.events": "its subscriptions",
    "memhub.service.client.hardware": "sick hardware of its machines, awaited",
    "memhub.service.blocking.hardware": "the same, blocking",
    "memhub.service.mapped": "memory of a machine, mapped",
    "memhub.service.local": "the blocking client's methods on machines in this process",
    "memhub.service.subject": "whom a certificate names",
    "memhub.service.server": "a service in a program of one's own",
    "memhub.exec": "unmodified programs",
}

#: Most characters of a constant's value that a page shows.
_LONGEST_VALUE: Final = 60


class Name(NamedTuple):
    """A public name.

    Attributes:
        module: the public module that has it.
        name: what it is called there.
        home: the module that defines it.
    """

    module: str
    name: str
    home: str

    @property
    def path(self) -> str:
        """What a reader imports."""
        return f"{self.module}.{self.name}"

    def value(self) -> object:
        """What it stands for."""
        return getattr(import_module(self.module), self.name)


@cache
def _source_lines(module: str) -> list[str]:
    spec = find_spec(module)
    origin = spec.origin if spec is not None else None
    assert origin is not None, module

    return Path(origin).read_text(encoding="utf-8").splitlines()


@cache
def source_of(module: str) -> ast.Module:
    """The parsed source of a module."""
    return ast.parse("\n".join(_source_lines(module)))


def public_names(module: str) -> list[Name]:
    """The public names of a module, in order."""
    listed = _listed_names(module)
    imported = _imported_names(module)
    defined = {name: module for name in _definitions(module) if not name.startswith("_")}
    known = {**imported, **defined}
    names = listed if listed is not None else sorted(known)

    found = [_at_home(Name(module, name, known.get(name, module))) for name in names]

    # some names of types are only there for a type checker
    return [name for name in found if hasattr(import_module(module), name.name)]


def _listed_names(module: str) -> list[str] | None:
    """The names in `__all__`."""
    for node in source_of(module).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return sorted(ast.literal_eval(node.value))

    return None


def _imported_names(module: str) -> dict[str, str]:
    """The names that a module imports for others, with where it has them from."""
    return {
        alias.name: node.module or ""
        for node in ast.walk(source_of(module))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }


def _definitions(module: str) -> dict[str, ast.stmt]:
    """What a module defines at its top level: classes, functions and constants."""
    found: dict[str, ast.stmt] = {}
    for node in _top_level(source_of(module).body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.setdefault(node.name, node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.setdefault(node.target.id, node)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, node)

    return {
        name: node
        for name, node in found.items()
        if not name.startswith("__") and name not in ("T", "TYPE_CHECKING")
    }


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module; those for type checkers before their replacements."""
    for node in body:
        if isinstance(node, ast.If):
            yield from _top_level([*node.body, *node.orelse])
        else:
            yield node


def _at_home(name: Name) -> Name:
    """The same name with the module that defines it, however often it is passed on."""
    while name.home.startswith("memhub") and name.name not in _definitions(name.home):
        further = _imported_names(name.home).get(name.name)
        if further is None or further == name.home:
            break

        name = name._replace(home=further)

    return name


def is_module(name: Name) -> bool:
    """Whether the name stands for a module, which has a page of its own."""
    return inspect.ismodule(name.value())


# What lacks a description


def undocumented(module: str) -> list[str]:
    """The public names of a module, and the members of its classes, without a description."""
    return [fault for name in public_names(module) for fault in _faults(name)]


def _faults(name: Name) -> list[str]:
    if is_module(name):
        return [] if name.value().__name__ in MODULES else [f"{name.path}: a module without a page"]  # type: ignore[attr-defined]

    node = _definitions(name.home).get(name.name)
    if node is None:
        return [f"{name.path}: its definition is not found in {name.home}"]

    if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [] if _comment(name) else [f"{name.path}: no comment #:"]

    faults = [] if ast.get_docstring(node) else [f"{name.path}: no docstring"]

    return faults + (_faults_of_members(name, node) if isinstance(node, ast.ClassDef) else [])


def _faults_of_members(name: Name, node: ast.ClassDef) -> list[str]:
    """Methods without a docstring, of their own or inherited."""
    value = name.value()

    return [
        f"{name.path}.{it.name}: no docstring"
        for it in node.body
        if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef)
        if not it.name.startswith("_")
        if not inspect.getdoc(getattr(value, it.name))
    ]


def _comment(name: Name) -> list[str]:
    """The lines of the comment `#:` above a constant."""
    lines = _source_lines(name.home)
    last = _definitions(name.home)[name.name].lineno - 1
    first = last
    while first and lines[first - 1].lstrip().startswith("#:"):
        first -= 1

    return [line.lstrip().removeprefix("#:").strip() for line in lines[first:last]]


# The pages


def import_for_types() -> None:
    """Add to the modules of memhub what they import for types alone, so that a type has a link."""
    for module in MODULES:
        for name in public_names(module):
            import_module(name.home)

    waiting = [(module, node) for module in _loaded() for node in _imports_for_types(module)]
    while waiting:
        failed = [(module, node) for module, node in waiting if not _run(module, node)]
        if len(failed) == len(waiting):  # names of stubs, which nobody has at run time
            return

        waiting = failed


def _loaded() -> list[str]:
    return sorted(name for name in sys.modules if name.split(".")[0] == "memhub")


def _imports_for_types(module: str) -> list[ast.stmt]:
    """The statements below `if TYPE_CHECKING:`."""
    return [
        statement
        for node in source_of(module).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
    ]


def _run(module: str, node: ast.stmt) -> bool:
    """Run one statement in a module; whether it could be run."""
    code = compile(ast.Module([node], type_ignores=[]), module, "exec")
    try:
        exec(code, vars(sys.modules[module]))  # noqa: S102 - the module's own text
    except (ImportError, NameError):
        return False

    return True


def pages() -> dict[str, str]:
    """The pages of the reference, by the names of their files."""
    told: dict[tuple[str, str], Name] = {}
    made = {f"{module}.rst": _page(module, told) for module in MODULES}

    return {"index.rst": _index(), **made}


def _index() -> str:
    rows = "\n".join(f"   * - :doc:`{module}`\n     - {text}" for module, text in MODULES.items())
    entries = "\n".join(f"   {module}" for module in MODULES)

    return (
        f"{_heading('Reference', '=')}\n"
        "What can be imported, from the docstrings. A name that several modules have is described\n"
        "once.\n\n"
        f".. list-table::\n   :widths: 35 65\n\n{rows}\n\n"
        f".. toctree::\n   :hidden:\n\n{entries}\n"
    )


def _page(module: str, told: dict[tuple[str, str], Name]) -> str:
    here: list[Name] = []
    elsewhere: list[Name] = []
    for name in public_names(module):
        if is_module(name):
            continue

        first = told.setdefault((name.home, name.name), name)
        (here if first is name else elsewhere).append(first)

    parts = [_heading(module, "="), f".. automodule:: {module}\n"]
    if elsewhere:
        links = ", ".join(f":py:obj:`{it.name} <{it.path}>`" for it in elsewhere)
        parts.append(f"Also here: {links}.\n")

    parts += [_directive(name) for name in here]

    return "\n".join(parts)


def _directive(name: Name) -> str:
    node = _definitions(name.home)[name.name]
    if isinstance(node, ast.ClassDef):
        bases = "   :show-inheritance:\n" if node.bases else ""
        return f".. autoclass:: {name.path}\n   :members:\n{bases}"

    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return f".. autofunction:: {name.path}\n"

    # autodoc finds the comment of a constant in the module alone that defines it
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    written = ast.unparse(value) if value is not None else ""
    shown = f"   :value: {written}\n" if 0 < len(written) <= _LONGEST_VALUE else ""
    text = "\n".join(f"   {line}" for line in _comment(name))

    return f".. py:data:: {name.name}\n{shown}\n{text}\n"


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"
