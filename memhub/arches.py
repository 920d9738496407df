"""Find the architectures that are installed.

pluggy skips the second of two entry points with one name without a word, and one broken plugin
ends the load of all; both are handled here, so pluggy only relays the hook.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points

import pluggy

from memhub.core.driver import Arch
from memhub.escape import escape_controls
from memhub.plugin import spec


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """A plugin that could not be used.

    Attributes:
        plugin: the entry point's name.
        source: the distribution that ships it, or where it was registered.
        reason: what went wrong.
    """

    plugin: str
    source: str
    reason: str

    def __str__(self) -> str:
        return escape_controls(f"plugin {self.plugin!r} of {self.source}: {self.reason}")


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

    def _describe_missing(self, name: str) -> str:
        have = ", ".join(sorted(self.arches)) or "none"
        message = f"architecture {name!r} is not installed (installed: {have})"
        failed = [str(failure) for failure in self.failures]

        return "; ".join([message, *failed])


def load_arches(*, plugins: Iterable[tuple[str, object]] = (), installed: bool = True) -> Registry:
    """Build the registry of architectures.

    Args:
        plugins: more plugins, as `(name, module or object)`, for tests and embedders.
        installed: also load the entry points of the `memhub` group.

    Returns:
        the registry. A plugin that fails to import, has a misspelt or asynchronous hook, or
        names an architecture that another plugin has, is in `failures`; of two plugins that
        claim one name neither is used, since their order would be an accident.
    """
    builder = _Builder()
    for name, plugin in plugins:
        builder.register(name, "the caller", plugin)

    if installed:
        builder.load(entry_points(group=spec.GROUP))

    return builder.registry()


class _Builder:
    def __init__(self) -> None:
        self._found: dict[str, list[tuple[str, str, Arch]]] = {}
        self._failures: list[PluginFailure] = []

    def load(self, found: Iterable[EntryPoint]) -> None:
        for point in sorted(found, key=lambda point: (point.name, point.value)):
            source = point.dist.name if point.dist is not None else "an unknown distribution"
            try:
                plugin = point.load()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's module may raise anything
                self._note_failure(
                    point.name, source, f"does not import: {type(error).__name__}: {error}"
                )
            else:
                self.register(point.name, source, plugin)

    def register(self, name: str, source: str, plugin: object) -> None:
        try:
            arches = _call_hook(name, plugin)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the hook is a stranger's code too
            self._note_failure(name, source, f"{type(error).__name__}: {error}")
            return

        for arch in arches:
            named = replace(arch, plugin=f"plugin {name!r} of {source}")
            self._found.setdefault(arch.name, []).append((name, source, named))

    def registry(self) -> Registry:
        arches: dict[str, Arch] = {}
        sources: dict[str, str] = {}
        for name, found in sorted(self._found.items()):
            if len(found) > 1:
                self._refuse_duplicates(name, found)
            else:
                (_, sources[name], arches[name]) = found[0]

        return Registry(arches, sources, tuple(self._failures))

    def _refuse_duplicates(self, name: str, found: list[tuple[str, str, Arch]]) -> None:
        rivals = " and ".join(f"{plugin!r} of {source}" for plugin, source, _ in found)
        for plugin, source, _ in found:
            self._note_failure(
                plugin, source, f"architecture {name!r} is provided twice, by {rivals}"
            )

    def _note_failure(self, plugin: str, source: str, reason: str) -> None:
        self._failures.append(PluginFailure(plugin, source, reason))


def _call_hook(name: str, plugin: object) -> list[Arch]:
    manager = pluggy.PluginManager(spec.GROUP)
    manager.add_hookspecs(spec)
    manager.register(plugin, name)
    manager.check_pending()
    hook = manager.hook.memhub_arches
    for implementation in hook.get_hookimpls():
        if inspect.iscoroutinefunction(implementation.function):
            raise TypeError("memhub_arches is a coroutine function; hooks are synchronous")

    answers = hook()
    if not answers:
        raise TypeError(_no_answer(plugin, hook))

    return [_check_arch(arch) for answer in answers for arch in answer]


def _no_answer(plugin: object, hook: pluggy.HookCaller) -> str:
    """Say why pluggy has no result; it skips an unmarked hook and a None without a word."""
    if hook.get_hookimpls():
        return "memhub_arches returned None"

    if hasattr(plugin, "memhub_arches"):
        return "memhub_arches is not marked with hookimpl"

    return "it has no memhub_arches hook"


def _check_arch(arch: object) -> Arch:
    if not isinstance(arch, Arch):
        raise TypeError(f"memhub_arches returned {arch!r}, which is not an Arch")

    return arch
