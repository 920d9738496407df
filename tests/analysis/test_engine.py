"""What is compiled is kept, and gives of each log what is in that log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis
import pytest

from analysis.logs import EMPTY, WC, attach, write_log
from memhub.analysis import Analysis
from memhub.analysis.views import NAMES

if TYPE_CHECKING:
    from pathlib import Path


def test_a_question_is_compiled_once_for_all_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, rows in (("none", [EMPTY]), ("one", [(0x1000, 0x1000, WC, "a")])):
        write_log(tmp_path / name, [attach(0, rows)], name)

    with Analysis([tmp_path / "none"]) as log:
        assert log.occupancy().to_pylist()[0]["most"] == 0

    monkeypatch.setattr(ibis, "to_sql", None)
    with Analysis([tmp_path / "one"]) as log:
        assert log.occupancy().to_pylist()[0]["most"] == 1
        with pytest.raises(TypeError):  # what was not asked before has to be compiled
            log.occupancy().expr.filter(ibis.literal(True)).limit(123).to_pyarrow()


def test_a_limit_of_ibis_is_kept_to(asked: Analysis) -> None:
    records = asked.view("records").expr
    assert records.to_pyarrow(limit=3).num_rows == 3
    assert records.to_pyarrow().num_rows > 3


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_for_a_view_has_the_columns_that_the_engine_gives_it(
    asked: Analysis, name: str
) -> None:
    view = asked.view(name).expr
    assert view.schema() == view.get_backend().get_schema(name)
