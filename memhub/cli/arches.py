"""List the installed architectures; plugins that failed are named on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from memhub.arches import Registry


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub arches`."""
    parser.add_argument("--json", action="store_true", help="a list of objects")
    chosen = parser.parse_args(arguments)

    from memhub.arches import load_arches
    from memhub.cli.terminal import complain, print_json

    registry = load_arches()
    for failure in dict.fromkeys(map(str, registry.failures)):
        complain(failure)

    rows = [_arch_facts(registry, name) for name in registry]
    if chosen.json:
        print_json(rows)
    else:
        _print_rows(rows)

    return 0


def _arch_facts(registry: Registry, name: str) -> dict[str, Any]:
    from memhub.abi import flag_words

    arch = registry[name]

    return {
        "name": name,
        "model": arch.model.name,
        "slots": arch.slots,
        "attributes": list(flag_words(arch.attributes)) if arch.driver is not None else [],
        "source": registry.sources[name],
        "summary": arch.summary,
    }


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from memhub.cli.terminal import Screen

    screen = Screen()
    name, slots = (max((len(row[key]) for row in rows), default=0) for key in ("name", "slots"))
    for row in rows:
        screen.line(
            (f"{row['name']:<{name}}", "bold"),
            f"  {row['model']:<5}  {row['slots']:<{slots}}  ",
            (f"from {row['source']}", "dim"),
            hang=name + 2,
        )
        indent = " " * (name + 2)
        attributes = ", ".join(row["attributes"]) or "no attributes"
        screen.line(f"{indent}{row['summary']}", hang=name + 2)
        screen.line((f"{indent}{attributes}", "dim"), hang=name + 2)
