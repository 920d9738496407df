"""The effective memory type of addresses, and what decides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.cli.configured import add_machine_arguments, fresh_machine
from memhub.cli.failures import CommandFailed
from memhub.cli.terminal import print_json, print_line

if TYPE_CHECKING:
    import argparse

    from memhub.core.machine import Machine


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub explain`; 1 where the machine has no memory types to explain."""
    add_machine_arguments(parser)
    parser.add_argument("--json", action="store_true", help="a list of objects")
    parser.add_argument(
        "addresses", nargs="+", metavar="ADDRESS", help="a physical address, as 0xf0000 or 983040"
    )
    chosen = parser.parse_args(arguments)
    addresses = [_address(text) for text in chosen.addresses]
    machine = fresh_machine(chosen.config, chosen.machine)
    _check(machine, addresses)
    rows = [_facts(machine, address) for address in addresses]
    if chosen.json:
        print_json(rows)
    else:
        for row in rows:
            mark = " (implementation-defined)" if row["implementation_defined"] else ""
            print_line(f"{row['address']:#x}  {row['type']}{mark}  {row['why']}")

    return 0


def _address(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise CommandFailed(f"{text!r} is not an address: give it as 0xf0000 or 983040") from None


def _check(machine: Machine, addresses: list[int]) -> None:
    if machine.table is None:
        raise CommandFailed(
            f"{machine.name} has no range operations ({machine.arch.name}: "
            f"{machine.arch.summary}): the types of its memory are not known here",
            1,
        )

    bits = machine.spec.cpu.phys_bits
    for address in addresses:
        if not 0 <= address < 1 << bits:
            raise CommandFailed(
                f"address {address:#x} is outside the {bits} physical address bits of "
                f"{machine.name} (0 to {(1 << bits) - 1:#x})"
            )


def _facts(machine: Machine, address: int) -> dict[str, Any]:
    table = machine.table
    assert table is not None
    answer = table.types.lookup(address)

    return {
        "address": address,
        "type": answer.type,
        "why": answer.why,
        "implementation_defined": answer.implementation_defined,
    }
