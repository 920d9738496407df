"""`memhub top` tells how many hazards there are, and which is the newest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub import MachineSpec
from memhub.cli.top_strips import health_marks, strip_lines
from memhub.core.caches.hazards import HAZARDS
from memhub.service.blocking import BlockingClient
from service.served import served

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run


def test_hazards_are_counted_by_level_and_the_newest_is_named() -> None:
    met = [("unordered-stores", "error"), ("protected-write", "warning")]
    rows = [{"name": name, "level": level} for name, level in (*met, *met[:1])]
    row = {"machine": "m", "hazards": rows}

    assert list(health_marks({"machine": "m", "hazards": []}, [])) == []
    assert list(health_marks(row, [])) == [
        ("2 hazard errors, 1 hazard warning, newest unordered-stores", "red")
    ]
    assert list(health_marks({**row, "hazards": rows[1:2]}, [])) == [
        ("1 hazard warning, newest protected-write", "yellow")
    ]


def test_the_name_of_the_newest_is_whole_however_narrow_the_terminal_is() -> None:
    rows = [{"name": it, "level": HAZARDS[it].level} for it in ("protected-write", *HAZARDS)]
    for columns in (24, 40, 50, 60, 70, 80):
        shown = list(strip_lines([{"machine": "pc", "hazards": rows}], [], [], columns))
        lines = ["".join(text for text, _ in line) for line in shown]
        assert max(map(len, lines)) <= columns
        words = " ".join(line.strip() for line in lines)
        assert words.endswith(f"hazard warnings, newest {rows[-1]['name']}")


def test_a_service_tells_of_a_buffer_that_no_fence_has_drained(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "lab.sock"
    spec = MachineSpec(name="pc", arch="amd64", coherent=False, bus="blind")
    with served(path, spec), BlockingClient(path) as client, client.open("/dev/mem", "r+") as mem:
        mem.set_range(0x400000, 1 << 20, "write-combine")
        mem.pwrite(b"point", 0x400000)
        assert (
            "1 hazard warning, newest undrained-buffers"
            in run("top", "--once", "--connect", str(path)).out
        )
        mem.fence()
        assert "hazard" not in run("top", "--once", "--connect", str(path)).out
