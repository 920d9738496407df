"""Answers to short sequences of requests, each asked once, without any other rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memhub.rig.arch_check.asking import Answer, Request, ask_driver

if TYPE_CHECKING:
    from memhub.core.drivers.driver import RangeState
    from memhub.rig.arch_check.ground import Ground


@dataclass(slots=True)
class _Place:
    """Where a sequence has led to, and what was asked from there."""

    answer: Answer | None
    state: RangeState
    later: dict[Request, _Place] = field(default_factory=dict)


class KnownAnswers:
    """What a driver answers to sequences of requests, from a new machine on.

    What begins two sequences is asked once, and one driver is asked all of it: that a driver
    remembers nothing is looked at elsewhere.

    Args:
        ground: the machine.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.driver = ground.new_driver()
        assert ground.start is not None
        self._start = _Place(None, ground.start)

    def each(self, *requests: Request) -> list[Answer]:
        """The answers up to one that is none."""
        found: list[Answer] = []
        place = self._start
        for request in requests:
            later = place.later.get(request)
            if later is None:
                answer = ask_driver(self._ground, self.driver, place.state, request)
                later = _Place(answer, answer.plan.after if answer.plan else place.state)
                place.later[request] = later

            place = later
            assert place.answer is not None
            found.append(place.answer)
            if place.answer.fault is not None:
                break

        return found

    def last(self, *requests: Request) -> Answer:
        """The answer to the last request, or the first that is none."""
        return self.each(*requests)[-1]

    def is_granted(self, *requests: Request) -> bool:
        """Whether each is."""
        return all(it.plan is not None for it in self.each(*requests))
