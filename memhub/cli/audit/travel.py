"""What a log tells of a moment: `memhub audit state`, `diff` and `blame`."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from memhub.cli.amounts import address
from memhub.cli.audit.selecting import moment
from memhub.cli.audit.travel_view import print_blame, print_diff, print_state
from memhub.cli.failures import CommandFailed
from memhub.cli.keys import add_key_argument, parse_verifier_keys
from memhub.cli.terminal import late_progress, print_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from datetime import datetime

    from memhub.audit.history.states import State
    from memhub.audit.history.travel import Travel

_AT = "after this record, or at this time: 2026-01-31T12:00:00 (UTC)"


def add_travel_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verbs that `run_travel_verb` runs."""
    state = verbs.add_parser("state", help="every machine's table and claims at a moment")
    diff = verbs.add_parser(
        "diff",
        help="what differs between two moments, or two logs",
        description="Three arguments are a log and two moments of it, each a record's seq or a "
        "time; two are logs, whose ends are compared.",
    )
    why = verbs.add_parser("blame", help="why an address has its type: changes and refusals")
    for verb in (state, diff, why):
        verb.add_argument("file", metavar="LOG", help="the log")
        verb.add_argument("--json", action="store_true", help="JSON; the fields are documented")
        verb.add_argument("--machine", metavar="NAME", help="only this machine")
        verb.add_argument(
            "--unverified", action="store_true", help="do not check the chain of the log"
        )
        add_key_argument(verb)

    diff.add_argument("others", nargs="+", metavar="A B|LOG2", help="two moments, or a log")
    why.add_argument("address", metavar="ADDRESS", help="a physical address, as 0xf0000")
    for verb in (state, why):
        verb.add_argument("--at", metavar="WHEN", help=_AT)


def run_travel_verb(chosen: argparse.Namespace) -> int:
    """Run `state`, `diff` or `blame`; 1 where the chain breaks before the moment."""
    from memhub.audit import DamagedLog

    run = {"state": _print_state, "diff": _print_diff, "blame": _print_blame}[chosen.verb]
    try:
        return run(chosen)
    except DamagedLog as error:
        raise CommandFailed(str(error), 1) from error


@contextmanager
def _open_travel(chosen: argparse.Namespace, path: str) -> Iterator[Travel]:
    from memhub.audit.history.travel import Travel

    if chosen.key and chosen.unverified:
        raise CommandFailed("--key checks the log, and --unverified does not: give one of them")

    keys = parse_verifier_keys(chosen.key)
    with late_progress("read") as tell:
        yield Travel(path=path, verified=not chosen.unverified, progress=tell, keys=keys)


def _load_states(
    chosen: argparse.Namespace, path: str, *moments: int | datetime | None
) -> list[State]:
    with _open_travel(chosen, path) as travel:
        return travel.states(moments)


def _only_asked(chosen: argparse.Namespace, *states: State) -> list[State]:
    """The states without the machines that are not asked for."""
    from dataclasses import replace

    name = chosen.machine
    if name is None:
        return [*states]

    if not any(name in it.machines for it in states):
        raise CommandFailed(states[-1].without(name))

    return [
        replace(
            it,
            machines={key: found for key, found in it.machines.items() if key == name},
            notes=it.notes_on(name),
        )
        for it in states
    ]


def _parse_at(text: str | None) -> int | datetime | None:
    return None if text is None else moment("--at", text)


# State


def _print_state(chosen: argparse.Namespace) -> int:
    (state,) = _only_asked(chosen, *_load_states(chosen, chosen.file, _parse_at(chosen.at)))
    if chosen.json:
        print_json(state.facts())
    else:
        print_state(state)

    return 0


# Diff


def _print_diff(chosen: argparse.Namespace) -> int:
    from memhub.audit.history.diff import diff_states

    others = chosen.others
    if len(others) > 2:
        raise CommandFailed("diff takes a log and two moments, or two logs")

    if len(others) == 2:
        moments = [moment(name, text) for name, text in zip("AB", others, strict=True)]
        states = _load_states(chosen, chosen.file, *moments)
    else:
        if chosen.file == others[0] == "-":
            raise CommandFailed("diff: standard input cannot be both logs")

        states = [_load_states(chosen, path, None)[0] for path in (chosen.file, others[0])]

    facts = diff_states(*_only_asked(chosen, *states))
    if chosen.json:
        print_json(facts)
    else:
        print_diff(facts)

    return 0


# Blame


def _print_blame(chosen: argparse.Namespace) -> int:
    from memhub.audit.history.blame import blame

    where, at = address(chosen.address), _parse_at(chosen.at)
    with _open_travel(chosen, chosen.file) as travel:
        answers = blame(travel, where, at, chosen.machine)

    if chosen.json:
        print_json([it.facts() for it in answers])
    else:
        for it in answers:
            print_blame(it)

    return 0 if any(it.type is not None for it in answers) else 1
