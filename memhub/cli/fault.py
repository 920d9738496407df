"""Faults on demand in a running service: add, list and remove rules.

A rule refuses, delays, drops, shortens or cuts off requests of its machine, operations, addresses
and process. It needs the right inject-faults. Every fault is a record of the audit log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.cli.amounts import address, amount
from memhub.cli.failures import CommandFailed
from memhub.cli.target import add_target_arguments, open_service
from memhub.cli.terminal import print_json, print_line

if TYPE_CHECKING:
    import argparse

    from memhub.core.fault_rules import FaultRule
    from memhub.service.blocking import BlockingClient

_ACTIONS = "errno, delay, drop, short, cut or hang"
_TEXTS = ("name", "process", "errno")
_INTEGERS = ("nth", "times", "seed", "moved")
_FLOATS = ("probability", "delay")


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub fault`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add = verbs.add_parser("add", help="add a rule; prints its name")
    add.add_argument("action", metavar="ACTION", help=_ACTIONS)
    _add_rule_arguments(add)
    show = verbs.add_parser("list", help="the rules, with how often each was met")
    remove = verbs.add_parser("remove", help="end rules")
    remove.add_argument("names", nargs="+", metavar="NAME", help="the name of a rule")
    for verb in (add, show, remove):
        add_target_arguments(verb)
        verb.add_argument("--json", action="store_true", help="the rules as a list of objects")

    chosen = parser.parse_args(arguments)
    rule = _make_rule(chosen) if chosen.verb == "add" else None
    why = "rules are added to a running service; a file has its own [[faults]]"
    with open_service(chosen, "memhub fault", why) as client:
        found = _ask_service(client, chosen, rule)

    if chosen.json:
        print_json(found)
    else:
        for row in found:
            print_line(_rule_line(row))

    return 0


def _add_rule_arguments(parser: argparse.ArgumentParser) -> None:
    for name, metavar, text in (
        ("name", "NAME", "what the rule is called; numbered by default"),
        ("op", "OP,OP", "read, write, seek, get, set, ioctl, claim, wait, release, renew, explain"),
        ("window", "BASE+LENGTH", "requests that touch these addresses, as 0xd0000000+32M"),
        ("process", "NAME", "requests of this process"),
        ("nth", "N", "only the Nth request that matches"),
        ("times", "N", "at most N faults"),
        ("probability", "P", "of a fault for each request, up to 1"),
        ("seed", "N", "decides which (0)"),
        ("errno", "NAME", "errno: with which error (EIO)"),
        ("delay", "SECONDS", "delay: by how long"),
        ("moved", "BYTES", "short: how many bytes move at most"),
    ):
        parser.add_argument(f"--{name}", metavar=metavar, help=text)


def _make_rule(chosen: argparse.Namespace) -> FaultRule:
    from memhub.core.fault_rules import rule_of_dict

    found: dict[str, Any] = {"action": chosen.action}
    for name in ("machine", *_TEXTS):
        found[name] = getattr(chosen, name)

    for name in _INTEGERS:
        found[name] = _parse_number(name, getattr(chosen, name), int)

    for name in _FLOATS:
        found[name] = _parse_number(name, getattr(chosen, name), float)

    if chosen.op is not None:
        found["op"] = [word for word in chosen.op.split(",") if word]

    if chosen.window is not None:
        base, plus, length = chosen.window.partition("+")
        if not plus:
            raise CommandFailed(f"--window {chosen.window!r} is not BASE+LENGTH")

        found["base"], found["length"] = address(base), amount(length)

    try:
        return rule_of_dict({name: it for name, it in found.items() if it is not None})
    except (ValueError, TypeError) as error:
        raise CommandFailed(str(error)) from error


def _parse_number(name: str, text: str | None, kind: type[int] | type[float]) -> float | None:
    if text is None:
        return None

    try:
        return int(text, 0) if kind is int else float(text)
    except ValueError:
        raise CommandFailed(f"--{name} {text!r} is not a number") from None


def _ask_service(
    client: BlockingClient, chosen: argparse.Namespace, rule: FaultRule | None
) -> list[dict[str, Any]]:
    if rule is not None:
        return [client.add_fault(rule)]

    if chosen.verb == "remove":
        return [client.remove_fault(name) for name in chosen.names]

    return [it for it in client.list_faults() if chosen.machine in (None, it.get("machine"))]


def _rule_line(row: dict[str, Any]) -> str:
    """A rule as one line: `NAME: ACTION KEY=VALUE …; N faults of M requests`."""
    words = [f"{row['name']}: {row['action']}"]
    for key, value in row.items():
        if key in ("name", "action", "seen", "injected"):
            continue

        shown = ",".join(value) if key == "op" else value
        words.append(f"{key}={shown:#x}" if key in ("base", "length") else f"{key}={shown}")

    return f"{' '.join(words)}; {row['injected']} faults of {row['seen']} requests"
