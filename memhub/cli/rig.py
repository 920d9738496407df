"""Put the requests of an audit log to machines again, and find the fewest that still fail.

replay compares the answers with those of the log: on the machines that the log describes, on
another architecture (answers alone, not slots and registers), or on the machines of a file. shrink
leaves requests out while the log still fails: by a command whose exit code is not 0, or where
another architecture or a file's machines answer otherwise. It writes what is left as a log.

COMMAND is split into words, and no shell runs it: for more, give it a script.

exit codes: 0 no difference, or the log was shrunk; 1 differences, nothing fails, or the log's chain
breaks; 2 the log or the machines cannot be read
"""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memhub.cli.failures import CommandFailed
from memhub.cli.file_output import STANDARD_OUTPUT, check_output, write_output
from memhub.cli.terminal import complain, print_json, print_line, print_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from memhub.core.spec import MachineSpec


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub rig`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    replay = verbs.add_parser("replay", help="what is answered otherwise than in the log")
    replay.add_argument("--arch", help="on machines of this architecture")
    shrink = verbs.add_parser("shrink", help="the fewest requests of the log that still fail")
    shrink.add_argument("--against", metavar="ARCH", help="fail: this architecture differs")
    shrink.add_argument(
        "--check", metavar="COMMAND", help="fail: its exit code is not 0; {} is a log"
    )
    shrink.add_argument(
        "--out", metavar="FILE", help="write a log of what is left; - is standard output"
    )
    for verb in (replay, shrink):
        verb.add_argument("log", metavar="LOG", help="a file or a folder of segments")
        verb.add_argument("--config", metavar="FILE", help="on the machines of a TOML file")
        verb.add_argument("--machine", metavar="NAME", help="only this machine (default: all)")
        verb.add_argument(
            "--unverified", action="store_true", help="do not check the chain of the log"
        )
        verb.add_argument("--json", action="store_true", help="one object")

    chosen = parser.parse_args(arguments)

    from memhub.audit import DamagedLog

    try:
        return _replay(chosen) if chosen.verb == "replay" else _shrink(chosen)
    except DamagedLog as error:
        raise CommandFailed(str(error), 1) from error


def _replay(chosen: argparse.Namespace) -> int:
    from memhub.rig import replay_log
    from memhub.rig.log_replay.steps import NotInLog

    if chosen.arch is not None and chosen.config is not None:
        raise CommandFailed("--arch and --config: one of both says on which machines")

    try:
        done = replay_log(
            chosen.log,
            arch=chosen.arch,
            machine=chosen.machine,
            specs=_machines_of(chosen),
            verified=not chosen.unverified,
        )
    except NotInLog as error:
        raise CommandFailed(str(error)) from error
    except ValueError as error:
        raise CommandFailed(f"the machines cannot be made: {error}") from error

    if chosen.json:
        print_json(done.facts())
    else:
        for difference in done.differences:
            print_line(str(difference))

        for note in done.notes:
            print_line(f"not there: {note}")

        for reason, count in sorted(done.unplayed.items()):
            print_line(f"not put: {reason}: {count}")

        print_line(f"requests={done.steps} differences={len(done.differences)}")

    return int(bool(done.differences))


def _shrink(chosen: argparse.Namespace) -> int:
    if chosen.out is not None:
        check_output(chosen.out, "a log")

    if chosen.json and chosen.out == STANDARD_OUTPUT:
        raise CommandFailed("--json and --out -: one of both has standard output")

    if chosen.out == STANDARD_OUTPUT:
        with tempfile.TemporaryDirectory(prefix="memhub-shrink-") as folder:
            return _shrink_to(chosen, str(Path(folder) / "audit.jsonl"))

    return _shrink_to(chosen, chosen.out)


def _shrink_to(chosen: argparse.Namespace, out: str | None) -> int:
    from memhub.rig import shrink_log
    from memhub.rig.log_replay.shrinking import CheckFailed, NothingFails, command_check
    from memhub.rig.log_replay.steps import NotInLog

    given = [chosen.against, chosen.check, chosen.config]
    if sum(it is not None for it in given) != 1:
        raise CommandFailed("one of --check, --against and --config says what fails")

    check = None if chosen.check is None else command_check(shlex.split(chosen.check))
    try:
        found = shrink_log(
            chosen.log,
            against=chosen.against,
            specs=_machines_of(chosen),
            check=check,
            machine=chosen.machine,
            out=out,
            verified=not chosen.unverified,
        )
    except NothingFails as error:
        print_line(f"memhub: {error}")
        return 1
    except FileExistsError as error:
        raise CommandFailed(f"{error.filename}: {error.strerror}") from error
    except NotInLog as error:
        raise CommandFailed(str(error)) from error
    except CheckFailed as error:
        raise CommandFailed(f"the check cannot be run: {error}") from error

    if chosen.out == STANDARD_OUTPUT and out is not None:
        write_output(STANDARD_OUTPUT, Path(out).read_bytes())
        for line in str(found).splitlines():
            complain(line)
    elif chosen.json:
        print_json(_facts(found))
    else:
        print_text(f"{found}\n")
        if chosen.out is not None:
            print_line(f"written to {chosen.out}")

    return 0


def _facts(found: Any) -> dict[str, Any]:  # noqa: ANN401 - memhub.rig is not imported here
    steps = [{"seq": it.seq, "request": str(it), "record": dict(it.row)} for it in found.steps]

    return {"steps": steps, "of": found.of, "runs": found.runs}


def _machines_of(chosen: argparse.Namespace) -> Mapping[str, MachineSpec] | None:
    if chosen.config is None:
        return None

    from memhub.config import load_config

    return load_config(chosen.config).machines
