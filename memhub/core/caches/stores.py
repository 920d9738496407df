"""Who wrote which bytes of a line or a buffer, and since which record of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memhub.core.caches.lines import Store, mask_of, runs_of
from memhub.core.instant import make_tuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.core.caches.lines import Stores
    from memhub.core.files import Principal


class Run(NamedTuple):
    """A stretch `[low, high)` of the bytes of one writer.

    Attributes:
        low: first byte.
        high: one past the last.
        who: the writer, or None where it was the bus.
        since: the log's record of the first of the stores, or None.
    """

    low: int
    high: int
    who: Principal | None
    since: int | None


def add_store(
    stores: Stores, mask: int, who: Principal | None, order: int, since: int | None
) -> Stores:
    """The stores after one more, in their order.

    What the same writer has stored before keeps its record; what another has stored there is gone.

    Args:
        stores: of which no byte is in two.
        mask: the bytes that are stored.
        who: who stores.
        order: the number of the store.
        since: its record.
    """
    for index, (written, writer, _, first) in enumerate(stores):
        if written == mask and writer is who:  # most often the same bytes are stored again
            new = make_tuple(Store, (mask, who, order, first))
            return (*stores[:index], *stores[index + 1 :], new)

    kept: list[Store] = []
    again: list[Store] = []
    for store in stores:
        shared = store.mask & mask
        if shared != store.mask:
            kept.append(store._replace(mask=store.mask ^ shared) if shared else store)

        if shared and store.since != since and (store.who is who or store.who == who):
            again.append(make_tuple(Store, (shared, who, order, store.since)))

    for store in again:
        mask ^= store.mask

    if mask:
        again.append(make_tuple(Store, (mask, who, order, since)))

    return (*kept, *again)


def drop_bytes(stores: Stores, mask: int) -> Stores:
    """What is left of stores without some bytes."""
    left = ((it, it.mask & ~mask) for it in stores)

    return tuple(
        it if rest == it.mask else make_tuple(Store, (rest, *it[1:])) for it, rest in left if rest
    )


def runs_by_writer(stores: Stores, mask: int) -> list[Run]:
    """The stretches of stored bytes in a mask, each of one writer, in order."""
    if len(stores) == 1:
        _, who, _, since = stores[0]
        return [Run(low, high, who, since) for low, high in runs_of(stores[0].mask & mask)]

    masks: dict[Principal | None, int] = {}
    for store in stores:
        masks[store.who] = masks.get(store.who, 0) | store.mask & mask

    return sorted(
        (
            Run(low, high, who, first_record(stores, mask_of(low, high), who))
            for who, written in masks.items()
            for low, high in runs_of(written)
        ),
        key=lambda it: it.low,
    )


def runs_beside(stores: Stores, mask: int) -> Iterator[Run]:
    """All stretches of a mask, each with a writer of the line: with its bytes, or beside them.

    A byte that nobody stored counts as one of the stored byte before it in its stretch, else of the
    one after it, and where the stretch has none, as one of the oldest store.

    Args:
        stores: of the line; there is one at least.
        mask: the bytes.
    """
    for low, high in runs_of(mask):
        inside = runs_by_writer(stores, mask_of(low, high))
        if not inside:
            who = stores[0].who
            yield Run(low, high, who, first_record(stores, -1, who))
            continue

        ends = [it.low for it in inside[1:]] + [high]
        run = inside[0]._replace(low=low)
        for it, end in zip(inside, ends, strict=True):
            if it.who == run.who:
                run = run._replace(high=end, since=_earlier(run.since, it.since))
            else:
                yield run
                run = it._replace(high=end)

        yield run


def first_record(stores: Sequence[Store], mask: int, who: Principal | None) -> int | None:
    """The first record of what a writer has stored of some bytes, or None."""
    found = [it.since for it in stores if it.mask & mask and it.who == who and it.since is not None]

    return min(found, default=None)


def _earlier(one: int | None, other: int | None) -> int | None:
    return min((it for it in (one, other) if it is not None), default=None)
