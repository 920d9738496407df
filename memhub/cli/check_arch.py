"""Check an architecture against the rules that every range driver has to keep to.

What does not hold is told with the rule's name, the driver's method, the reason, and the shortest
sequence of requests that was found to show it. ARCH is an installed architecture, or a file
`arch.toml` that declares some.

exit codes: 0 sound, 1 something was found, 2 wrong usage or no such architecture
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from memhub.core.driver import Arch


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
    parser.add_argument("--json", action="store_true", help="a list of objects")
    chosen = parser.parse_args(arguments)
    options = _take_options(chosen.option)

    from memhub.cli.terminal import print_json, print_text
    from memhub.rig.arch_check import check_arch

    reports = [
        check_arch(arch, options=options, seed=chosen.seed, sequences=chosen.sequences)
        for arch in _find_arches(chosen.arch)
    ]
    if chosen.json:
        print_json([{**asdict(it), "sound": not it.findings} for it in reports])
    else:
        for report in reports:
            print_text(f"{report}\n")

    return int(any(it.findings for it in reports))


def _take_options(given: list[str]) -> dict[str, Any]:
    import tomllib

    from memhub.cli.failures import CommandFailed

    found: dict[str, Any] = {}
    for it in given:
        try:
            found |= tomllib.loads(it)
        except tomllib.TOMLDecodeError as error:
            raise CommandFailed(f"--option {it}: not KEY=VALUE as in TOML: {error}") from None

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
