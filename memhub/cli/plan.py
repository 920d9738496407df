"""The fewest memory range registers (MTRRs) for a wanted map of types.

The map is a file with a stretch on each line (0-2G WB, 0xe0000000+256M write-combine), or the RAM
of a configured machine write-back, or both; --want adds stretches, and later ones replace earlier
ones. The answer is proved to be the least, or that none fits; then it is what loses least.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memhub.cli.amounts import size, whole_number
from memhub.cli.failures import CommandFailed
from memhub.cli.terminal import print_json, print_line, read_input

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from memhub.planner import LossyPlan, Plan, WantedMap
    from memhub.planner.fewest import Register

#: Physical address bits where neither an option nor a machine says.
_WIDTH: Final = 36
_SLOTS: Final = 8
_FREE: Final = "free"


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub plan`; 1 where the map does not fit the registers."""
    _add_arguments(parser)
    chosen = parser.parse_args(arguments)
    if chosen.map is None and chosen.config is None and not chosen.want:
        raise CommandFailed("nothing is wanted: give a MAP, --config or --want")

    if chosen.machine is not None and chosen.config is None:
        raise CommandFailed(f"--machine {chosen.machine}: say with --config where it is described")

    from memhub.planner import NoPlan, plan_least_loss, plan_registers
    from memhub.planner.map_text import parse_types

    wanted = _read_wanted(chosen)
    default = None if chosen.default == _FREE else chosen.default
    try:
        types = parse_types(chosen.types)
        plan = plan_registers(wanted, default=default, types=types)
    except ValueError as error:
        raise CommandFailed(str(error)) from error
    except NoPlan as error:
        if not chosen.json:
            raise CommandFailed(str(error), 1) from error

        print_json({"fits": False, "needs": None, "lost": None, "reason": str(error)})
        return 1

    if len(plan.registers) <= chosen.slots:
        _show_plan(plan, chosen)
        return 0

    least: LossyPlan | None = None
    with suppress(NoPlan):
        least = plan_least_loss(wanted, chosen.slots, default=default, types=types)

    _show_misfit(plan, least, chosen)

    return 1


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    slots, bits = whole_number(0, 256), whole_number(12, 52)
    parser.add_argument("map", nargs="?", metavar="MAP", help="the wanted map; - is standard input")
    parser.add_argument("--config", metavar="FILE", help="TOML: its machine's RAM is write-back")
    parser.add_argument("--machine", metavar="NAME", help="which of its machines")
    parser.add_argument(
        "--want", action="append", default=[], metavar="RANGE=TYPE", help="one more stretch"
    )
    parser.add_argument(
        "--otherwise", default="UC", metavar="TYPE", help="what the rest is to be (UC); or any"
    )
    parser.add_argument(
        "--slots", type=slots, default=_SLOTS, metavar="N", help=f"registers there are ({_SLOTS})"
    )
    parser.add_argument(
        "--width",
        type=bits,
        metavar="BITS",
        help=f"physical address bits (those of the machine, or {_WIDTH})",
    )
    parser.add_argument(
        "--default", choices=("UC", "WB", _FREE), default=_FREE, help="the default type (free)"
    )
    parser.add_argument(
        "--types", default="UC,WC,WT,WP,WB", metavar="LIST", help="types that registers may have"
    )
    parser.add_argument(
        "--tom2", metavar="ADDRESS", help="from 4 GiB to here the default is write-back (AMD)"
    )
    parser.add_argument(
        "--no-fixed", action="store_true", help="fixed ranges do not decide below 1 MiB"
    )
    parser.add_argument("--json", action="store_true", help="one object")


def _read_wanted(chosen: argparse.Namespace) -> WantedMap:
    from memhub.cli.amounts import amount
    from memhub.planner import WantedMap
    from memhub.planner.map_text import MapError, parse_map, parse_stretch, parse_type

    width = chosen.width or _WIDTH
    ranges: list[tuple[int, int, str]] = []
    if chosen.config is not None:
        bits, ranges = _ram_of(chosen.config, chosen.machine)
        width = chosen.width or bits

    name = "standard input" if chosen.map == "-" else chosen.map
    try:
        if chosen.map is not None:
            ranges += parse_map(_read_text(chosen.map), width)
    except MapError as error:
        raise CommandFailed(f"{name}: {error}") from error

    try:
        ranges += [parse_stretch(it, width) for it in chosen.want]

        return WantedMap.of_ranges(
            width,
            ranges,
            otherwise=parse_type(chosen.otherwise),
            fixed=not chosen.no_fixed,
            tom2=None if chosen.tom2 is None else amount(chosen.tom2),
        )
    except ValueError as error:
        raise CommandFailed(str(error)) from error


def _read_text(path: str) -> str:
    data = read_input() if path == "-" else Path(path).read_bytes()

    return data.decode("utf-8", "backslashreplace")


def _ram_of(config: str, machine: str | None) -> tuple[int, list[tuple[int, int, str]]]:
    """The address bits of a machine, and its RAM as write-back stretches of whole pages."""
    from memhub.arches import load_arches
    from memhub.config import load_config

    loaded = load_config(config, arches=load_arches())
    known = ", ".join(loaded.machines)
    name = machine or loaded.default
    if name is None:
        raise CommandFailed(f"{config}: say which machine with --machine (there are {known})")

    if name not in loaded.machines:
        raise CommandFailed(f"{config}: there is no machine {name!r} (there are {known})")

    spec, page = loaded.machines[name], 4096
    ram = [
        (it.base // page * page, -(-(it.base + it.length) // page) * page, "WB")
        for it in spec.memory
        if it.kind in ("ram", "acpi", "nvs")
    ]

    return spec.cpu.phys_bits, ram


def _show_plan(plan: Plan, chosen: argparse.Namespace) -> None:
    if chosen.json:
        print_json({"fits": True, **_plan_facts(plan.default, plan.registers)})
        return

    count = len(plan.registers)
    print_line(f"default {plan.default}, {count} of {chosen.slots} registers; no fewer will do")
    _show_registers(plan.registers)


def _show_misfit(plan: Plan, least: LossyPlan | None, chosen: argparse.Namespace) -> None:
    if chosen.json:
        facts: dict[str, object] = {"fits": False, "needs": len(plan.registers), "lost": None}
        if least is not None:
            facts |= {"lost": least.lost, **_plan_facts(least.default, least.registers)}

        print_json(facts)
        return

    print_line(
        f"does not fit: {len(plan.registers)} registers are the fewest, and there are "
        f"{chosen.slots}"
    )
    if least is None:
        print_line("what is left over cannot stay uncached alone")
    else:
        print_line(f"default {least.default}; {size(least.lost)} stay uncached, no fewer can")
        _show_registers(least.registers)


def _show_registers(registers: Iterable[Register]) -> None:
    """The registers as requests of memcontrol(8), in order."""
    from memhub.planner.map_text import TYPE_WORDS

    words = {short: word for word, short in TYPE_WORDS.items()}
    for base, length, type_ in registers:
        line = f"memcontrol set -b {base:#x} -l {length:#x} -o plan {words[type_]}"
        print_line(line, whole=True)  # to be pasted


def _plan_facts(default: str, registers: Iterable[Register]) -> dict[str, object]:
    return {
        "default": default,
        "registers": [{"base": it.base, "length": it.size, "type": it.type} for it in registers],
    }
