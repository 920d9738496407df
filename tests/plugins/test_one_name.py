"""Of two plugins that add one name neither is used, whatever they add, and all are told alike."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from memhub.analysis import lint
from memhub.arches import load_arches
from memhub.config.importers import added
from memhub.device_kinds import load_device_kinds
from memhub.fault_kinds import load_fault_kinds
from memhub.kernels import load_kernels
from memhub.plugin import Arch, KernelLayout, devices, faults, hookimpl, kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def never(*_: Any) -> Any:
    """What values of these kinds call; they are never used."""


class Kind(NamedTuple):
    """One kind of hook: how its values are made, and who loads and keeps them.

    Attributes:
        own: a name that memhub has itself, if there is one.
        dot: what stands between the words of a name.
    """

    noun: str
    hook: str
    mark: Any
    make: Callable[[str], object]
    load: Callable[..., Any]
    kept: Callable[[Any], Mapping[str, Any]]
    own: str = ""
    dot: str = "-"


KINDS = [
    Kind(
        "architecture",
        "memhub_arches",
        hookimpl,
        lambda name: Arch(name=name, summary="", kernel=KernelLayout(kernel_base=0)),
        load_arches,
        dict,
    ),
    Kind(
        "kind of device",
        "memhub_devices",
        devices.hookimpl,
        lambda name: devices.DeviceKind(name=name, summary="", options={}, make=never),
        load_device_kinds,
        lambda book: book.kinds,
    ),
    Kind(
        "fault kind",
        "memhub_faults",
        faults.hookimpl,
        lambda name: faults.FaultKind(name=name, summary="", strike=never),
        load_fault_kinds,
        lambda book: book.kinds,
        dot=".",
    ),
    Kind(
        "kernel",
        "memhub_kernels",
        kernels.hookimpl,
        lambda name: kernels.KernelProfile(name=name, summary="", recorded=(), replay=never),
        load_kernels,
        lambda book: book.kernels,
        "freebsd",
    ),
    Kind(
        "format",
        "memhub_importers",
        added.hookimpl,
        lambda name: added.Importer(name, "", never),
        added.load_importers,
        lambda book: book.importers,
        "msr",
    ),
    Kind(
        "rule",
        "memhub_lint_rules",
        lint.hookimpl,
        lambda name: lint.Rule(name, "error", "", never, never),
        lint.load_rules,
        lambda book: {name: rule for name, rule in book.rules.items() if rule.source},
        "deadlock",
    ),
]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda it: it.noun)


def load(kind: Kind, **plugins: list[str]) -> Any:
    """The book of plugins that add these names, without what is installed."""
    found = []
    for plugin, names in plugins.items():
        module = ModuleType(plugin)
        vars(module)[kind.hook] = _hook_of(kind, [kind.make(name) for name in names])
        found.append((plugin, module))

    return kind.load(plugins=found, installed=False)


def _hook_of(kind: Kind, values: list[object]) -> object:
    def hook() -> list[object]:
        return values

    hook.__name__ = kind.hook

    return kind.mark(hook)


@each_kind
def test_neither_of_two_is_used_and_what_else_they_add_is(kind: Kind) -> None:
    both, first, second, third = (f"a{kind.dot}{it}" for it in ("both", "first", "second", "third"))
    book = load(kind, one=[both, first], two=[second, both, third])

    assert set(kind.kept(book)) == {first, second, third}
    said = (
        f"{kind.noun} {both!r} is provided twice, by 'one' of the caller and 'two' of the caller; "
        "none is used: give one another name"
    )
    assert [(it.plugin, it.reason, str(it)) for it in book.failures] == [
        ("one", said, said),
        ("two", said, said),
    ]


@each_kind
def test_one_plugin_that_adds_a_name_twice_is_told_once(kind: Kind) -> None:
    both, other = f"a{kind.dot}both", f"a{kind.dot}other"
    book = load(kind, one=[both, both], two=[other])

    assert set(kind.kept(book)) == {other}
    (failure,) = book.failures
    assert failure.plugin == "one"
    assert f"{kind.noun} {both!r} is provided twice, by 'one' of the caller; none" in str(failure)


@pytest.mark.parametrize("kind", [it for it in KINDS if it.own], ids=lambda it: it.noun)
def test_a_name_that_memhub_has_itself_stays_memhubs(kind: Kind) -> None:
    book = load(kind, one=[kind.own, "another"])

    assert set(kind.kept(book)) == {"another"}
    (failure,) = book.failures
    said = f"{kind.noun} {kind.own!r} is there already, of memhub, which is used"
    assert failure.reason == f"{said}: give yours another name"
