"""Serving the machines of an audit log, as they were: `memhub audit restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from memhub.cli.audit.selecting import moment
from memhub.cli.failures import CommandFailed
from memhub.cli.keys import add_key_argument, parse_verifier_keys
from memhub.cli.serve import add_serving_arguments, serve_machines
from memhub.cli.start_tables import restore, tables_of
from memhub.cli.terminal import print_line

if TYPE_CHECKING:
    import argparse


def add_restoring_verb(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb that `run_restoring_verb` runs."""
    parser = verbs.add_parser(
        "restore",
        help="serve the machines of a log, as they were",
        description="Serves the machines that the log describes, with the tables and registers "
        "that they had. Open files and claims end, and the bytes of memory are not in a log.",
    )
    parser.add_argument("file", metavar="LOG", help="the log")
    parser.add_argument(
        "--at", metavar="WHEN", help="after this record, or at this time, instead of the end"
    )
    add_key_argument(parser)
    parser.add_argument("--log", metavar="PATH", help="the audit log of what is served from now on")
    add_serving_arguments(parser, "the socket on which clients connect; it is needed")


def run_restoring_verb(chosen: argparse.Namespace) -> int:
    """Run `restore`."""
    from memhub.arches import load_arches
    from memhub.config import HubConfig

    if chosen.socket is None:
        raise CommandFailed("restore needs --socket PATH: where clients are to connect")

    arches = load_arches()
    at = None if chosen.at is None else moment("--at", chosen.at)
    found = restore(chosen.file, at, arches, parse_verifier_keys(chosen.key))
    machines = {name: it.spec for name, it in found.machines.items()}
    config = HubConfig(path=Path(chosen.file), machines=machines, default=next(iter(machines)))
    names = ", ".join(machines)
    print_line(f"memhub: machines as after record {found.seq} of {chosen.file}: {names}")

    return serve_machines(config, arches, chosen, tables_of(found))
