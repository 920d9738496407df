"""Effective types among about 100 segments: one address, and ten million."""

from __future__ import annotations

import importlib
import importlib.util
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness import Goal, Plan, Row, measure_sync, once, skipped
from memhub.core.effective.typemap import TypeMap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NAMES = ("WB", "UC", "WC", "WT")
_WHOLE = "10 million addresses"


def _ranges(window: int) -> list[tuple[int, int, str, str]]:
    step = window // 100 & ~0xFFF

    return [(n * step, (n + 1) * step, _NAMES[n % 4], "made up") for n in range(100)]


def _one(plan: Plan) -> Row:
    types = TypeMap.from_ranges("WP", _ranges(1 << 36), end=1 << 36)
    bounds = [end for _, end, _, _ in _ranges(1 << 36)]
    names = [name for _, _, name, _ in _ranges(1 << 36)] + ["WP"]
    address = 0x7654321000

    def subject(count: int) -> None:
        at = types.at
        for _ in range(count):
            at(address)

    def anchor(count: int) -> None:
        for _ in range(count):
            names[bisect_right(bounds, address)]

    samples = measure_sync({"memhub": subject, "bisect": anchor}, plan)

    return samples.row("effective type of one address", "memhub", "bisect", Goal(2, 1.3))


def _searching(types: TypeMap, addresses: Any) -> Callable[[], Any]:  # noqa: ANN401
    starts, codes = types.layer()
    bounds = np.array(starts[1:], dtype=np.uint64)
    table = np.array(codes, dtype=np.uint8)

    return lambda: table[np.searchsorted(bounds, addresses, side="right")]


def _many(plan: Plan, bits: int) -> Iterator[Row]:
    count = plan.scaled(10_000_000, 1_000)
    types = TypeMap.from_ranges("WP", _ranges(1 << bits), end=1 << bits)
    rng = np.random.default_rng(1)
    addresses = rng.integers(0, 1 << bits, size=count, dtype=np.uint64)
    cases = {
        "memhub": once(lambda: types.of(addresses)),
        "searchsorted": once(_searching(types, addresses)),
    }
    if bits == 36:
        pages = types.of(np.arange(1 << 24, dtype=np.uint64) << np.uint64(12))
        cases["page table"] = once(lambda: pages[addresses >> np.uint64(12)])

    samples = measure_sync(cases, plan.with_rounds(5))
    column = f"{bits} bits"
    yield samples.row(_WHOLE, "memhub", "searchsorted", Goal(1.2, 1), column=column)
    if bits == 36:
        yield samples.row(_WHOLE, "memhub", "page table", column=column)


def _against_intervaltree(plan: Plan) -> Row:
    if not plan.peers or importlib.util.find_spec("intervaltree") is None:
        return skipped(_WHOLE, "--peers, with intervaltree installed", against="intervaltree")

    intervaltree: Any = importlib.import_module("intervaltree")
    rows = _ranges(1 << 52)
    tree = intervaltree.IntervalTree.from_tuples([row[:3] for row in rows])
    types = TypeMap.from_ranges("WP", rows, end=1 << 52)
    count = plan.scaled(100_000, 100)
    addresses = np.random.default_rng(1).integers(0, 1 << 52, size=count, dtype=np.uint64)
    listed = addresses.tolist()

    def peer() -> None:
        for address in listed:
            next(iter(tree[address]), None)

    samples = measure_sync(
        {"memhub": once(lambda: types.of(addresses)), "intervaltree": once(peer)},
        plan.with_rounds(5),
    )

    return samples.row(_WHOLE, "memhub", "intervaltree", Goal(40, 100), more=True)


def rows(plan: Plan) -> Iterator[Row]:
    """The rows of one address, and of many in a window that a page table fits or not."""
    yield _one(plan)
    yield from _many(plan, 36)
    yield from _many(plan, 52)
    yield _against_intervaltree(plan)
