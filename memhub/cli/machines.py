"""List the real machines that come with memhub, with what is odd about each.

A name that is given, or its beginning, shows one machine; --toml writes it as a configuration that
`memhub serve` takes. --with WORD lists those of which WORD is said: a kind of oddity, as the list
shows them, or a part of a name or of a sentence; several have to be said together.

exit codes: 0; 1 if nothing is found; 2 for wrong usage
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from memhub.machines import RealMachine


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub machines`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="show this machine")
    parser.add_argument(
        "--with", dest="words", action="append", default=[], metavar="WORD", help="only such"
    )
    parser.add_argument("--kinds", action="store_true", help="list the kinds of oddities")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of objects")
    form.add_argument("--toml", action="store_true", help="NAME as a configuration file")
    chosen = parser.parse_args(arguments)
    if chosen.toml and chosen.name is None:
        parser.error("--toml writes one machine: give its NAME")

    if chosen.name is not None and (chosen.words or chosen.kinds):
        parser.error("NAME shows one machine: it goes with neither --with nor --kinds")

    if chosen.kinds:
        return _print_kinds(as_json=chosen.json)

    if chosen.name is not None:
        return _show_machine(chosen.name, as_json=chosen.json, as_toml=chosen.toml)

    return _list_machines(chosen.words, as_json=chosen.json)


def _print_kinds(*, as_json: bool) -> int:
    from memhub.cli.terminal import Screen, print_json
    from memhub.machines import KINDS

    if as_json:
        print_json(KINDS)
        return 0

    screen, width = Screen(), max(map(len, KINDS))
    for kind, meaning in KINDS.items():
        screen.line((f"{kind:<{width}}", "bold"), f"  {meaning}", hang=width + 2)

    return 0


def _show_machine(name: str, *, as_json: bool, as_toml: bool) -> int:
    from memhub.cli.failures import CommandFailed
    from memhub.cli.terminal import Screen, print_document, print_json
    from memhub.config import to_toml
    from memhub.machines import describe
    from memhub.machines.library import UnknownMachine

    try:
        machine = describe(name)
    except UnknownMachine as error:
        raise CommandFailed(str(error), 1) from error

    if as_toml:
        print_document(to_toml(machine.spec))
    elif as_json:
        print_json([_machine_facts(machine)])
    else:
        screen = Screen()
        screen.line((machine.name, "bold"), f"  {machine.computer or 'computer not told'}")
        screen.line(f"  {machine.spec.cpu.phys_bits} address bits, of a text {machine.source}")
        for oddity in machine.oddities:
            screen.line(f"  {oddity.kind}: {oddity.text}", hang=4)

        for note in _further_notes(machine):
            screen.line((f"  {note}", "dim"), hang=4)

    return 0


def _further_notes(machine: RealMachine) -> list[str]:
    """What the importer says and no oddity does."""
    said = {it.text for it in machine.oddities}

    return [note for note in machine.notes if note not in said]


def _list_machines(words: Sequence[str], *, as_json: bool) -> int:
    from memhub.cli.failures import CommandFailed
    from memhub.cli.terminal import Screen, print_json
    from memhub.machines import KINDS, search

    found = search(*words)
    if not found:
        unknown = [word for word in words if not search(word)]
        said = " or ".join(map(repr, unknown))
        if not unknown:
            said = f"one machine with all of {', '.join(map(repr, words))}"

        raise CommandFailed(f"nothing is said of {said}; kinds: {', '.join(KINDS)}", 1)

    if as_json:
        print_json([_machine_facts(it) for it in found])
        return 0

    screen, width = Screen(), max(len(it.name) for it in found)
    for it in found:
        kinds = ", ".join(it.kinds) or "nothing odd"
        screen.line((f"{it.name:<{width}}", "bold"), f"  {kinds}", hang=width + 2)

    return 0


def _machine_facts(machine: RealMachine) -> dict[str, Any]:
    return {
        "name": machine.name,
        "computer": machine.computer or None,
        "phys_bits": machine.spec.cpu.phys_bits,
        "source": machine.source,
        "kinds": list(machine.kinds),
        "oddities": [it._asdict() for it in machine.oddities],
        "notes": _further_notes(machine),
    }
