"""Runs of pages answer as a mode for each page would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memhub_linux.pat.page_runs import PageRuns, changed_runs

pages = st.integers(0, 40)
changes = st.lists(st.tuples(pages, pages, st.sampled_from(["WB", "WC", "UC-"])), max_size=12)


@given(changes, changes)
def test_runs_of_pages_are_as_a_mode_for_each_page(
    first: list[tuple[int, int, str]], more: list[tuple[int, int, str]]
) -> None:
    runs, model = PageRuns(), dict.fromkeys(range(41), "WB")

    def change(steps: list[tuple[int, int, str]]) -> None:
        for start, end, mode in steps:
            runs.set(start, end, mode)
            model.update(dict.fromkeys(range(start, end), mode))

    change(first)
    before, then = PageRuns(runs), dict(model)
    change(more)
    assert [runs.mode(it) for it in range(41)] == list(model.values())
    assert [before.mode(it) for it in range(41)] == list(then.values())
    for start, end, _ in more:
        unusual = (model[it] for it in range(start, end) if model[it] != "WB")
        assert runs.first_unusual(start, end) == next(unusual, None)

    changed = {page: it.mode for it in changed_runs(before, runs) for page in range(*it[:2])}
    assert changed == {it: mode for it, mode in model.items() if then[it] != mode}
