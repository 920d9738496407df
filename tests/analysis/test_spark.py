"""The same questions on a local Spark, with the same answers."""

from __future__ import annotations

import shutil
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from analysis.logs import EMPTY, UC, WC, attach, change, closed, opened, write_log
from analysis.test_tables_of_views import make_history, make_kernel_history
from analysis.watched import Watched, follow
from memhub.analysis import Analysis, make_views, pack
from memhub.analysis.contention import contention
from memhub.analysis.flapping import flapping
from memhub.analysis.hijacks import hijacks
from memhub.analysis.leaks import leaks
from memhub.analysis.manifest import read_manifest
from memhub.analysis.occupancy import of_machines, of_owners, of_processes, over_time
from memhub.analysis.wasted import wasted_slots
from memhub.audit import AuditLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HIGH = (1 << 64) - 0x4000

QUESTIONS = {
    "occupancy by machine": of_machines,
    "occupancy by owner": of_owners,
    "occupancy by process": of_processes,
    "occupancy over time": over_time,
    "contention": contention,
    "leaks": leaks,
    "hijacks": hijacks,
    "flapping": lambda views: flapping(views, least=2),
    "slots": wasted_slots,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed set: a random history, and ranges at the top of the address space."""
    path = tmp_path_factory.mktemp("spark")
    with AuditLog.open(path / "a.jsonl", log_id="random") as log:
        follow(Watched("amd64-mtrr", 5, latency=0.0, log=log), 300)

    make_history(path, "i386", 4, 80)
    make_kernel_history(path, "linux-6.18", 5, 60)
    one, two = ((HIGH + at, 0x1000, WC, "top") for at in (0, 0x1000))
    high = [
        attach(0, [one, two, EMPTY], machine="high"),
        {**opened(0, ("b", 2)), "machine": "high"},
        change(1, ("a", 1), 2, EMPTY, one, machine="high"),
        change(2, ("b", 2), 2, one, (*one[:2], UC, "b"), machine="high"),
        {**closed(3, ("b", 2)), "machine": "high"},
    ]
    write_log(path / "b.jsonl", high, "high")
    pack([path], path / "set")

    return path / "set"


@pytest.fixture(scope="module")
def spark(folder: Path) -> Iterator[Any]:
    """The records of the set on a local Spark, as an Ibis table."""
    pyspark: Any = pytest.importorskip("pyspark.sql")
    if shutil.which("java") is None:
        pytest.skip("no java here")

    ibis: Any = pytest.importorskip("ibis")

    session = (
        pyspark.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    files = [str(folder / it.path) for it in read_manifest(folder).files]
    session.read.option("recursiveFileLookup", "true").parquet(*files).createOrReplaceTempView(
        "records"
    )
    yield ibis.pyspark.connect(session).table("records")
    session.stop()


@pytest.mark.campaign
@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.filterwarnings("ignore")
def test_spark_answers_as_duckdb_does(folder: Path, spark: Any, name: str) -> None:
    ask: Any = QUESTIONS[name]
    with Analysis([folder]) as log:
        due = ask(log.views).to_pyarrow()

    found = ask(make_views(spark)).to_pyarrow()

    assert found.column_names == due.column_names
    assert plain(found.to_pylist()) == plain(due.to_pylist())
    assert due.num_rows > 0
    if "base" in due.column_names:
        assert any((it or 0) >= 1 << 63 for it in due["base"].to_pylist())


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with plain values: Spark takes decimals for unsigned integers, and has zones."""
    return [{name: plain_value(it) for name, it in row.items()} for row in rows]


def plain_value(it: Any) -> Any:
    if isinstance(it, Decimal):
        return int(it)

    return it.replace(tzinfo=None) if isinstance(it, datetime) else it
