"""Let the machines of a running service be as they were at its start, while clients stay connected.

Every claim is broken, and requests that wait are answered with ECANCELED. It needs the right
restore-machines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.cli.target import add_target_arguments, open_service
from memhub.cli.terminal import print_json, print_line

if TYPE_CHECKING:
    import argparse


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub reset`."""
    parser.add_argument("--json", action="store_true", help="the names of the machines as a list")
    add_target_arguments(parser, files=False)
    chosen = parser.parse_args(arguments)
    why = "a running service is reset; the machines of a file are at their start"
    with open_service(chosen, "memhub reset", why) as client:
        names = client.reset(chosen.machine)

    if chosen.json:
        print_json(names)
    else:
        print_line(f"memhub: as at the start: {', '.join(names)}")

    return 0
