"""A lab of six machines, one of each kind, and clients that contend for their ranges.

The clients read, write and program ranges, are refused, wait, time out and crash. The output shows
these events, the tables at the end, a map of the effective memory types, and a summary of the
audit log. Time is simulated: the same seed gives the same run on every event loop.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from memhub.cli.amounts import whole_number

if TYPE_CHECKING:
    import argparse


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub demo`."""
    parser.add_argument(
        "--seed", type=whole_number(0, (1 << 32) - 1), default=1, metavar="N", help="default 1"
    )
    parser.add_argument("--log", metavar="FILE", help="where the audit log goes (a cache folder)")
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--all", action="store_true", help="every event and every range")
    parser.add_argument("--no-color", action="store_true", help="plain text")
    parser.add_argument(
        "--backend", choices=("asyncio", "trio"), default="asyncio", help="the event loop"
    )
    chosen = parser.parse_args(arguments)

    from memhub.cli.backends import check_backend
    from memhub.cli.demo.run import run_demo
    from memhub.cli.demo.show import Page, as_json, show
    from memhub.cli.terminal import Screen, print_json

    check_backend(chosen.backend)
    run = run_demo(chosen.seed, _log_path(chosen.log, chosen.seed), backend=chosen.backend)
    if chosen.json:
        print_json(as_json(run))
    else:
        screen = Screen(colour=False if chosen.no_color else None)
        show(run, screen, Page(_screen_width(), _this_program(), everything=chosen.all))

    return 0 if run.verdict.ok else 1


def _screen_width() -> int:
    """Columns: the terminal's, or 80 for a file or a pipe."""
    return max(shutil.get_terminal_size().columns, 40) if sys.stdout.isatty() else 80


def _this_program() -> str:
    """The command that runs this program: its name is not always on the path."""
    name = sys.argv[0]
    found = shutil.which("memhub")
    if found is not None and Path(name).resolve() == Path(found).resolve():
        return "memhub"

    if Path(name).name == "memhub":
        return shlex.quote(name)

    return f"{shlex.quote(sys.executable)} -m memhub"


def _log_path(given: str | None, seed: int) -> Path:
    """Where the log goes: a new file, in place of the log of an earlier demo."""
    if given is None:
        return _cache_path(seed)

    path = Path(given)
    if path.exists() and path.stat().st_size:
        _check_demo_log(path)
        path.unlink()

    return path


def _cache_path(seed: int) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(home) / "memhub" / f"demo-{seed}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    except OSError:
        import tempfile

        return Path(tempfile.mkdtemp(prefix="memhub-")) / path.name

    return path


def _check_demo_log(path: Path) -> None:
    from memhub.cli.demo.run import LOG_ID
    from memhub.cli.failures import CommandFailed

    with path.open("rb") as file:
        if f'"log_id":"{LOG_ID}"'.encode() not in file.readline(4096):
            raise CommandFailed(f"{path} exists and is not the log of a demo: name another file")
