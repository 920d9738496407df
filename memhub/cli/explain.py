"""The effective memory type of addresses, and what decides it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.cli.failures import CommandFailed
from memhub.cli.target import Target, add_target_arguments, open_target
from memhub.cli.terminal import print_json, print_line

if TYPE_CHECKING:
    import argparse

    from memhub.core.replies import Explanation


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub explain`; 1 where the machine has no memory types to explain."""
    add_target_arguments(parser)
    parser.add_argument("--json", action="store_true", help="a list of objects")
    parser.add_argument(
        "addresses", nargs="+", metavar="ADDRESS", help="a physical address, as 0xf0000 or 983040"
    )
    chosen = parser.parse_args(arguments)
    addresses = [_parse_address(text) for text in chosen.addresses]
    found = _explain_all(open_target(chosen, "memhub explain"), addresses)
    if chosen.json:
        print_json([_explanation_facts(it) for it in found])
    else:
        for it in found:
            mark = " (implementation-defined)" if it.implementation_defined else ""
            print_line(f"{it.address:#x}  {it.type}{mark}  {it.why}")

    return 0


def _parse_address(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise CommandFailed(f"{text!r} is not an address: give it as 0xf0000 or 983040") from None


def _explain_all(target: Target, addresses: list[int]) -> list[Explanation]:
    with target.client as client, client.open(target.path("mem"), "r") as handle:
        from memhub.errors import InvalidArgument, NotSupported

        try:
            return [handle.explain(address) for address in addresses]
        except NotSupported as error:
            raise CommandFailed(error.reason, 1) from error
        except InvalidArgument as error:
            raise CommandFailed(error.reason) from error


def _explanation_facts(it: Explanation) -> dict[str, object]:
    return {
        "address": it.address,
        "type": it.type,
        "why": it.why,
        "implementation_defined": it.implementation_defined,
    }
