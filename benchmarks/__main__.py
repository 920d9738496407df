"""`python -m benchmarks [NAME…] [--peers] [--compare FILE] [--json FILE] [--page FILE]`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from benchmarks.page import figures, put_figures
from benchmarks.questions import QUESTIONS, ask_alone
from benchmarks.report import document, machine, read_rows, table, worse

if TYPE_CHECKING:
    from benchmarks.harness import Row


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(QUESTIONS))
    parser.add_argument("--peers", action="store_true", help="peers too (the extra `bench`)")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="an earlier run's JSON")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="put the table there, of all questions"
    )
    parser.add_argument(
        "--quick", action="store_true", help="run each once, without usable figures"
    )
    given = parser.parse_args()
    for name in given.names:
        if name not in QUESTIONS:
            parser.error(f"there is no question {name!r}; there are {', '.join(QUESTIONS)}")

    if given.page and (given.names or given.quick):
        parser.error("--page needs figures of every question: give no NAME and no --quick")

    return given


def main() -> int:
    """Ask, print the table, write and compare."""
    given = _arguments()
    rounds, chunk = (1, 0.0) if given.quick else (15, 0.02)
    rows: list[Row] = []
    for name in given.names or QUESTIONS:
        begin = time.monotonic()
        rows += ask_alone(name, rounds, chunk, given.peers)
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)

    print(orjson.dumps(machine()).decode())
    print(table(rows))
    if given.json:
        given.json.write_bytes(
            orjson.dumps(document(rows), default=tuple, option=orjson.OPT_INDENT_2)
        )

    if given.page:
        text = put_figures(given.page.read_text("utf-8"), figures(rows, machine()))
        given.page.write_text(text, "utf-8")

    if given.compare:
        found = list(worse(rows, read_rows(orjson.loads(given.compare.read_bytes()))))
        print("\n".join(["worse beyond the spread:", *found]) if found else "nothing got worse")

        return 1 if found else 0

    return 0


if __name__ == "__main__":
    sys.exit(main())
