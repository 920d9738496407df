"""The tables of `memhub top` fit every terminal, and no number in them is cut."""

from __future__ import annotations

from typing import Any

import pytest

from memhub.cli.top_tables import Sheet
from memhub.cli.top_view import sheets, text
from memhub.folding import cells


def report_of(name: str) -> dict[str, Any]:
    """Of two machines with a claim, a commit, a wait, a failure and a sickness, of long figures."""
    who = {"process": name, "process_id": 1, "pid": 4194304, "base": 1 << 45, "length": 1 << 40}
    held = {**who, "slots": [*range(16, 24), 40], "seconds": 99.9}
    claim = {**held, "owners": [name], "fence": 12345, "lease": 31.5}
    counts = {"arch": "i386", "kernel": "linux-6.18", "slots": 98, "used": 89, "generation": 12345}
    row = {
        "machine": name,
        **counts,
        "processes": [{"process": name, "process_id": 1, "handles": 123}],
        "claims": [claim],
        "commits": [held],
        "waits": [{**who, "op": "claim", "seconds": 6000, "waits_for": [1]}],
        "failed": {"failures": 100, "seconds": 77.7, "reason": "of " + name},
        "sick": {"suspended": None, "cpus": [*range(10, 40)], "sicknesses": [name]},
    }

    return {"machines": [row, {**row, "machine": "b"}]}


@pytest.mark.parametrize("name", ["a", "c" * 44, "名" * 30])
@pytest.mark.parametrize("columns", [24, 40, 60, 80, 100, 200])
def test_a_view_fits_the_terminal_with_every_number_whole(name: str, columns: int) -> None:
    lines = text("", list(sheets(report_of(name))), columns).splitlines()
    words = [word.rstrip(",") for line in lines for word in line.replace(",", ", ").split()]

    assert max(map(cells, lines)) <= columns
    for number in ("89/98", "12345", "4194304", "16-23", "40", "99.9", "31.5", "100", "77.7"):
        assert words.count(number) >= 2, number

    assert words.count("123") == 0
    assert words.count("(123") == 2
    assert set(map(str, range(10, 40))) <= set(words)
    span = "0x200000000000/0x10000000000"
    assert (words.count(span) == 6) == (columns > 24)


def test_names_are_folded_before_rows_become_lists() -> None:
    """The names have 30 columns less than they would take."""
    table = Sheet("", ("MACHINE", "SLOTS"), [("a" * 40, "89/98"), ("b", "0/98")])

    assert text("", [table], 16).splitlines()[2:] == [
        "MACHINE    SLOTS", *["a" * 9 + "  89/98", *["a" * 9] * 3, "a" * 4, "b          0/98"]
    ]  # fmt: skip
    assert text("", [table._replace(rows=[("b", "0/98")])], 13).splitlines()[2:] == [
        "MACHINE b", "  SLOTS 0/98"
    ]  # fmt: skip
