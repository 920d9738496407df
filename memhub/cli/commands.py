"""The commands. Each is a module of `memhub.cli` with `command(parser, arguments) -> exit code`."""

from __future__ import annotations

from typing import Final, NamedTuple

#: What memhub is, as its help and its manual page say it.
ABOUT: Final = "FreeBSD's /dev/mem and /dev/kmem as an async multiplexer."


class Command(NamedTuple):
    """One command: the module that runs it, and its line in `memhub --help`."""

    module: str
    summary: str


COMMANDS: Final = {
    "demo": Command("demo", "a lab of machines and contending clients, in a few seconds"),
    "serve": Command("serve", "serve a file's machines to clients on sockets"),
    "arches": Command("arches", "the installed architectures"),
    "machines": Command("machines", "the real machines that come with memhub, and their oddities"),
    "plugins": Command("plugins", "what other distributions add, by kind, and what fails"),
    "new-arch": Command("new_arch", "a package that adds an architecture, ready to install"),
    "check-arch": Command("check_arch", "whether an architecture keeps to the rules, or where not"),
    "memcontrol": Command("memcontrol", "memcontrol(8) on a machine of a service or a file"),
    "import": Command("imports", "a machine of a boot log, /proc/mtrr or memcontrol list"),
    "explain": Command("explain", "the memory type of an address, and why"),
    "map": Command("address_map", "the address space by effective type, as text or a picture"),
    "hazards": Command("hazards", "what would go wrong on hardware: flushes, fences, types"),
    "screen": Command("screen", "what a frame buffer or text screen shows, here or as a PNG"),
    "read": Command("read", "a machine's memory to standard output or a file"),
    "write": Command("write", "bytes into a machine's memory"),
    "hexdump": Command("hexdump", "a machine's memory as hexdump -C shows it"),
    "top": Command("top", "machines, who holds what, who waits for whom, as it changes"),
    "fault": Command("fault", "faults and sick hardware in a running service; suspend, resume"),
    "image": Command("image", "a machine's memory to an ELF core, LiME dump or raw file, and back"),
    "snapshot": Command("snapshot", "the machines of a running service, as they are, to a file"),
    "restore": Command("restore", "the machines of a running service back to a snapshot"),
    "reset": Command("reset", "the machines of a running service back to their start"),
    "exec": Command("run_program", "a program whose /dev/mem and /dev/kmem are a machine's"),
    "plan": Command("plan", "the fewest memory range registers for a wanted map of types"),
    "compare": Command("compare", "one sequence of requests over several kernels: where they part"),
    "replay": Command("replay", "recorded answers of real drivers against what is installed"),
    "rig": Command("rig", "an audit log replayed elsewhere, or shrunk to what still fails"),
    "audit": Command("audit", "verify or show an audit log, or what was at a moment of it"),
    "completion": Command("completion", "a script with which a shell completes all of these"),
    "man": Command("man", "manual pages of all of these"),
}

#: The commands, some with a verb, whose exit code 1 is an answer: something was found, or was not,
#: or differs. Where nobody can read the answer, theirs is 2.
FINDING: Final = frozenset(
    {
        *(f"audit {verb}" for verb in ("verify", "state", "diff", "blame", "check", "lint")),
        "check-arch",
        "compare",
        "fault",
        "hazards",
        "machines",
        "plan",
        "plugins",
        "replay",
        "rig",
    }
)
