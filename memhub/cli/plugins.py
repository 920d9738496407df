"""List what distributions add to memhub, by kind of hook, and what of it does not work.

Each row is one plugin: its entry point, the distribution and version that it comes from, and what
it adds. A plugin that does not work is named with the reason; the others are used all the same.

exit codes: 0 all work, 1 some do not
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import argparse

    from memhub.hooks import HookKind, PluginFailure, Provided


class HookRow(NamedTuple):
    """One kind of hook: the module that uses its values, and two names in it.

    Attributes:
        module: the module.
        kind: its HookKind.
        load: the function that loads all, whose `failures` also name what is there twice.
    """

    module: str
    kind: str
    load: str


#: Every kind of hook. A new one is one more row.
HOOKS: Final = (
    HookRow("memhub.arches", "ARCH_HOOK", "load_arches"),
    HookRow("memhub.arches", "DECLARED_HOOK", "load_arches"),
    HookRow("memhub.analysis.lint", "LINT_HOOK", "load_rules"),
    HookRow("memhub.kernels", "KERNEL_HOOK", "load_kernels"),
    HookRow("memhub.device_kinds", "DEVICE_HOOK", "load_device_kinds"),
    HookRow("memhub.fault_kinds", "FAULT_HOOK", "load_fault_kinds"),
    HookRow("memhub.config.importers.added", "IMPORTER_HOOK", "load_importers"),
)


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub plugins`."""
    parser.add_argument("--json", action="store_true", help="a list of objects")
    chosen = parser.parse_args(arguments)

    from memhub.cli.terminal import print_json

    rows = [fact for row in HOOKS for fact in list_plugins(row)]
    if chosen.json:
        print_json(rows)
    else:
        _print_rows(rows)

    return int(any(it["failures"] for it in rows))


def list_plugins(row: HookRow) -> list[dict[str, Any]]:
    """The plugins of one kind of hook, as plain data, by name."""
    from memhub.hooks import load_hook

    module = import_module(row.module)
    kind: HookKind[Any] = getattr(module, row.kind)
    loaded = load_hook(kind)
    later: tuple[PluginFailure, ...] = getattr(module, row.load)().failures
    facts = [
        _facts_of(kind, it, [str(value.name) for value in it.values], _of_plugin(it, later))
        for it in loaded.provided
    ]
    facts += [_facts_of(kind, it, [], [it.reason]) for it in loaded.failures]

    return sorted(facts, key=lambda it: (it["plugin"], it["source"]))


def _of_plugin(it: Provided[Any], failures: tuple[PluginFailure, ...]) -> list[str]:
    mine = (it.plugin, it.source, it.entry)

    return [f.reason for f in failures if (f.plugin, f.source, f.entry) == mine]


def _facts_of(
    kind: HookKind[Any],
    it: Provided[Any] | PluginFailure,
    provides: list[str],
    failures: list[str],
) -> dict[str, Any]:
    return {
        "kind": kind.name,
        "group": kind.group,
        "plugin": it.plugin,
        "source": it.source,
        "version": it.version,
        "entry_point": it.entry,
        "provides": provides,
        "failures": failures,
    }


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from memhub.cli.terminal import Screen

    screen, last = Screen(), ""
    width = max((len(row["plugin"]) for row in rows), default=0)
    for row in rows:
        if row["kind"] != last:
            last = row["kind"]
            screen.line((last, "bold"), (f"  entry points {row['group']}", "dim"))

        origin = f"{row['source']} {row['version']}".rstrip()
        screen.line(
            f"  {row['plugin']:<{width}}  {', '.join(row['provides']) or 'nothing'}",
            (f"  from {origin}, {row['entry_point']}", "dim"),
            hang=width + 4,
        )
        for reason in row["failures"]:
            screen.line(f"{'':<{width + 4}}does not work: {reason}", hang=width + 6)
