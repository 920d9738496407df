"""Write the machines of a running service to a file, as they are now.

The file has tables, registers, claims, open files and memory; `memhub restore` goes back to it. It
needs the rights read-memory and read-ranges. Of what is on its way, waits and commits, it has
nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from memhub.cli.target import add_target_arguments, open_service
from memhub.cli.terminal import print_json, print_line

if TYPE_CHECKING:
    import argparse


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub snapshot`."""
    parser.add_argument("--out", metavar="FILE", required=True, help="the file to write")
    parser.add_argument("--json", action="store_true", help="the file and its size as an object")
    add_target_arguments(parser)
    chosen = parser.parse_args(arguments)
    why = "a snapshot is taken of a running service; the machines of a file are as it says"
    with open_service(chosen, "memhub snapshot", why) as client:
        data = client.take_snapshot(chosen.machine)

    from memhub.snapshot_file import write_whole

    write_whole(Path(chosen.out), data)
    if chosen.json:
        print_json({"file": chosen.out, "bytes": len(data)})
    else:
        print_line(f"memhub: {chosen.out}: {len(data)} bytes")

    return 0
