"""What would go wrong on hardware: the hazards that machines have met.

Only a machine that is declared `coherent = false` has hazards: stale reads of a device or a CPU,
undrained buffers, stores out of order, writes to protected memory, types that alias. The status is
1 where there is one of the level asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.cli.target import add_target_arguments, open_target
from memhub.cli.terminal import print_json, print_line
from memhub.service.blocking import BlockingClient

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from memhub.cli.target import Client


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub hazards`; 1 where there is a hazard."""
    add_target_arguments(parser)
    parser.add_argument("--json", action="store_true", help="a list of objects")
    parser.add_argument("--errors", action="store_true", help="only hazards of the level error")
    chosen = parser.parse_args(arguments)
    target = open_target(chosen, "memhub hazards")
    with target.client as client:
        machines = _report_machines(client, chosen.machine)

    found = [
        {"machine": row["machine"], **it}
        for row in machines
        for it in row.get("hazards", ())
        if it["level"] == "error" or not chosen.errors
    ]
    if chosen.json:
        print_json(found)
    else:
        for line in _hazard_lines(machines, found):
            print_line(line)

    return int(bool(found))


def _report_machines(client: Client, machine: str | None) -> list[dict[str, Any]]:
    if isinstance(client, BlockingClient):
        rows = client.report("hazards", machine or "")["machines"]
    else:
        rows = client.report()["machines"]

    return [row for row in rows if machine in (None, row["machine"])]


def _hazard_lines(machines: list[dict[str, Any]], found: list[dict[str, Any]]) -> Iterator[str]:
    for row in machines:
        if "hazards" not in row:
            yield f"{row['machine']}: memory is coherent"
        elif not any(it["machine"] == row["machine"] for it in found):
            yield f"{row['machine']}: no hazards"

    for it in found:
        slot = "no slot" if it["slot"] is None else f"slot {it['slot']}"
        since = "" if it["since"] is None else f", since record {it['since']}"
        times = "" if it["times"] == 1 else f", {it['times']} times"
        yield f"{it['machine']}: {it['level']} {it['name']} {it['address']:#x}+{it['length']}"
        yield f"  {it['what']}"
        yield f"  {it['type']}, {slot}, of {it['process'] or 'nobody known'}{since}{times}"
        yield f"  cure: {it['cure']}"
