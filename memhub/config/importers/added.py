"""Importers that other distributions add, for texts that memhub does not know.

An importer makes a machine of a text, or says that the text is not of its format::

    from memhub.config.importers.added import Importer, hookimpl

    def read_dump(source):
        if not source.text.startswith("MYDUMP"):
            return None
        ...
        return Imported(spec=..., oddities=(), format="mydump")

    @hookimpl
    def memhub_importers():
        return [Importer("mydump", "the dump of my debugger", read_dump)]

and, in its pyproject.toml, `[project.entry-points."memhub.importers"]`. A plugin that does not work
is named and costs the others nothing.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

import pluggy

from memhub.config.importers.model import DumpFormat, Imported, ImportRefused
from memhub.escape import say_error
from memhub.hook_values import refuse_value
from memhub.hooks import HookKind, PluginFailure, keep_single, load_hook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: pluggy's project name, and the entry-point group.
GROUP: Final = "memhub.importers"

#: Marks the hook itself.
hookspec = pluggy.HookspecMarker(GROUP)
#: Marks the function that gives memhub the importers of a module.
hookimpl = pluggy.HookimplMarker(GROUP)


class ImportSource(NamedTuple):
    """What an importer is given.

    Attributes:
        text: the text.
        name: the machine's name.
        arch: its architecture.
        phys_bits: its physical address width, or None to infer it.
    """

    text: str
    name: str
    arch: str
    phys_bits: int | None


@dataclass(frozen=True, slots=True)
class Importer:
    """One format of texts.

    Attributes:
        name: the format; `Imported.format` is set to it.
        summary: what it is, for people.
        read: makes a machine of a text; returns None where the text is of another format, and
            raises `ImportRefused` where it is of this one and no machine can be made of it.
        source: the entry point that added it.
    """

    name: str
    summary: str
    read: Callable[[ImportSource], Imported | None]
    source: str = ""


@hookspec
def memhub_importers() -> Iterable[Importer]:  # type: ignore[empty-body]
    """Name the importers that a plugin adds.

    Returns:
        importers; a name may be taken by one plugin only, and not be one of memhub's formats.
    """


#: Importers: a module with the hook `memhub_importers`.
IMPORTER_HOOK: Final = HookKind(
    "importers", GROUP, sys.modules[__name__], "memhub_importers", Importer
)


@dataclass(frozen=True, slots=True)
class ImporterBook:
    """The importers that were added, by name, and the plugins that failed.

    Attributes:
        importers: in the order in which a text is shown to them: the caller's, then by plugin.
        failures: what could not be loaded.
    """

    importers: Mapping[str, Importer]
    failures: tuple[PluginFailure, ...] = ()


def load_importers(
    *, plugins: Iterable[tuple[str, object]] = (), installed: bool = True
) -> ImporterBook:
    """The importers that other distributions add.

    Args:
        plugins: more plugins, as `(name, module or object)`, for tests and embedders.
        installed: also load the entry points of the group `memhub.importers`.

    Returns:
        the importers; of two plugins that name one format neither is used, since their order would
        be an accident.
    """
    loaded = load_hook(IMPORTER_HOOK, plugins=plugins, installed=installed)
    kept = keep_single(
        (loaded,),
        "format",
        own=get_args(DumpFormat),
        refuse=lambda it: refuse_value(it, "read"),
    )
    found = {name: replace(it, source=kept.givers[name].plugin) for name, it in kept.values.items()}

    return ImporterBook(found, kept.failures)


def read_added(
    book: ImporterBook, source: ImportSource, form: str | None = None
) -> Imported | None:
    """Show a text to the importers that were added, until one knows it.

    Args:
        book: the importers.
        source: the text.
        form: the format that it must have; None for any.

    Returns:
        the machine; None where no importer knows the text.

    Raises:
        ImportRefused: an importer knows the text and refuses it, or failed, and no other one
            makes a machine; the message names it. Or there is no importer for `form`.
    """
    if form is not None and form not in book.importers:
        known = ", ".join([*get_args(DumpFormat), *book.importers])
        raise ImportRefused("; ".join([f"there is no format {form!r}: {known}", *_failed(book)]))

    refusals: list[str] = []
    for it in book.importers.values():
        if form in (None, it.name):
            found = _ask_importer(it, source, refusals)
            if found is not None:
                return found

    if refusals:
        raise ImportRefused("; ".join(refusals))

    return None


def _ask_importer(it: Importer, source: ImportSource, refusals: list[str]) -> Imported | None:
    who = f"importer {it.name!r} of plugin {it.source!r}"
    try:
        found: object = it.read(source)
    except ImportRefused as error:
        refusals.append(f"{who}: {error}")
    except KeyboardInterrupt:  # the user's
        raise
    except BaseException as error:  # noqa: BLE001 - a stranger's code
        refusals.append(f"{who} failed: {say_error(error)}")
    else:
        if isinstance(found, Imported):
            return replace(found, format=it.name)

        if found is not None:
            refusals.append(f"{who} returned {found!r:.80}, which is not an Imported")

    return None


def _failed(book: ImporterBook) -> list[str]:
    return [str(it) for it in book.failures]
