"""`python -m benchmarks [NAME…] [OPTION…]`: ask questions, show the rows, keep and compare them."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks import history
from benchmarks.page import write_page
from benchmarks.questions import QUESTIONS, ask_alone
from benchmarks.report import document, merged, read_rows, table, worse

if TYPE_CHECKING:
    from benchmarks.harness import Row


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(QUESTIONS))
    parser.add_argument("--peers", action="store_true", help="peers too (the extra `bench`)")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="an earlier run's JSON")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    parser.add_argument(
        "--rows", type=Path, nargs="+", metavar="FILE", help="take the rows of runs; ask nothing"
    )
    parser.add_argument(
        "--keep", metavar="VERSION", help="keep the rows of all questions as those of a version"
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="put the figures of all questions there"
    )
    parser.add_argument(
        "--quick", action="store_true", help="run each once, without usable figures"
    )
    given = parser.parse_args()
    for name in given.names:
        if name not in QUESTIONS:
            parser.error(f"there is no question {name!r}; there are {', '.join(QUESTIONS)}")

    if (given.page or given.keep) and (given.names or given.quick):
        parser.error("--page and --keep need figures of every question: no NAME and no --quick")

    if given.rows and (given.names or given.quick or given.peers):
        parser.error("--rows asks nothing: give no NAME, no --quick and no --peers")

    if given.keep:
        try:
            history.checked_name(given.keep)
        except ValueError as error:
            parser.error(f"--keep {error}")

    return given


def _asked(given: argparse.Namespace) -> list[Row]:
    """Ask, and tell how long that took."""
    rounds, chunk = (1, 0.0) if given.quick else (15, 0.02)
    rows: list[Row] = []
    for name in given.names or QUESTIONS:
        begin = time.monotonic()
        rows += ask_alone(name, rounds, chunk, given.peers)
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)

    return rows


def _run(given: argparse.Namespace) -> dict[str, Any]:
    """A run that is given, or a new one, as `report.document` says it."""
    if not given.rows:
        return document(_asked(given))

    return merged([orjson.loads(path.read_bytes()) for path in given.rows])


def main() -> int:
    """Ask, print the table, write and compare."""
    given = _arguments()
    run = _run(given)
    rows = read_rows(run)
    print(orjson.dumps(run["machine"]).decode())
    print(table(rows))
    if given.json:
        given.json.write_bytes(orjson.dumps(run, default=tuple, option=orjson.OPT_INDENT_2))

    if given.keep:
        history.keep(given.keep, rows, run["machine"])

    if given.page:
        write_page(given.page, rows, run["machine"], history.versions(), given.keep)

    if given.compare:
        found = list(worse(rows, read_rows(orjson.loads(given.compare.read_bytes()))))
        print("\n".join(["worse beyond the spread:", *found]) if found else "nothing got worse")

        return 1 if found else 0

    return 0


if __name__ == "__main__":
    sys.exit(main())
