"""The log format for lnav: it agrees with the schema, and lnav reads logs with it."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from audit.conftest import event
from memhub.audit import AuditLog, read_records
from memhub.audit.fields import FIELDS
from memhub.cli import main
from memhub.cli.demo.run import run_demo
from memhub.shipping.lnav import FORMAT, lnav_format

if TYPE_CHECKING:
    from pathlib import Path


needs_lnav = pytest.mark.skipif(shutil.which("lnav") is None, reason="lnav is not installed")


def parts() -> dict[str, Any]:
    found: dict[str, Any] = lnav_format()[FORMAT]

    return found


def test_every_field_is_a_column_whose_name_sql_takes() -> None:
    values = parts()["value"]
    columns = ", ".join(values)
    sqlite3.connect(":memory:").execute(f"CREATE TABLE t ({columns})")

    assert {*FIELDS} - {*values} == {"commit"}
    assert {*values} - {*FIELDS} == set()
    with pytest.raises(sqlite3.OperationalError):
        sqlite3.connect(":memory:").execute("CREATE TABLE t (commit)")


def test_what_the_format_refers_to_is_a_field() -> None:
    found = parts()
    named = [found[key] for key in ("timestamp-field", "level-field", "opid-field")]
    shown = [it["field"] for it in found["line-format"] if isinstance(it, dict)]

    assert {*named, *shown} - {"__timestamp__"} <= {*FIELDS}
    assert FIELDS[found["timestamp-field"]].type == "ns"
    assert found["timestamp-divisor"] == 10**9
    assert re.fullmatch(found["level"]["warning"], "EBUSY")


def test_the_command_prints_the_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "lnav-format"]) == 0

    assert json.loads(capsys.readouterr().out) == lnav_format()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose lnav has the format."""
    (tmp_path / "f").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "memhub.json").write_text(json.dumps(lnav_format()))
    subprocess.run(["lnav", "-i", tmp_path / "memhub.json"], check=True, capture_output=True)

    return tmp_path


def ask(log: Path, query: str) -> list[dict[str, Any]]:
    words = ["lnav", "-n", "-c", f";{query}", "-c", ":write-json-to -", str(log)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")

    return found


def shown(value: object) -> str | None:
    return None if value is None else str(value)


@needs_lnav
@pytest.mark.campaign
def test_lnav_reads_each_record_with_its_time_level_and_fields(home: Path) -> None:
    run_demo(3, home / "a.jsonl")
    records = list(read_records(home / "a.jsonl"))
    query = "select seq, event, log_level, log_time, machine, errno, reason, base from memhub_audit"
    found = ask(home / "a.jsonl", query)

    assert len(found) == len(records)
    for row, record in zip(found, records, strict=True):
        # behind a null lnav writes the numbers of a column as text
        for name in ("seq", "event", "machine", "errno", "reason", "base"):
            assert shown(row[name]) == shown(record.get(name))
        assert row["log_level"] == ("warning" if record.get("errno") else "info")
        assert row["log_time"].startswith("2026-01-01 00:00:00.")


@needs_lnav
@pytest.mark.campaign
def test_lnav_does_not_read_an_address_beyond_63_bits_unless_it_is_text(home: Path) -> None:
    path, text = home / "a.jsonl", home / "text.jsonl"
    with AuditLog.open(path) as log:
        for base in (0xFFFF_FFFF_8000_0000, 0xE000_0000, 0xFFFF_FFFF_FFFF_F000):
            log.record({**event(1), "wall_ns": time.time_ns(), "base": base})

    query = "select seq from memhub_audit where event = 'request.get'"
    assert [shown(it["seq"]) for it in ask(path, query) if it["seq"]] == ["3"]
    script = r"""sed -E 's/([:,[])([0-9]{20})/\1"\2"/g'"""
    text.write_text(subprocess.check_output(f"{script} {path}", shell=True, text=True))
    assert [shown(it["seq"]) for it in ask(text, query)] == ["2", "3", "4"]
