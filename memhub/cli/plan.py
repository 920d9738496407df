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
    from collections.abc import Callable, Iterable

    from memhub.core.ranges.plannable import Hardware
    from memhub.core.spec import MachineSpec
    from memhub.planner import LossyPlan, Plan, WantedMap
    from memhub.planner.fewest import Register

    #: A register as a request.
    _Say = Callable[[Register], str]

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

    spec = None if chosen.config is None else _read_machine(chosen.config, chosen.machine)
    say = _choose_words(spec)
    hardware = _choose_hardware(chosen, spec)
    wanted = _read_wanted(chosen, hardware, [] if spec is None else _ram_of(spec))
    default = _choose_default(chosen, hardware)
    types, apart = hardware.types, hardware.apart
    try:
        plan = plan_registers(wanted, default=default, types=types, apart=apart)
    except ValueError as error:
        raise CommandFailed(str(error)) from error
    except NoPlan as error:
        if not chosen.json:
            raise CommandFailed(str(error), 1) from error

        print_json({"fits": False, "needs": None, "lost": None, "reason": str(error)})
        return 1

    if len(plan.registers) <= hardware.slots:
        _show_plan(plan, hardware.slots, say, as_json=chosen.json)
        return 0

    least: LossyPlan | None = None
    with suppress(NoPlan):
        least = plan_least_loss(wanted, hardware.slots, default=default, types=types, apart=apart)

    _show_misfit(plan, least, hardware.slots, say, as_json=chosen.json)

    return 1


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    slots, bits = whole_number(0, 256), whole_number(12, 52)
    parser.add_argument("map", nargs="?", metavar="MAP", help="the wanted map; - is standard input")
    parser.add_argument("--config", metavar="FILE", help="TOML: its machine's RAM is write-back")
    parser.add_argument("--machine", metavar="NAME", help="which of its machines")
    parser.add_argument(
        "--arch", metavar="NAME", help="slots, types and width are those of this architecture"
    )
    parser.add_argument(
        "--want", action="append", default=[], metavar="RANGE=TYPE", help="one more stretch"
    )
    parser.add_argument(
        "--otherwise", default="UC", metavar="TYPE", help="what the rest is to be (UC); or any"
    )
    parser.add_argument("--slots", type=slots, metavar="N", help=f"registers there are ({_SLOTS})")
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
        "--types", metavar="LIST", help="types that registers may have (UC,WC,WT,WP,WB)"
    )
    parser.add_argument(
        "--tom2", metavar="ADDRESS", help="from 4 GiB to here the default is write-back (AMD)"
    )
    parser.add_argument(
        "--no-fixed", action="store_true", help="fixed ranges do not decide below 1 MiB"
    )
    parser.add_argument("--json", action="store_true", help="one object")


def _choose_hardware(chosen: argparse.Namespace, spec: MachineSpec | None) -> Hardware:
    """What is planned with: as the options say, else as the architecture or the machine has it."""
    from memhub.core.ranges.plannable import Hardware
    from memhub.planner import TYPES
    from memhub.planner.map_text import MapError, parse_types

    width = _WIDTH if spec is None else spec.cpu.phys_bits
    found = Hardware(TYPES, width, _SLOTS, fixed=True)
    if chosen.arch is not None:
        found = _ask_architecture(chosen.arch, spec)
    elif spec is not None and not spec.cpu.mtrr:
        raise CommandFailed(f"{spec.name} cannot be planned for: its processor has no MTRRs")

    try:
        types = found.types if chosen.types is None else tuple(parse_types(chosen.types))
    except MapError as error:
        raise CommandFailed(str(error)) from error

    if alien := set(types) - set(found.types):
        known = ", ".join(found.types)
        raise CommandFailed(f"--types: {chosen.arch} has no {min(alien)} (types: {known})")

    return found._replace(
        types=types,
        width=chosen.width or found.width,
        slots=found.slots if chosen.slots is None else chosen.slots,
        fixed=found.fixed and not chosen.no_fixed,
    )


def _choose_default(chosen: argparse.Namespace, hardware: Hardware) -> str | None:
    wanted = None if chosen.default == _FREE else chosen.default
    if hardware.default is not None and wanted not in (None, hardware.default):
        raise CommandFailed(
            f"--default {wanted}: {chosen.arch} has {hardware.default} where no range is"
        )

    return hardware.default or wanted


def _ask_architecture(name: str, spec: MachineSpec | None) -> Hardware:
    from dataclasses import replace

    from memhub.arches import load_arches
    from memhub.core.ranges.plannable import NotPlannable, read_hardware
    from memhub.core.spec import MachineSpec

    arch = load_arches()[name]
    if spec is None:
        spec = MachineSpec(name=name, arch=name)
    elif spec.arch != name:
        spec = replace(spec, arch=name, options={})

    try:
        return read_hardware(spec, arch)
    except NotPlannable as error:
        raise CommandFailed(f"{name} cannot be planned for: {error}") from error


def _read_wanted(
    chosen: argparse.Namespace, hardware: Hardware, ranges: list[tuple[int, int, str]]
) -> WantedMap:
    from memhub.cli.amounts import amount
    from memhub.planner import WantedMap
    from memhub.planner.map_text import MapError, parse_map, parse_stretch, parse_type

    width = hardware.width
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
            fixed=hardware.fixed,
            tom2=None if chosen.tom2 is None else amount(chosen.tom2),
        )
    except ValueError as error:
        raise CommandFailed(str(error)) from error


def _read_text(path: str) -> str:
    data = read_input() if path == "-" else Path(path).read_bytes()

    return data.decode("utf-8", "backslashreplace")


def _read_machine(config: str, machine: str | None) -> MachineSpec:
    from memhub.arches import load_arches
    from memhub.config import load_config

    loaded = load_config(config, arches=load_arches())
    known = ", ".join(loaded.machines)
    name = machine or loaded.default
    if name is None:
        raise CommandFailed(f"{config}: say which machine with --machine (there are {known})")

    if name not in loaded.machines:
        raise CommandFailed(f"{config}: there is no machine {name!r} (there are {known})")

    return loaded.machines[name]


def _ram_of(spec: MachineSpec) -> list[tuple[int, int, str]]:
    """The RAM of a machine as write-back stretches of whole pages."""
    page = 4096

    return [
        (it.base // page * page, -(-(it.base + it.length) // page) * page, "WB")
        for it in spec.memory
        if it.kind in ("ram", "acpi", "nvs")
    ]


def _show_plan(plan: Plan, slots: int, say: _Say, *, as_json: bool) -> None:
    if as_json:
        print_json({"fits": True, **_plan_facts(plan.default, plan.registers)})
        return

    count = len(plan.registers)
    print_line(f"default {plan.default}, {count} of {slots} registers; no fewer will do")
    _show_registers(plan.registers, say)


def _show_misfit(
    plan: Plan, least: LossyPlan | None, slots: int, say: _Say, *, as_json: bool
) -> None:
    if as_json:
        facts: dict[str, object] = {"fits": False, "needs": len(plan.registers), "lost": None}
        if least is not None:
            facts |= {"lost": least.lost, **_plan_facts(least.default, least.registers)}

        print_json(facts)
        return

    print_line(
        f"does not fit: {len(plan.registers)} registers are the fewest, and there are {slots}"
    )
    if least is None:
        print_line("what is left over cannot stay uncached alone")
    else:
        print_line(f"default {least.default}; {size(least.lost)} stay uncached, no fewer can")
        _show_registers(least.registers, say)


def _show_registers(registers: Iterable[Register], say: _Say) -> None:
    """The registers as requests, in order."""
    for it in registers:
        print_line(say(it), whole=True)  # to be pasted


def _choose_words(spec: MachineSpec | None) -> _Say:
    """How a request is said to the kernel of a machine; to FreeBSD's where there is none."""
    from memhub.core.drivers.served_kernel import FREEBSD

    if spec is None or spec.kernel_name == FREEBSD:
        return _memcontrol_line

    from memhub.kernels import load_kernels

    served = load_kernels().find(spec.kernel_name).served

    return _proc_line if served is not None and "/proc/mtrr" in served.files else _entry_line


def _memcontrol_line(it: Register) -> str:
    from memhub.planner.map_text import TYPE_WORDS

    words = {short: word for word, short in TYPE_WORDS.items()}

    return f"memcontrol set -b {it.base:#x} -l {it.size:#x} -o plan {words[it.type]}"


def _proc_line(it: Register) -> str:
    from memhub.x86.mtrr_line import LINE_TYPES
    from memhub.x86.registers import TYPE_BYTES

    word = LINE_TYPES[TYPE_BYTES[it.type]]

    return f'echo "base={it.base:#x} size={it.size:#x} type={word}" > /proc/mtrr'


def _entry_line(it: Register) -> str:
    """An entry of NetBSD's `set`: base, length, type, that it is valid, no owner."""
    from memhub.x86.registers import TYPE_BYTES

    return f"set [{it.base:#x}, {it.size:#x}, {TYPE_BYTES[it.type]}, 4, 0]"


def _plan_facts(default: str, registers: Iterable[Register]) -> dict[str, object]:
    return {
        "default": default,
        "registers": [{"base": it.base, "length": it.size, "type": it.type} for it in registers],
    }
