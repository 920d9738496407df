"""Finding architectures: a faulty plugin is named, and costs no other plugin anything."""

from __future__ import annotations

import signal
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from memhub.arches import ArchNotInstalled, PluginFailure, Registry, load_arches
from memhub.plugin import Arch, KernelLayout, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BUILT_IN = ("amd64", "amd64-mtrr", "arm64", "i386", "k6", "powerpc", "powerpc64")


def arch(name: str) -> Arch:
    """An architecture without range operations."""
    return Arch(name=name, summary="", kernel=KernelLayout(kernel_base=0))


def plugin(**members: Any) -> ModuleType:
    """A plugin module with these members."""
    module = ModuleType("a_plugin")
    vars(module).update(members)

    return module


def provider(*names: str) -> ModuleType:
    """A plugin that adds architectures of these names."""

    @hookimpl
    def memhub_arches() -> list[Arch]:
        return [arch(name) for name in names]

    return plugin(memhub_arches=memhub_arches)


def load(**plugins: object) -> Registry:
    """The registry of these plugins and a good one, without what is installed."""
    found = [*plugins.items(), ("good", provider("good"))]

    return load_arches(plugins=found, installed=False)


def only_failure(registry: Registry) -> PluginFailure:
    """The one failure of a registry in which the good plugin still works."""
    assert set(registry) == {"good"}
    (failure,) = registry.failures

    return failure


# What works


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_architectures_arrive_by_entry_points(name: str) -> None:
    registry = load_arches()

    assert [str(failure) for failure in registry.failures if failure.plugin == name] == []
    assert registry[name].name == name
    assert registry.sources[name] == "memhub"


def test_without_the_installed_ones_there_are_none() -> None:
    registry = load_arches(installed=False)

    assert dict(registry) == {}
    assert len(registry) == 0


def test_one_plugin_may_add_several_architectures() -> None:
    assert set(load(two=provider("mips", "mips64"))) == {"good", "mips", "mips64"}


def test_one_plugin_may_add_none() -> None:
    registry = load(none=provider())

    assert set(registry) == {"good"}
    assert registry.failures == ()


def test_a_hook_may_be_a_generator() -> None:
    @hookimpl
    def memhub_arches() -> Iterator[Arch]:
        yield arch("mips")
        yield arch("mips64")

    assert set(load(lazy=plugin(memhub_arches=memhub_arches))) == {"good", "mips", "mips64"}


def test_a_plugin_may_be_an_object() -> None:
    class Plugin:
        @hookimpl
        def memhub_arches(self) -> list[Arch]:
            return [arch("mips")]

    assert set(load(thing=Plugin())) == {"good", "mips"}


def test_a_hook_may_have_another_name_if_it_says_which_it_is() -> None:
    @hookimpl(specname="memhub_arches")
    def mine() -> list[Arch]:
        return [arch("mips")]

    assert set(load(renamed=plugin(mine=mine))) == {"good", "mips"}


# What does not


def test_a_hook_that_raises_is_named() -> None:
    @hookimpl
    def memhub_arches() -> list[Arch]:
        raise RuntimeError("no firmware")

    failure = only_failure(load(faulty=plugin(memhub_arches=memhub_arches)))

    assert str(failure) == "plugin 'faulty' of the caller: RuntimeError: no firmware"


def test_a_generator_that_raises_midway_adds_nothing() -> None:
    @hookimpl
    def memhub_arches() -> Iterator[Arch]:
        yield arch("mips")
        raise RuntimeError("no firmware")

    assert "no firmware" in only_failure(load(faulty=plugin(memhub_arches=memhub_arches))).reason


def test_a_hook_that_exits_does_not_end_the_program() -> None:
    @hookimpl
    def memhub_arches() -> list[Arch]:
        sys.exit("usage: mips")

    failure = only_failure(load(faulty=plugin(memhub_arches=memhub_arches)))

    assert failure.reason == "SystemExit: usage: mips"


def test_a_misspelt_hook_is_named() -> None:
    @hookimpl
    def memhub_archs() -> list[Arch]:
        return [arch("mips")]

    failure = only_failure(load(faulty=plugin(memhub_archs=memhub_archs)))

    assert failure.plugin == "faulty"
    assert "unknown hook 'memhub_archs'" in failure.reason


def test_a_hook_without_the_mark_is_refused() -> None:
    """Pluggy alone would pass over it without a word."""
    failure = only_failure(load(faulty=plugin(memhub_arches=lambda: [arch("mips")])))

    assert failure.reason == "TypeError: memhub_arches is not marked with hookimpl"


def test_a_module_without_a_hook_is_refused() -> None:
    assert "has no memhub_arches hook" in only_failure(load(faulty=plugin())).reason


def test_a_hook_with_arguments_of_its_own_is_refused() -> None:
    @hookimpl
    def memhub_arches(config: object) -> list[Arch]:
        return [arch(str(config))]

    assert "config" in only_failure(load(faulty=plugin(memhub_arches=memhub_arches))).reason


def test_an_async_hook_is_refused() -> None:
    @hookimpl
    async def memhub_arches() -> list[Arch]:
        return [arch("mips")]

    failure = only_failure(load(faulty=plugin(memhub_arches=memhub_arches)))

    assert "coroutine function; hooks are synchronous" in failure.reason


def test_an_async_generator_is_refused() -> None:
    @hookimpl
    async def memhub_arches() -> Any:
        yield arch("mips")

    failure = only_failure(load(faulty=plugin(memhub_arches=memhub_arches)))

    assert "'async_generator' object is not iterable" in failure.reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (["mips"], "memhub_arches returned 'mips', which is not an Arch"),
        ("mips", "memhub_arches returned 'm', which is not an Arch"),
        ([arch("mips"), None], "memhub_arches returned None, which is not an Arch"),
        ([Arch], "which is not an Arch"),
        (arch("mips"), "'Arch' object is not iterable"),
        (None, "memhub_arches returned None"),
    ],
    ids=["text-in-list", "text", "none-in-list", "the-class", "bare-arch", "none"],
)
def test_an_answer_that_is_no_list_of_arches_is_refused(answer: Any, reason: str) -> None:
    @hookimpl
    def memhub_arches() -> Iterable[Arch]:
        return answer  # type: ignore[no-any-return]

    assert reason in only_failure(load(faulty=plugin(memhub_arches=memhub_arches))).reason


def test_two_plugins_with_one_architecture_are_both_refused() -> None:
    registry = load(one=provider("mips", "mips32"), two=provider("mips", "mips64"))
    reason = (
        "architecture 'mips' is provided twice, by 'one' of the caller and 'two' of the caller; "
        "none is used: give one another name"
    )

    assert set(registry) == {"good", "mips32", "mips64"}
    assert [(failure.plugin, failure.reason) for failure in registry.failures] == [
        ("one", reason),
        ("two", reason),
    ]
    with pytest.raises(ArchNotInstalled) as caught:
        registry["mips"]

    assert str(caught.value).count("'one' of the caller") == 1


def test_one_plugin_that_adds_a_name_twice_is_refused() -> None:
    registry = load(twice=provider("mips", "mips"))

    assert set(registry) == {"good"}
    assert {failure.plugin for failure in registry.failures} == {"twice"}


def test_a_stranger_cannot_take_the_name_of_a_built_in_one() -> None:
    registry = load_arches(plugins=[("mine", provider("arm64"))])

    assert "arm64" not in registry
    assert {
        (failure.plugin, failure.source)
        for failure in registry.failures
        if failure.reason.startswith("architecture 'arm64' is provided twice")
    } == {("mine", "the caller"), ("arm64", "memhub")}


# An architecture that is not there


def test_a_missing_architecture_names_the_installed_ones_and_the_failures() -> None:
    registry = load(faulty=plugin(), mips=provider("mips"))

    with pytest.raises(ArchNotInstalled) as caught:
        registry["vax"]

    assert str(caught.value) == (
        "architecture 'vax' is not installed (installed: good, mips); "
        "plugin 'faulty' of the caller: TypeError: it has no memhub_arches hook"
    )


def test_a_missing_architecture_among_none() -> None:
    with pytest.raises(ArchNotInstalled, match=r"'vax' is not installed \(installed: none\)$"):
        load_arches(installed=False)["vax"]


def test_a_registry_can_be_asked_without_raising() -> None:
    registry = load()

    assert "good" in registry
    assert "vax" not in registry
    assert registry.get("vax") is None
    assert list(registry.values()) == [arch("good")]


def test_an_interrupt_of_a_plugins_own_is_its_failure() -> None:
    @hookimpl
    def memhub_arches() -> list[Arch]:
        raise KeyboardInterrupt

    failure = only_failure(load(faulty=plugin(memhub_arches=memhub_arches)))

    assert failure.reason == "RuntimeError: it raised KeyboardInterrupt"


def test_ctrl_c_while_a_plugin_loads_passes() -> None:
    @hookimpl
    def memhub_arches() -> list[Arch]:
        signal.raise_signal(signal.SIGINT)
        return []

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        load(faulty=plugin(memhub_arches=memhub_arches))

    assert signal.getsignal(signal.SIGINT) is before


def test_of_many_failures_those_that_may_matter_are_told() -> None:
    failing = {f"faulty{it}": plugin() for it in range(5)}
    registry = load(**failing)

    with pytest.raises(ArchNotInstalled) as caught:
        registry["faulty3"]

    assert "plugin 'faulty3' of the caller: TypeError" in str(caught.value)
    assert "plugins that fail: 4 more, which `memhub plugins` lists" in str(caught.value)
