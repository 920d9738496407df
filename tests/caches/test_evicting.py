"""Which lines an access evicts, and how often it looks at what it has touched."""

from __future__ import annotations

from random import Random

import pytest

from memhub.core.caches.evicting import Victims
from memhub.core.caches.lines import Line, clean_line

LINE = clean_line(bytes(16), 6, None)


class Looked(dict[int, Line | None]):
    """What an access has changed, which counts how often it is looked at."""

    times = 0

    def __contains__(self, number: object) -> bool:
        self.times += 1

        return super().__contains__(number)

    def get(self, number: int, default: Line | None = None) -> Line | None:  # type: ignore[override]
        self.times += 1

        return super().get(number, default)


def evict(
    victims: Victims, held: set[int], changed: dict[int, Line | None], count: int, random: Random
) -> None:
    """Evict lines, as an access does."""
    first = random.randrange(len(held))
    for number in victims.choose(first, count, random.randrange):
        if number in held:
            changed[number] = None
        else:
            del changed[number]


def _draw_nothing(below: int) -> int:
    raise AssertionError(f"drew below {below} where a line is left that was not touched")


@pytest.mark.parametrize("seed", range(40))
def test_victims_are_the_next_lines_that_the_access_has_not_touched(seed: int) -> None:
    """From the first on, around the end, one after the other."""
    random = Random(seed)
    numbers = sorted(random.sample(range(200), 40))
    changed: dict[int, Line | None] = {}
    victims = Victims(numbers, changed)
    while len(changed) < len(numbers):
        changed[random.choice(numbers)] = LINE
        untouched = [it for it in numbers if it not in changed]
        count = random.randint(0, min(5, len(untouched)))
        first = random.randrange(len(numbers))
        found = victims.choose(first, count, _draw_nothing)
        later = [it for it in untouched if it >= numbers[first]]
        earlier = [it for it in untouched if it < numbers[first]]
        assert found == sorted((later + earlier)[:count])
        changed.update(dict.fromkeys(found))


@pytest.mark.parametrize("seed", range(40))
def test_where_all_lines_are_touched_victims_are_lines_that_are_there(seed: int) -> None:
    random = Random(seed)
    size, held = 16, set(range(8))
    changed: dict[int, Line | None] = dict.fromkeys(range(size), LINE)
    victims = Victims(sorted(held), changed)
    for new in range(100, 200, 4):
        if random.random() < 0.3:  # lines that something else than an eviction takes away
            gone = random.choice([it for it, line in changed.items() if line is not None])
            changed.update({gone: None, 2 * new: LINE})

        before = {it for it, line in changed.items() if line is not None}
        found = victims.choose(random.randrange(len(held)), 4, random.randrange)
        assert len(set(found)) == 4
        assert set(found) <= before
        assert found == sorted(found)
        changed.update(dict.fromkeys(found))
        changed.update(dict.fromkeys(range(new, new + 4), LINE))


def test_a_cache_of_one_line_evicts_it_again_and_again() -> None:
    changed: dict[int, Line | None] = {}
    random, victims = Random(1), Victims([3], changed)
    for number in range(10, 20):
        evict(victims, {3}, changed, 1, random)
        changed[number] = LINE

    assert changed == {3: None, 19: LINE}


def test_an_access_looks_at_each_line_a_few_times_however_often_it_evicts() -> None:
    count, page = 1 << 12, 64
    held, changed = set(range(count)), Looked()
    random = Random(7)
    victims = Victims(sorted(held), changed)
    evictions = range(0, 4 * count, page)
    for first in evictions:
        evict(victims, held, changed, page, random)
        changed.update(dict.fromkeys(range(count + first, count + first + page), LINE))

    assert changed.times < 4 * 4 * count
