"""Hooks: what other distributions add to memhub, found by entry points.

Each kind of hook is one `HookKind`. pluggy skips the second of two entry points with one name
without a word, and one broken plugin ends the load of all; both are handled here, so pluggy only
relays the hook.
"""

from __future__ import annotations

import inspect
import signal
import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import pluggy

from memhub.entry_points import find_points
from memhub.escape import escape_controls, say_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from importlib.metadata import EntryPoint
    from types import FrameType, ModuleType

T = TypeVar("T")
_Answer = TypeVar("_Answer")

#: What the names of hooks begin with.
_PREFIX: Final = "memhub_"


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """A plugin that could not be used.

    Attributes:
        plugin: the entry point's name.
        source: the distribution that ships it, or where it was registered.
        reason: what went wrong.
        version: the distribution's version, where there is one.
        entry: what the entry point names.
        shared: whether the reason is that of several plugins, and names all of them.
    """

    plugin: str
    source: str
    reason: str
    version: str = ""
    entry: str = ""
    shared: bool = False

    def __str__(self) -> str:
        if self.shared:
            return escape_controls(self.reason)

        return escape_controls(f"plugin {self.plugin!r} of {self.source}: {self.reason}")


@dataclass(frozen=True, slots=True)
class HookKind(Generic[T]):
    """One kind of hook.

    Attributes:
        name: what it adds, in words.
        group: pluggy's project name, and the entry-point group.
        spec: the module or object with the hook's specification.
        hook: the name of the hook; it is synchronous and returns an iterable of values.
        value: the class of those values.
        load: makes values of what an entry point names, for a kind whose plugins have no code; in
            place of the hook. It takes the entry point.
    """

    name: str
    group: str
    spec: ModuleType | type
    hook: str
    value: type[T]
    load: Callable[[EntryPoint], Iterable[T]] | None = None


@dataclass(frozen=True, slots=True)
class Provided(Generic[T]):
    """What one plugin adds.

    Attributes:
        plugin: the entry point's name.
        source: the distribution that ships it, or where it was registered.
        values: what its hook returned.
        version: the distribution's version, where there is one.
        entry: what the entry point names.
    """

    plugin: str
    source: str
    values: tuple[T, ...]
    version: str = ""
    entry: str = ""

    def fail(self, reason: str, *, shared: bool = False) -> PluginFailure:
        """The failure of this plugin, after it was loaded; see `PluginFailure`."""
        return PluginFailure(self.plugin, self.source, reason, self.version, self.entry, shared)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """The plugins of one kind of hook.

    Attributes:
        provided: those that work, the caller's first, then by name.
        failures: those that do not.
    """

    provided: tuple[Provided[T], ...]
    failures: tuple[PluginFailure, ...]


def load_hook(
    kind: HookKind[T], *, plugins: Iterable[tuple[str, object]] = (), installed: bool = True
) -> Loaded[T]:
    """Load the plugins of one kind; one that does not work costs the others nothing.

    Args:
        kind: the kind.
        plugins: more plugins, as `(name, module or object)`, for tests and embedders.
        installed: also load the entry points of the kind's group.
    """
    provided: list[Provided[T]] = []
    failures: list[PluginFailure] = []
    for name, plugin in plugins:
        given: Provided[T] = Provided(name, "the caller", ())
        try:
            values = _run_strange(partial(_call_hook, kind, name, plugin))
        except KeyboardInterrupt:  # the user's
            raise
        except BaseException as error:  # noqa: BLE001 - the hook is a stranger's code
            failures.append(given.fail(say_error(error)))
        else:
            provided.append(Provided(name, "the caller", values))

    for point, source, version in find_points(kind.group) if installed else ():
        found = _load_point(kind, point, source, version)
        if isinstance(found, PluginFailure):
            failures.append(found)
        else:
            provided.append(found)

    return Loaded(tuple(provided), tuple(failures))


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """What was loaded, by its name.

    Attributes:
        values: each name's only value, in the order in which they were loaded.
        givers: the plugin that adds it.
        failures: of the plugins, and of the names that several have.
    """

    values: dict[str, T]
    givers: dict[str, Provided[T]]
    failures: tuple[PluginFailure, ...]

    def sources(self) -> dict[str, str]:
        """Who adds each, in words."""
        return {
            name: f"plugin {given.plugin!r} of {given.source}"
            for name, given in self.givers.items()
        }


def keep_single(
    loaded: Iterable[Loaded[T]],
    noun: str,
    *,
    own: Iterable[str] = (),
    refuse: Callable[[T], str] = lambda _value: "",
) -> Kept[T]:
    """What was loaded by its `name`, of every kind of hook by one rule.

    Of plugins that add one name none is used, since their order would be an accident; a name that
    memhub has itself, without a plugin, stays memhub's.

    Args:
        loaded: values with a `name`, of one or several kinds of hook.
        noun: what one is called in a failure.
        own: the names that memhub has itself.
        refuse: why one is not taken; nothing where it is.
    """
    taken = frozenset(own)
    failures = [failure for each in loaded for failure in each.failures]
    found: dict[str, list[tuple[Provided[T], T]]] = {}
    for given in (it for each in loaded for it in each.provided):
        for value in given.values:
            name = str(value.name)  # type: ignore[attr-defined]
            if reason := refuse(value):
                failures.append(given.fail(reason))
            elif name in taken:
                reason = f"{noun} {name!r} is there already, of memhub, which is used"
                failures.append(given.fail(f"{reason}: give yours another name"))
            else:
                found.setdefault(name, []).append((given, value))

    kept: Kept[T] = Kept({}, {}, ())
    for name, rows in found.items():
        givers = list({id(given): given for given, _ in rows}.values())
        if len(rows) > 1:
            reason = _say_rivals(f"{noun} {name!r}", len(rows), givers)
            failures += [given.fail(reason, shared=True) for given in givers]
        else:
            ((kept.givers[name], kept.values[name]),) = rows

    return replace(kept, failures=tuple(failures))


def _say_rivals(what: str, count: int, givers: Sequence[Provided[Any]]) -> str:
    """Who adds one name, and what to do: only the user can say which is meant."""
    rivals = " and ".join(f"{it.plugin!r} of {it.source} {it.version}".rstrip() for it in givers)
    times = {2: "twice"}.get(count, f"{count} times")
    sources = list(dict.fromkeys(it.source for it in givers))
    cure = "give one another name"
    if "memhub" in sources and len(sources) > 1:
        cure = f"uninstall {' and '.join(it for it in sources if it != 'memhub')}"
    elif len(sources) > 1:
        cure = "uninstall all but one of these distributions"

    return f"{what} is provided {times}, by {rivals}; none is used: {cure}"


def _load_point(
    kind: HookKind[T], point: EntryPoint, source: str, version: str
) -> Provided[T] | PluginFailure:
    given: Provided[T] = Provided(point.name, source, (), version, point.value)
    try:
        plugin = _run_strange(point.load) if kind.load is None else None
    except KeyboardInterrupt:  # the user's
        raise
    except BaseException as error:  # noqa: BLE001 - a stranger's module may raise anything
        return given.fail(f"does not import: {say_error(error)}")

    try:
        if kind.load is None:
            values = _run_strange(partial(_call_hook, kind, point.name, plugin))
        else:
            values = _check_values(kind, [_run_strange(partial(kind.load, point))])
    except KeyboardInterrupt:  # the user's
        raise
    except BaseException as error:  # noqa: BLE001 - the hook is a stranger's code too
        return given.fail(say_error(error))

    return Provided(point.name, source, values, version, point.value)


def _run_strange(call: Callable[[], _Answer]) -> _Answer:
    """Run a stranger's code; a KeyboardInterrupt of its own is an error, that of Ctrl-C passes.

    Raises:
        RuntimeError: it raised KeyboardInterrupt.
    """
    pressed: list[int] = []

    def note_interrupt(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    is_main = threading.current_thread() is threading.main_thread()
    watched = is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if watched:
        signal.signal(signal.SIGINT, note_interrupt)

    try:
        return call()
    except KeyboardInterrupt as error:
        if pressed or is_main != watched:
            raise

        raise RuntimeError("it raised KeyboardInterrupt") from error
    finally:
        if watched and signal.getsignal(signal.SIGINT) is note_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _call_hook(kind: HookKind[T], name: str, plugin: object) -> tuple[T, ...]:
    manager = pluggy.PluginManager(kind.group)
    manager.add_hookspecs(kind.spec)
    try:
        manager.register(plugin, name)
    except pluggy.PluginValidationError as error:
        raise TypeError(" ".join(str(error).split())) from None

    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        known = ", ".join(it for it in sorted(dir(kind.spec)) if it.startswith(_PREFIX))
        word = str(error).partition("'")[2].partition("'")[0]
        raise TypeError(f"unknown hook {word!r}; there are {known}") from None

    hook = getattr(manager.hook, kind.hook)
    for implementation in hook.get_hookimpls():
        if inspect.iscoroutinefunction(implementation.function):
            raise TypeError(f"{kind.hook} is a coroutine function; hooks are synchronous")

    answers = hook()
    if not answers:
        raise TypeError(_no_answer(kind, plugin, hook))

    return _check_values(kind, answers)


def _no_answer(kind: HookKind[Any], plugin: object, hook: pluggy.HookCaller) -> str:
    """Say why pluggy has no result; it skips an unmarked hook and a None without a word."""
    if hook.get_hookimpls():
        return f"{kind.hook} returned None"

    if hasattr(plugin, kind.hook):
        return f"{kind.hook} is not marked with hookimpl"

    return f"it has no {kind.hook} hook"


def _check_values(kind: HookKind[T], answers: Iterable[Iterable[object]]) -> tuple[T, ...]:
    values: list[T] = []
    for answer in answers:
        for it in answer:
            if not isinstance(it, kind.value):
                article = "an" if kind.value.__name__[0] in "AEIOU" else "a"
                raise TypeError(
                    f"{kind.hook} returned {it!r}, which is not {article} {kind.value.__name__}"
                )

            values.append(it)

    return tuple(values)
