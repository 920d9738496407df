"""memcontrol(8) on a machine of a service, or on a fresh one of a configuration file.

COMMAND is memcontrol's own: list, set, clear, help, with its arguments, output and exit codes.
--script runs several in a row on the same machine, one a line (# begins a comment), as a shell
would: a failure does not stop it, and the exit code is that of the last line.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from memhub.cli.target import OPTIONS, add_target_arguments, open_target

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from memhub.cli.memcontrol.devices import Device

#: memhub's own options; each may be anywhere, as memcontrol(8) has no long options.
_VALUED = (*OPTIONS, "--script")
_BARE = ("--json", "--help")


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub memcontrol`."""
    from memhub.abi import LP64
    from memhub.cli.memcontrol.devices import ClientDevice

    add_target_arguments(parser)
    parser.add_argument("--script", metavar="FILE", help="commands, one a line; - reads stdin")
    parser.add_argument("--json", action="store_true", help="list as a list of objects")
    parser.usage = (
        "memhub memcontrol [--connect ADDRESS | --config FILE] [--machine NAME]\n"
        "                         [--json] (COMMAND ... | --script FILE)"
    )
    ours, theirs = split(arguments)
    chosen = parser.parse_args(ours)
    if chosen.script and theirs:
        parser.error(f"give a command or --script, not both ({' '.join(theirs)})")

    target = open_target(chosen, "memcontrol")
    with target.client as client, client.open(target.path("mem"), model=LP64) as handle:
        device = ClientDevice(handle)
        if chosen.script:
            return _run_script(chosen.script, device, as_json=chosen.json)

        return _run_command(theirs, device, as_json=chosen.json)


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Separate memhub's own options from memcontrol's arguments."""
    ours: list[str] = []
    theirs: list[str] = []
    rest = iter(arguments)
    for word in rest:
        name = word.partition("=")[0]
        help_asked = word == "-h" and not theirs
        if help_asked or name in _BARE or (name in _VALUED and "=" in word):
            ours.append(word)
        elif name in _VALUED:
            ours += [word, *_next_command(rest)]
        elif word.startswith("--") and len(word) > 2 and not theirs:
            ours.append(word)
        else:
            theirs.append(word)

    return ours, theirs


def _next_command(words: Iterator[str]) -> list[str]:
    word = next(words, None)

    return [] if word is None else [word]


def _run_command(words: list[str], device: Device, *, as_json: bool, where: str = "") -> int:
    from memhub.cli.memcontrol.tool import Tool

    return Tool(device, sys.stdout, sys.stderr, as_json=as_json, where=where).run(words)


def _run_script(name: str, device: Device, *, as_json: bool) -> int:
    import shlex
    from pathlib import Path

    from memhub.cli.failures import CommandFailed

    data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    code = 0
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
        where = f"{name}: line {number}"
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise CommandFailed(f"{where}: {error}") from error

        if words:
            words = words[1:] if words[0] == "memcontrol" else words
            code = _run_command(words, device, as_json=as_json, where=where)

    return code
