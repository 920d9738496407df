"""Names, labels and reasons reach exceptions and terminals as visible escapes alone."""

from __future__ import annotations

import ast
import contextlib
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hostile import HOSTILE, LABEL, NAME, controls
from memhub.abi import RangeDesc, owner_bytes
from memhub.arches import ArchNotInstalled, PluginFailure
from memhub.audit.failure import AuditError
from memhub.cli.terminal import Screen
from memhub.cli.top_view import sheets, text
from memhub.config import ConfigError, ImportRefused
from memhub.config.errors import Problem
from memhub.core.kernel import OptionError
from memhub.errors import DeviceError, RangeBusy, StaleClaim
from memhub.rig import Mismatch, TraceError
from memhub.service.client_errors import lost_connection
from memhub.service.settings import ServiceError
from source_rules import sources

if TYPE_CHECKING:
    from pathlib import Path


# Exceptions


@pytest.mark.parametrize(
    "error",
    [
        DeviceError(HOSTILE),
        StaleClaim(f"fenced: it was broken: {HOSTILE}"),
        RangeBusy(f"slot 0 (owner {HOSTILE})"),
        ConfigError(f"{HOSTILE}.toml", [Problem(HOSTILE, HOSTILE), Problem("", HOSTILE)]),
        Problem(HOSTILE, HOSTILE),
        ImportRefused(HOSTILE),
        OptionError(HOSTILE, HOSTILE),
        ArchNotInstalled(HOSTILE),
        PluginFailure("x", HOSTILE, HOSTILE),
        AuditError(HOSTILE, HOSTILE),
        TraceError(HOSTILE),
        ServiceError(HOSTILE),
        lost_connection(HOSTILE),
        Mismatch(HOSTILE, None, HOSTILE, HOSTILE, HOSTILE),
        RangeDesc(0, 0x1000, 0, owner_bytes(LABEL)),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_message_that_quotes_foreign_text_shows_it_escaped(error: object) -> None:
    assert controls(str(error)) == []
    assert "\\x1b[2J" in str(error)


def test_the_values_behind_a_message_keep_what_was_given() -> None:
    error = DeviceError(HOSTILE)

    assert error.reason == HOSTILE
    assert controls(error.strerror or "") == []
    assert ConfigError("x", [Problem("", HOSTILE)]).problems[0].reason == HOSTILE


# Sinks


def test_a_screen_with_colour_reads_no_markup_and_sends_no_control_of_others() -> None:
    pytest.importorskip("rich")
    read, write = os.pipe()
    with os.fdopen(write, "w", encoding="utf-8") as stream:
        Screen(colour=True, stream=stream).line(HOSTILE, (HOSTILE, "bold"))

    with os.fdopen(read, encoding="utf-8", newline="") as stream:
        shown = stream.read()

    for style in ("\x1b[1m", "\x1b[0m"):
        shown = shown.replace(style, "")

    assert controls(shown) == []
    assert "[bold red]x[/]:warning:" in shown


def test_the_label_of_a_progress_bar_is_no_markup(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    code = (
        "import time\nfrom memhub.cli.terminal import progress\n"
        "with progress('[bold]\\x1b[2J[/nope]') as tell:\n"
        "    tell(1, 2)\n    time.sleep(0.3)\n"
    )
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-c", code], stderr=slave, env=environment, check=False)
    os.close(slave)
    seen = b""
    with contextlib.suppress(OSError):  # the end: nobody has the other side any more
        while piece := os.read(master, 65536):
            seen += piece

    os.close(master)

    assert done.returncode == 0, seen
    assert b"[bold]\\x1b[2J[/nope]" in seen


def test_columns_are_measured_after_escaping() -> None:
    claim = {
        "process": NAME, "process_id": 1, "pid": None, "base": 0, "length": 4096, "slots": [0],
        "owners": [NAME], "fence": 1, "seconds": 1.0, "lease": None,
    }  # fmt: skip
    machine = {
        "machine": "pc", "arch": "amd64", "used": 1, "slots": 4, "generation": 1,
        "processes": [{"process": NAME, "process_id": 1, "pid": None, "handles": 1}],
        "claims": [claim], "commits": [], "waits": [],
    }  # fmt: skip
    shown = text("", list(sheets({"machines": [machine]})))
    head, row = shown.splitlines()[-2:]

    assert controls(shown) == []
    assert row.index("0x0/0x1000") == head.index("RANGE")


def test_commands_write_through_the_one_place() -> None:
    """A `print` or a `write` of text elsewhere would go round it."""
    found = []
    for source in sources("memhub/cli"):
        if source.path == "memhub/cli/terminal.py":
            continue

        for node in source.nodes():
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name == "print" or name.startswith(("sys.stdout.write", "sys.stderr.write")):
                    found.append(f"{source.path}:{node.lineno}: {name}")

    # A hexdump's lines are made of digits and of bytes that are printable ASCII.
    (hexdump,) = found
    assert hexdump.startswith("memhub/cli/hexdump.py")
