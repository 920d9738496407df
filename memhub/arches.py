"""Find the architectures that are installed: those of hooks, and those that are declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from memhub.core.drivers.driver import Arch
from memhub.escape import escape_controls
from memhub.hooks import HookKind, keep_single, load_hook
from memhub.hooks import PluginFailure as PluginFailure
from memhub.kernels import find_served
from memhub.plugin import spec

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def _read_declared(point: EntryPoint) -> list[Arch]:
    # Here, because few have one, and reading TOML takes a while to load.
    from memhub.plugin.declared import make_arch
    from memhub.plugin.declared_toml import read_package

    return [make_arch(it) for it in read_package(point.module)]


#: Architectures in code: a module with the hook `memhub_arches`.
ARCH_HOOK: Final = HookKind("architectures", spec.GROUP, spec, "memhub_arches", Arch)
#: Architectures without code: a package with a file `arch.toml`.
DECLARED_HOOK: Final = HookKind(
    "declared architectures", "memhub.declared", spec, "memhub_arches", Arch, _read_declared
)
#: Failures that are told in full where an architecture is missing.
_SHOWN_MOST: Final = 2


class ArchNotInstalled(KeyError):
    """Raised when a machine names an architecture that no plugin provides.

    A KeyError, as `in` and `get` of a Mapping rely on one.
    """

    def __str__(self) -> str:
        return escape_controls(str(self.args[0]))


@dataclass(frozen=True, slots=True)
class Registry(Mapping[str, Arch]):
    """The architectures by name, and the plugins that failed.

    Attributes:
        arches: name to Arch.
        sources: name to the distribution that provides it.
        failures: what could not be loaded; reported, never fatal by itself.
    """

    arches: Mapping[str, Arch]
    sources: Mapping[str, str]
    failures: tuple[PluginFailure, ...] = ()

    def __getitem__(self, name: str) -> Arch:
        try:
            return self.arches[name]
        except KeyError:
            raise ArchNotInstalled(self._describe_missing(name)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.arches)

    def __len__(self) -> int:
        return len(self.arches)

    def _describe_missing(self, name: object) -> str:
        from memhub.core.spec_rules import suggest  # here, since few names are wrong

        have = ", ".join(sorted(self.arches)) or "none"
        hint = suggest(name, self.arches) if isinstance(name, str) else ""
        message = f"architecture {name!r} is not installed (installed: {have}){hint}"
        near: Sequence[PluginFailure] = self.failures
        if len(near) > _SHOWN_MOST:
            word = str(name)
            near = [it for it in near if word in (it.plugin, it.entry) or word in it.reason]

        parts = [message, *dict.fromkeys(map(str, near))]
        if others := len(self.failures) - len(near):
            parts.append(f"plugins that fail: {others} more, which `memhub plugins` lists")

        return "; ".join(parts)


def load_arches(*, plugins: Iterable[tuple[str, object]] = (), installed: bool = True) -> Registry:
    """Build the registry of architectures.

    Args:
        plugins: more plugins, as `(name, module or object)`, for tests and embedders.
        installed: also load the entry points of the groups `memhub` and `memhub.declared`.

    Returns:
        the registry. A plugin that fails to import, has a misspelt or asynchronous hook, or
        names an architecture that another plugin has, is in `failures`; of two plugins that
        claim one name neither is used, since their order would be an accident.
    """
    coded = load_hook(ARCH_HOOK, plugins=plugins, installed=installed)
    declared = load_hook(DECLARED_HOOK, installed=installed)
    kept = keep_single((coded, declared), "architecture")
    plugin = kept.sources()
    arches = {
        name: replace(arch, plugin=plugin[name], find_kernel=find_served)
        for name, arch in sorted(kept.values.items())
    }

    return Registry(arches, {name: kept.givers[name].source for name in arches}, kept.failures)
