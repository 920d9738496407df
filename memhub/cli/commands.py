"""The commands: a module of `memhub.cli` each, with `command(parser, arguments) -> exit code`."""

from __future__ import annotations

from typing import Final, NamedTuple


class Command(NamedTuple):
    """One command: the module that runs it, and a line for `memhub --help`."""

    module: str
    summary: str


COMMANDS: Final = {
    "demo": Command("demo", "a lab of machines and contending clients, in a few seconds"),
    "arches": Command("arches", "the installed architectures"),
    "memcontrol": Command("memcontrol", "memcontrol(8) on a fresh machine of a file"),
    "import": Command("imports", "a machine of a boot log, /proc/mtrr or memcontrol list"),
    "explain": Command("explain", "the memory type of an address, and why"),
    "replay": Command("replay", "recorded answers of real drivers against what is installed"),
    "audit": Command("audit", "verify, sum up or show an audit log"),
}
