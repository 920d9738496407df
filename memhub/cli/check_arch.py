"""Check an architecture against the rules that every range driver has to keep to.

What does not hold is told with the rule's name, the driver's method, the reason, and the shortest
sequence of requests that was found to show it. ARCH is an installed architecture, or a file
`arch.toml` that declares some.

The check runs in a process of its own, so that a driver which ends it is found as well.

exit codes: 0 sound, 1 something was found, 2 wrong usage or no such architecture, 3 nothing was
found, but the time was over before all was asked
"""

from __future__ import annotations

from dataclasses import asdict
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse

    from memhub.abi import RangeDesc
    from memhub.core.drivers.driver import Arch, Cpu
    from memhub.rig.arch_check import ArchReport

_NOT_ENDED: Final = 3


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub check-arch`."""
    parser.add_argument("arch", metavar="ARCH", help="its name, or a file that declares it")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the machine, its value as in TOML; may be given several times",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random sequences (default: 0)")
    parser.add_argument(
        "--sequences", type=int, default=40, metavar="N", help="random sequences (default: 40)"
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, metavar="S", help="how long to ask (default: 60)"
    )
    parser.add_argument(
        "--cpu",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help='a field of the processor, such as phys_bits=40 or vendor="AMD"',
    )
    parser.add_argument(
        "--msr",
        action="append",
        default=[],
        metavar="NUMBER=VALUE",
        help="a register as firmware leaves it; the others are zero then",
    )
    parser.add_argument(
        "--range",
        action="append",
        default=[],
        metavar="BASE/LENGTH:TYPE",
        help="a range that it takes, such as 0xe0000000/0x1000000:write-combine",
    )
    parser.add_argument("--json", action="store_true", help="a list of objects")
    chosen = parser.parse_args(arguments)

    from memhub.cli.failures import CommandFailed
    from memhub.cli.terminal import print_json, print_text

    asked = {
        "options": _take_options("--option", chosen.option),
        "cpu": _take_cpu(chosen.cpu),
        "msrs": dict(map(_take_register, chosen.msr)) or None,
        "requests": [_take_range(it) for it in chosen.range],
        "seed": chosen.seed,
        "sequences": chosen.sequences,
        "seconds": chosen.seconds,
    }
    arches = _find_arches(chosen.arch)
    for it in arches:
        if odd := sorted(set(asked["options"]) - it.machine_options):
            known = ", ".join(sorted(it.machine_options)) or "none"
            raise CommandFailed(f"--option {odd[0]}: {it.name} has no such option, but {known}")

    reports = _run_checks(arches, asked)
    if chosen.json:
        print_json([{**asdict(it), "sound": it.is_sound} for it in reports])
    else:
        for report in reports:
            print_text(f"{report}\n")

    if any(it.findings for it in reports):
        return 1

    return 0 if all(it.is_sound for it in reports) else _NOT_ENDED


def _run_checks(arches: list[Arch], asked: dict[str, Any]) -> list[ArchReport]:
    from memhub.cli.failures import CommandFailed
    from memhub.rig.arch_check.child import check_in_child
    from memhub.rig.arch_check.numbers import check_numbers

    try:
        check_numbers(asked["sequences"], seconds=asked["seconds"])
    except ValueError as error:
        raise CommandFailed(f"--{error}") from None

    return [check_in_child(it, **asked) for it in arches]


def _take_cpu(given: list[str]) -> Cpu | None:
    from memhub.cli.failures import CommandFailed
    from memhub.core.drivers.driver import Cpu

    fields = _take_options("--cpu", given)
    known = {it.name: type(it.default) for it in dataclass_fields(Cpu)}
    for key, value in fields.items():
        if key not in known:
            raise CommandFailed(f"--cpu {key}: a processor has {', '.join(known)}")

        if type(value) is not known[key]:
            raise CommandFailed(f"--cpu {key}={value!r}: it is not of type {known[key].__name__}")

    try:
        return Cpu(**fields) if fields else None
    except ValueError as error:
        raise CommandFailed(f"--cpu: {error}") from None


def _take_register(given: str) -> tuple[int, int]:
    from memhub.cli.failures import CommandFailed

    number, _, value = given.partition("=")
    try:
        found = int(number, 0), int(value, 0)
    except ValueError:
        raise CommandFailed(f"--msr {given}: not NUMBER=VALUE, as in 0x2ff=0xc06") from None

    if not (0 <= found[0] < 1 << 32 and 0 <= found[1] < 1 << 64):
        raise CommandFailed(f"--msr {given}: a register has 32 bits of number and 64 of value")

    return found


def _take_range(given: str) -> RangeDesc:
    from memhub.abi import FLAG_WORDS, MDF_SETTABLE, RangeDesc, owner_bytes
    from memhub.cli.failures import CommandFailed

    span, _, words = given.partition(":")
    base, _, length = span.partition("/")
    known = {word: bit for bit, word in FLAG_WORDS if bit & MDF_SETTABLE or word == "force"}
    try:
        if not length:
            raise ValueError

        flags = sum({known[it] for it in words.split(",")})
        return RangeDesc(int(base, 0), int(length, 0), flags, owner_bytes("one"))
    except KeyError as error:
        raise CommandFailed(
            f"--range {given}: {error.args[0]!r} is none of {', '.join(known)}"
        ) from None
    except ValueError:
        raise CommandFailed(
            f"--range {given}: not BASE/LENGTH:TYPE, as in 0xe0000000/0x1000000:write-combine"
        ) from None


def _take_options(name: str, given: list[str]) -> dict[str, Any]:
    import tomllib

    from memhub.cli.failures import CommandFailed

    found: dict[str, Any] = {}
    for it in given:
        try:
            found |= tomllib.loads(it)
        except tomllib.TOMLDecodeError as error:
            raise CommandFailed(f"{name} {it}: not KEY=VALUE as in TOML: {error}") from None

    return found


def _find_arches(name: str) -> list[Arch]:
    if not name.endswith(".toml"):
        from memhub.arches import load_arches

        return [load_arches()[name]]

    from memhub.cli.failures import CommandFailed
    from memhub.plugin.declared import make_arch
    from memhub.plugin.declared_toml import DeclarationError, parse_declared

    try:
        return [make_arch(it) for it in parse_declared(Path(name).read_text("utf-8"), name)]
    except DeclarationError as error:
        raise CommandFailed(str(error)) from None
    except UnicodeDecodeError:
        raise CommandFailed(f"{name}: it is not UTF-8") from None
