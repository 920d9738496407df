"""What a plugin adds that is of no use is named when it is loaded, and the rest is used."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from memhub.analysis import lint
from memhub.config.importers import added
from memhub.device_kinds import load_device_kinds
from memhub.fault_kinds import load_fault_kinds
from memhub.kernels import load_kernels
from memhub.plugin import devices, faults, kernels

if TYPE_CHECKING:
    from collections.abc import Callable


def call(*_: Any) -> Any:
    """Stands for what is called."""


def device(**changes: Any) -> Any:
    return devices.DeviceKind(**{"name": "card", "summary": "", "make": call, **changes})


def fault(**changes: Any) -> Any:
    return faults.FaultKind(**{"name": "acme.it", "summary": "", "strike": call, **changes})


def importer(**changes: Any) -> Any:
    return added.Importer(**{"name": "dump", "summary": "", "read": call, **changes})


def rule(**changes: Any) -> Any:
    fields = {"name": "long", "level": "info", "summary": "", "find": call, "say": call}
    return lint.Rule(**{**fields, **changes})


def kernel(**changes: Any) -> Any:
    fields = {"name": "plan9", "summary": "", "recorded": (), "replay": call}
    return kernels.KernelProfile(**{**fields, **changes})


#: Who makes a value, who loads it, its hook, and the name of a good one.
KINDS: dict[str, tuple[Any, Any, Any]] = {
    "memhub_devices": (device, load_device_kinds, devices.hookimpl),
    "memhub_faults": (fault, load_fault_kinds, faults.hookimpl),
    "memhub_importers": (importer, added.load_importers, added.hookimpl),
    "memhub_lint_rules": (rule, lint.load_rules, lint.hookimpl),
    "memhub_kernels": (kernel, load_kernels, kernels.hookimpl),
}


def load(hook: str, *changes: dict[str, Any]) -> Any:
    """The book of a plugin that adds a value for each of these changes."""
    make, loads, mark = KINDS[hook]
    values = [make(**it) for it in changes]

    def add() -> list[Any]:
        return values

    add.__name__ = hook
    module = ModuleType("acme")
    vars(module)[hook] = mark(add)

    return loads(plugins=[("acme", module)], installed=False)


@pytest.mark.parametrize(
    ("hook", "change", "says"),
    [
        ("memhub_devices", {"make": 3}, "TypeError: make of 'card' is 3, which cannot be called"),
        ("memhub_devices", {"name": ""}, "ValueError: the name '' is not one word"),
        ("memhub_devices", {"name": "a\nb"}, r"ValueError: the name 'a\nb' is not one word"),
        ("memhub_devices", {"options": ["a"]}, "options of 'card' is ['a'], not values by"),
        ("memhub_devices", {"summary": 3}, "summary of 'card' is 3, which is no text"),
        ("memhub_faults", {"strike": None}, "strike of 'acme.it' is None, which cannot be called"),
        ("memhub_faults", {"operations": {"reed"}}, "operation 'reed' of acme.it is none of read,"),
        ("memhub_faults", {"operations": "read"}, "operations of acme.it is 'read', not several"),
        ("memhub_faults", {"options": {"a": [1]}}, "option a [1] is no number, text or boolean"),
        ("memhub_importers", {"read": "x"}, "read of 'dump' is 'x', which cannot be called"),
        ("memhub_importers", {"name": "my dump"}, "the name 'my dump' is not one word"),
        ("memhub_lint_rules", {"find": None}, "find of 'long' is None, which cannot be called"),
        ("memhub_lint_rules", {"say": 3}, "say of 'long' is 3, which cannot be called"),
        ("memhub_kernels", {"replay": None}, "replay of 'plan9' is None, which cannot be called"),
    ],
)
def test_a_value_of_no_use_is_named_and_not_used(
    hook: str, change: dict[str, Any], says: str
) -> None:
    book = load(hook, change)
    (failure,) = book.failures
    assert (failure.plugin, says in failure.reason) == ("acme", True), failure.reason


@pytest.mark.parametrize("hook", KINDS)
def test_the_good_one_beside_it_is_used(hook: str) -> None:
    make: Callable[..., Any] = KINDS[hook][0]
    good = make().name
    book = load(hook, {}, {"name": "a.second" if hook == "memhub_faults" else "second"})
    assert book.failures == ()
    names = next(it for it in vars(type(book))["__slots__"] if it != "failures")
    assert good in getattr(book, names)
