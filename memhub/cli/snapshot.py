"""Write the machines of a running service to a file, as they are now.

The file has tables, registers, claims, open files and memory; `memhub restore` goes back to it. It
needs the rights read-memory and read-ranges. Of what is on its way, waits and commits, it has
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.cli.failures import CommandFailed
from memhub.cli.file_output import STANDARD_OUTPUT, check_output, write_output
from memhub.cli.target import add_target_arguments, open_service
from memhub.cli.terminal import complain, print_json, print_line

if TYPE_CHECKING:
    import argparse


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub snapshot`."""
    parser.add_argument(
        "--out", metavar="FILE", required=True, help="the file to write; - is standard output"
    )
    parser.add_argument("--json", action="store_true", help="the file and its size as an object")
    add_target_arguments(parser, files=False)
    chosen = parser.parse_args(arguments)
    why = "a snapshot is taken of a running service; the machines of a file are as it says"
    check_output(chosen.out, "a snapshot")
    if chosen.json and chosen.out == STANDARD_OUTPUT:
        raise CommandFailed("--json and --out -: one of both has standard output")

    with open_service(chosen, "memhub snapshot", why) as client:
        data = client.take_snapshot(chosen.machine)

    write_output(chosen.out, data, mode=0o600)
    if chosen.out == STANDARD_OUTPUT:
        complain(f"standard output: {len(data)} bytes")
    elif chosen.json:
        print_json({"file": chosen.out, "bytes": len(data)})
    else:
        print_line(f"memhub: {chosen.out}: {len(data)} bytes")

    return 0
