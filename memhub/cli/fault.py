"""Faults on demand in a running service: add, list and remove rules; sick hardware.

A rule refuses, delays, drops, shortens or cuts off requests of its machine, operations, addresses
and process; a sickness makes the registers of a machine's CPUs other than they should be. It needs
the right inject-faults. Every fault is a record of the audit log.

exit codes: 1 check has found CPUs out of step; 0 all else that was done
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.cli.amounts import address, amount
from memhub.cli.failures import CommandFailed
from memhub.cli.target import add_target_arguments, open_service
from memhub.cli.terminal import print_json, print_line

if TYPE_CHECKING:
    import argparse

    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.health.sickness import Sickness
    from memhub.service.blocking import BlockingClient

_ACTIONS = (
    "errno, delay, drop, short, cut or hang; or cpu_out_of_step, lost_store, mask_holes, "
    "firmware_rewrite, forgetful_resume or stuck_slot; or that of a plugin, as acme.flip"
)
#: As `OPERATION_WORDS` of `memhub.core.faults.fault_rules`, which takes a while to load.
_OPERATIONS = (
    *("read", "write", "seek", "get", "set", "ioctl", "claim", "wait", "release", "renew"),
    *("explain", "flush", "fence", "writeback", "open", "map"),
)
_TEXTS = ("name", "process", "errno", "moment")
_INTEGERS = ("nth", "times", "seed", "moved", "cpu", "slot", "register", "holes")
_SWITCHES = ("misses_stores", "reinit")
_FLOATS = ("probability", "delay")


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub fault`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add = verbs.add_parser("add", help="add a rule, or what is sick; prints it, its name first")
    add.add_argument("action", metavar="ACTION", help=_ACTIONS)
    _add_rule_arguments(add)
    show = verbs.add_parser("list", help="the rules, with how often each was met")
    remove = verbs.add_parser("remove", help="end rules")
    remove.add_argument("names", nargs="+", metavar="NAME", help="the name of a rule")
    hardware = [
        verbs.add_parser("check", help="compare the registers of a machine's CPUs"),
        verbs.add_parser("reinit", help="let every CPU write the table into its registers"),
        verbs.add_parser("suspend", help="suspend a machine: requests are refused with EAGAIN"),
        verbs.add_parser("resume", help="resume a machine"),
    ]
    for verb in (add, show, remove, *hardware):
        add_target_arguments(verb, files=False)
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
            for line in _difference_lines(row) if chosen.verb == "check" else (_rule_line(row),):
                print_line(line)

    return int(chosen.verb == "check" and bool(found))


def _add_rule_arguments(parser: argparse.ArgumentParser) -> None:
    for name, metavar, text in (
        ("name", "NAME", "what the rule is called; numbered by default"),
        ("op", "OP,OP", f"{', '.join(_OPERATIONS)}; all but the last two by default"),
        ("window", "BASE+LENGTH", "requests that touch these addresses, as 0xd0000000+32M"),
        ("process", "NAME", "requests of this process"),
        ("nth", "N", "only the Nth request that matches"),
        ("times", "N", "at most N faults"),
        ("probability", "P", "of a fault for each request, up to 1"),
        ("seed", "N", "decides which (0)"),
        ("errno", "NAME", "errno: with which error (EIO)"),
        ("delay", "SECONDS", "delay: by how long"),
        ("moved", "BYTES", "short: how many bytes move at most"),
        ("cpu", "N", "sick hardware: which CPU (all)"),
        ("slot", "N", "lost_store, mask_holes, stuck_slot: which slot"),
        ("register", "N", "lost_store: which register, in place of a slot"),
        ("registers", "N=V,N=V", "cpu_out_of_step, firmware_rewrite: values by register"),
        ("holes", "BITS", "mask_holes: the bits that are zero"),
        ("moment", "WHEN", "firmware_rewrite: now, set or resume"),
    ):
        action = "append" if name == "op" else "store"
        parser.add_argument(f"--{name}", metavar=metavar, help=text, action=action)

    parser.add_argument(
        "--option",
        metavar="NAME=VALUE",
        action="append",
        help="an option of a plugin's action; true, false, numbers, else text",
    )
    for name, text in (
        ("misses-stores", "cpu_out_of_step: what is stored does not reach the CPU"),
        ("reinit", "forgetful_resume: re-initialisation reaches the CPU"),
    ):
        parser.add_argument(f"--{name}", action="store_true", default=None, help=text)


def _make_rule(chosen: argparse.Namespace) -> FaultRule | Sickness:
    from memhub.core.faults.fault_rules import rule_of_dict
    from memhub.core.health.sickness import is_sickness, sickness_of_dict

    found: dict[str, Any] = {"action": chosen.action}
    for name in ("machine", *_TEXTS):
        found[name] = getattr(chosen, name)

    for name in _INTEGERS:
        found[name] = _parse_number(name, getattr(chosen, name), int)

    for name in _FLOATS:
        found[name] = _parse_number(name, getattr(chosen, name), float)

    if chosen.op is not None:
        found["op"] = [word for words in chosen.op for word in words.split(",") if word]

    if chosen.window is not None:
        base, plus, length = chosen.window.partition("+")
        if not plus:
            raise CommandFailed(f"--window {chosen.window!r} is not BASE+LENGTH, as 0xd0000000+32M")

        found["base"], found["length"] = address(base), amount(length)

    if chosen.option is not None:
        found["options"] = dict(map(_parse_option, chosen.option))

    if chosen.registers is not None:
        found["registers"] = _parse_registers(chosen.registers)

    for name in _SWITCHES:
        found[name] = getattr(chosen, name)

    make = sickness_of_dict if is_sickness(found) else rule_of_dict
    try:
        return make({name: it for name, it in found.items() if it is not None})
    except (ValueError, TypeError) as error:
        raise CommandFailed(str(error)) from error


def _parse_registers(text: str) -> dict[str, str]:
    """`0x2ff=0xc00,0x200=6` as texts by texts."""
    found = {}
    for word in text.split(","):
        number, equals, value = word.partition("=")
        if not equals:
            raise CommandFailed(f"--registers {word!r} is not NUMBER=VALUE")

        found[number] = value

    return found


def _parse_option(text: str) -> tuple[str, Any]:
    """`NAME=VALUE`, whose value is a boolean, a number or a text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise CommandFailed(f"--option {text!r} is not NAME=VALUE")

    if value in ("true", "false"):
        return name, value == "true"

    for kind in (lambda it: int(it, 0), float):
        try:
            return name, kind(value)
        except ValueError:
            continue

    return name, value


def _parse_number(name: str, text: str | None, kind: type[int] | type[float]) -> float | None:
    if text is None:
        return None

    try:
        return int(text, 0) if kind is int else float(text)
    except ValueError:
        raise CommandFailed(f"--{name} {text!r} is not a number") from None


def _ask_service(
    client: BlockingClient, chosen: argparse.Namespace, rule: FaultRule | Sickness | None
) -> list[dict[str, Any]]:
    if rule is not None:
        return [client.add_fault(rule)]

    if chosen.verb == "remove":
        known = {it["name"] for it in client.list_faults()}  # what is unknown refuses all, first
        return [client.remove_fault(name) for name in sorted(chosen.names, key=known.__contains__)]

    if chosen.verb != "list":
        return client.hardware.ask(chosen.verb, chosen.machine or "")

    return [it for it in client.list_faults() if chosen.machine in (None, it.get("machine"))]


def _rule_line(row: dict[str, Any]) -> str:
    """A rule as one line: `NAME: ACTION KEY=VALUE …; N faults of M requests`."""
    words = [f"{row['name']}: {row['action']}"]
    for key, value in row.items():
        if key not in ("name", "action", "seen", "injected", "count"):
            words.append(f"{key}={_show_value(key, value)}")

    if "count" in row:
        return f"{' '.join(words)}; struck {row['count']} times"

    return f"{' '.join(words)}; {row['injected']} faults of {row['seen']} requests"


def _show_value(key: str, value: Any) -> str:  # noqa: ANN401 - as JSON has it
    if key == "op":
        return ",".join(value)

    if key == "options":
        return ",".join(f"{name}:{it}" for name, it in value.items())

    if key == "registers":
        return ",".join(f"{number}={it}" for number, it in value.items())

    return f"{value:#x}" if key in ("base", "length", "register") else f"{value}"


def _difference_lines(row: dict[str, Any]) -> list[str]:
    """A CPU that is out of step, as lines: its registers, and where the types differ."""
    lines = [f"CPU {row['cpu']}: inconsistent {', '.join(row['kinds'])} settings"]
    for number, (expected, found) in row["registers"].items():
        lines.append(f"  register {number}: {found}, not {expected}")

    for base, length, expected, found in row["stretches"]:
        lines.append(f"  {base}+{length}: {found}, not {expected}")

    return lines
