"""Let the machines of a running service go back to a snapshot, while its clients stay connected.

All machines of the file go back, or with an error none. Claims that the snapshot does not have are
broken, and requests that wait are answered with ECANCELED. It needs the right restore-machines.
With --machine one machine goes back: to the one of this name in the file, or to its only one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from memhub.cli.target import add_target_arguments, open_service
from memhub.cli.terminal import print_json, print_line, read_input

if TYPE_CHECKING:
    import argparse


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub restore`."""
    parser.add_argument(
        "file", metavar="FILE", help="a file of memhub snapshot; - is standard input"
    )
    parser.add_argument("--json", action="store_true", help="the names of the machines as a list")
    add_target_arguments(parser, files=False)
    chosen = parser.parse_args(arguments)
    data = read_input() if chosen.file == "-" else Path(chosen.file).read_bytes()
    why = "a running service goes back to a snapshot, and a file of machines does not"
    with open_service(chosen, "memhub restore", why) as client:
        names = client.restore_snapshot(data, chosen.machine)

    if chosen.json:
        print_json(names)
    else:
        source = "standard input" if chosen.file == "-" else chosen.file
        print_line(f"memhub: as in {source}: {', '.join(names)}")

    return 0
