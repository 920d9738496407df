"""What a comparison came to: answers, effective maps, and where kernels part."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.compare.script import Request

#: Stretches of a map that are compared and shown, at most.
STRETCHES_MAX = 4096


class Stretch(NamedTuple):
    """One stretch of an effective map.

    Attributes:
        base: first byte.
        end: one past the last byte.
        type: `UC`, `WC`, `WT`, `WP`, `WB`, `undefined` or `reserved`.
    """

    base: int
    end: int
    type: str


#: The effective types of a space from address 0, neighbours of one type merged.
Map = tuple[Stretch, ...]


class Answer(NamedTuple):
    """What one kernel answered to one request.

    Attributes:
        errno: the name of the error; `-` where it cannot be asked, `panic` where it died; None for
            success.
        said: why, in its words.
        types: the effective map after it.
    """

    errno: str | None
    said: str
    types: Map

    @property
    def word(self) -> str:
        """The answer in a word."""
        return self.errno or "ok"


class Parting(NamedTuple):
    """Where a kernel first parts from the first one.

    One that starts with another map parts from the start, and again at the first other answer.

    Attributes:
        kernel: its name.
        step: number of the request, from 1; 0 is the start.
        word: what it answered there.
        other: what the first kernel answered.
        difference: the first address whose type is another, and both types; None for none.
    """

    kernel: str
    step: int
    word: str
    other: str
    difference: tuple[int, str, str] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """All of it.

    Attributes:
        machine: the machine in words.
        kernels: the names, in the order in which they were given.
        requests: the requests.
        starts: the map of each kernel before the first request.
        answers: for each kernel, its answer to each request.
    """

    machine: str
    kernels: tuple[str, ...]
    requests: tuple[Request, ...]
    starts: tuple[Map, ...]
    answers: tuple[tuple[Answer, ...], ...]

    def maps(self, step: int) -> list[Map]:
        """The map of each kernel after a request; step 0 is the start."""
        if not step:
            return list(self.starts)

        return [it[step - 1].types for it in self.answers]

    def letters(self, step: int) -> list[str]:
        """A letter for each kernel: those with equal maps after a request have the same.

        Of maps of different widths, what both have counts.
        """
        groups: list[list[Map]] = []
        found = []
        for types in self.maps(step):
            number = next(
                (at for at, group in enumerate(groups) if all(_agree(types, it) for it in group)),
                len(groups),
            )
            if number == len(groups):
                groups.append([])

            if types not in groups[number]:
                groups[number].append(types)

            found.append(_letter(number))

        return found

    @property
    def part(self) -> bool:
        """Whether any kernel parts from the first."""
        return bool(self.partings())

    def partings(self) -> list[Parting]:
        """Where each kernel that does so first answers otherwise, or has another map."""
        return [it for number in range(1, len(self.kernels)) for it in self._partings_of(number)]

    def _partings_of(self, number: int) -> list[Parting]:
        name = self.kernels[number]
        start = _difference(self.starts[number], self.starts[0])
        found = [] if start is None else [Parting(name, 0, "ok", "ok", start)]
        pairs = zip(self.answers[number], self.answers[0], strict=True)
        for step, (one, other) in enumerate(pairs, 1):
            difference = None if found else _difference(one.types, other.types)
            if one.word != other.word or difference is not None:
                return [*found, Parting(name, step, one.word, other.word, difference)]

        return found

    def facts(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "machine": self.machine,
            "kernels": list(self.kernels),
            "start": self._state_facts(0),
            "steps": [
                {
                    "step": step,
                    "source": request.source,
                    "request": request.text,
                    "answers": {
                        name: {"errno": told[step - 1].errno, "said": told[step - 1].said}
                        for name, told in zip(self.kernels, self.answers, strict=True)
                    },
                    **self._state_facts(step),
                }
                for step, request in enumerate(self.requests, 1)
            ],
            "partings": [
                {
                    "kernel": it.kernel,
                    "from": self.kernels[0],
                    "step": it.step,
                    "answer": it.word,
                    "other": it.other,
                    "address": None if it.difference is None else it.difference[0],
                    "types": None if it.difference is None else list(it.difference[1:]),
                }
                for it in self.partings()
            ],
        }

    def _state_facts(self, step: int) -> dict[str, Any]:
        letters, maps = self.letters(step), self.maps(step)

        return {
            "same_map": dict(zip(self.kernels, letters, strict=True)),
            "maps": {
                name: [list(it) for it in types]
                for name, types in zip(self.kernels, maps, strict=True)
            },
        }


def _letter(number: int) -> str:
    """`a` to `z`, then `aa`, `ab` and so on."""
    high, low = divmod(number, len(ascii_lowercase))

    return (_letter(high - 1) if high else "") + ascii_lowercase[low]


def _clipped(types: Map, end: int) -> Map:
    return tuple(it._replace(end=min(it.end, end)) for it in types if it.base < end)


def _agree(one: Map, other: Map) -> bool:
    """Whether two maps are equal where both have addresses."""
    end = min(one[-1].end, other[-1].end)

    return _clipped(one, end) == _clipped(other, end)


def _difference(one: Map, other: Map) -> tuple[int, str, str] | None:
    """The first address that has two types, and both; beyond the smaller space none counts."""
    end = min(one[-1].end, other[-1].end)
    borders = sorted({it.base for it in (*one, *other) if it.base < end})
    for at in borders:
        both = _type_at(one, at), _type_at(other, at)
        if both[0] != both[1]:
            return at, *both

    return None


def _type_at(types: Sequence[Stretch], address: int) -> str:
    return types[bisect_right(types, address, key=lambda it: it.base) - 1].type
