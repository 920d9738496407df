"""Architectures of other distributions: found as the built-in ones are, and refused aloud."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from memhub.arches import ArchNotInstalled, PluginFailure, Registry, load_arches
from plugins.distribution import install

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: A module that adds one architecture; `{name}` is filled in.
GOOD = """
from memhub.plugin import Arch, KernelLayout, hookimpl

@hookimpl
def memhub_arches():
    return [Arch(name="{name}", summary="", kernel=KernelLayout(kernel_base=0))]
"""


def strangers(registry: Registry) -> tuple[set[str], list[PluginFailure]]:
    """The architectures and the failures of every distribution but memhub's own."""
    return (
        {name for name, source in registry.sources.items() if source != "memhub"},
        [failure for failure in registry.failures if failure.source != "memhub"],
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is searched for distributions before all others."""
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("loader_")]:
        del sys.modules[name]


def test_a_strangers_distribution_is_found_as_the_built_in_ones_are(site: Path) -> None:
    install(site, "mips-for-memhub", "mips", GOOD.format(name="mips"))
    registry = load_arches()

    assert strangers(registry) == ({"mips"}, [])
    assert registry.sources["mips"] == "mips-for-memhub"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import a_module_that_nobody_has", "does not import: ModuleNotFoundError: No module"),
        ("raise RuntimeError('no firmware')", "does not import: RuntimeError: no firmware"),
        ("def memhub_arches(:", "does not import: SyntaxError: "),
        ("import sys; sys.exit(3)", "does not import: SystemExit: 3"),
    ],
    ids=["import-error", "any-error", "syntax-error", "exit"],
)
def test_a_module_that_does_not_import_is_named_with_its_distribution(
    site: Path, source: str, reason: str
) -> None:
    install(site, "faulty-dist", "mips", source)
    (found, [failure]) = strangers(load_arches())

    assert found == set()
    assert (failure.plugin, failure.source) == ("mips", "faulty-dist")
    assert failure.reason.startswith(reason)


def test_two_distributions_with_one_entry_point_name_are_both_refused(site: Path) -> None:
    install(site, "rival-one", "mips", GOOD.format(name="mips"))
    install(site, "rival-two", "mips", GOOD.format(name="mips"))
    registry = load_arches()

    (found, failures) = strangers(registry)
    assert found == set()
    assert sorted(failure.source for failure in failures) == ["rival-one", "rival-two"]
    for failure in failures:
        assert failure.plugin == "mips"
        assert "'mips' of rival-one 1.0 and 'mips' of rival-two 1.0" in failure.reason

    with pytest.raises(ArchNotInstalled, match=r"rival-one.* and .*rival-two"):
        registry["mips"]


def test_one_entry_point_name_with_two_architectures_is_no_conflict(site: Path) -> None:
    """Pluggy's own loader would drop the second without a word."""
    install(site, "rival-one", "mips", GOOD.format(name="mips32"))
    install(site, "rival-two", "mips", GOOD.format(name="mips64"))

    assert strangers(load_arches()) == ({"mips32", "mips64"}, [])
