"""An X server wants its frame buffer write-combined, on each real machine that comes with memhub.

It does what X servers did on FreeBSD for twenty years: MEMRANGE_SET of the aperture of the graphics
card, write-combine. Firmware decides whether that works. The window is the first of 256 MiB below
4 GiB that is neither RAM nor write-back.

Run it with `python examples/xorg.py`; it prints a table in Markdown.
"""

from __future__ import annotations

from typing import NamedTuple

from memhub import DeviceError, machines
from memhub.service.local import LocalClient

WINDOW = 256 << 20
FOUR_GIB = 4 << 30


class Attempt(NamedTuple):
    """What came of it: the window's first byte, an errno or "", and the type, or the reason."""

    base: int
    errno: str
    outcome: str


def find_window(client: LocalClient) -> int:
    """Where a graphics card may lie: above RAM, where no range says write-back."""
    (machine,) = client.machines.values()
    ram = [it for it in machine.spec.memory if it.kind == "ram" and it.base < FOUR_GIB]
    top = max((it.base + it.length for it in ram), default=0)
    types = machine.table.types
    for base in range(0x40000000, FOUR_GIB, WINDOW):
        kinds = {it.type for it in types.segments(base, base + WINDOW)}
        if base >= top and "WB" not in kinds:
            return base

    return FOUR_GIB - 2 * WINDOW  # the text tells no hole: where most cards lie


def try_frame_buffer(name: str, arch: str) -> Attempt:
    """One X server on one machine."""
    with LocalClient([machines.load(name, arch=arch)], name="Xorg") as client:
        base = find_window(client)
        with client.open("/dev/mem") as mem:
            try:
                mem.set_range(base, WINDOW, "write-combine", owner="Xorg")
            except DeviceError as error:
                return Attempt(base, error.code.name, error.reason)

            return Attempt(base, "", mem.explain(base).type)


def explain_in_short(attempt: Attempt) -> str:
    """The reason in a few words; the whole sentence is in the log and in the error."""
    if not attempt.errno:
        return "ok" if attempt.outcome == "WC" else f"ok, but its type is {attempt.outcome}"

    if attempt.errno == "ENOSPC":
        return "ENOSPC: no slot is free"

    if "overlaps" in attempt.outcome:
        there = attempt.outcome.split(" overlaps ")[1].split(":")[0]
        return f"{attempt.errno}: overlaps {there}"

    return f"{attempt.errno}: {attempt.outcome}"


def print_table() -> None:
    """One line for each machine, and how many succeed with page attributes instead."""
    done = {"amd64-mtrr": 0, "amd64": 0}
    print("| machine | window | MEMRANGE_SET of 256 MiB, write-combine |")
    print("| --- | --- | --- |")
    for name in machines.names():
        attempts = {arch: try_frame_buffer(name, arch) for arch in done}
        for arch, attempt in attempts.items():
            done[arch] += attempt.outcome == "WC"

        attempt = attempts["amd64-mtrr"]
        print(f"| {name} | {attempt.base:#x} | {explain_in_short(attempt)} |")

    print(
        f"\nOf {len(machines.names())} machines, it succeeds on {done['amd64-mtrr']} through MTRRs "
        f"and on {done['amd64']} through page attributes."
    )


if __name__ == "__main__":
    print_table()
