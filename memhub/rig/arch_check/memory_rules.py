"""What a driver remembers of questions to other machines, and the questions that it remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.rig.arch_check.finding import Fault
from memhub.rig.arch_check.running import run_steps
from memhub.rig.arch_check.shapes import make_removal
from memhub.rig.arch_check.untouched import UntouchedProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.rig.arch_check.asking import Request
    from memhub.rig.arch_check.ground import Ground
    from memhub.rig.arch_check.running import Outcome
    from memhub.rig.arch_check.shapes import Shapes

#: Sequences that are asked a second time at the end, to find what drivers share.
_REPEATED: Final = 6
#: Sequences that are compared, and those that may be the reason, at most.
_COMPARED_MOST: Final = 80
_REASONS_MOST: Final = 80
#: Of those that are asked for it: single requests, and ranges that are set and removed.
_SINGLES_MOST: Final = 60
_REMOVED_MOST: Final = 15


def order_sequences(shapes: Shapes) -> list[list[Request]]:
    """Ranges that are set, removed, and set in another order."""
    spans = shapes.row(3)
    gone = [make_removal(it) for it in spans]
    found = []
    for attribute in dict.fromkeys((shapes.attributes[0], shapes.attributes[-1])):
        first = [shapes.make(it, attribute) for it in spans]
        found.append([*first, *gone, *first[::-1], *gone])

    return found


def memory_sequences(shapes: Shapes) -> list[list[Request]]:
    """What is asked here and in a process that was asked nothing: ranges beside each other."""
    base, length = shapes.ranges[0]
    spans = [(base + it * length, count * length) for count in (1, 2, 3) for it in range(4)]
    singles = [[shapes.make(it, a)] for it in spans for a in shapes.attributes]
    removed = [[it[0], make_removal((it[0].desc.mr_base, it[0].desc.mr_len))] for it in singles]

    return [*singles[:_SINGLES_MOST], *removed[:_REMOVED_MOST], *order_sequences(shapes)]


def check_memory_of_machines(
    ground: Ground, sequences: Sequence[list[Request]], outcomes: Sequence[Outcome]
) -> Iterator[tuple[list[Request], Fault]]:
    """Ask the first sequences again, of new drivers: what has changed, drivers share."""
    for requests, before in zip(sequences[:_REPEATED], outcomes[:_REPEATED], strict=True):
        again = run_steps(ground, requests, deep=False)
        for request, one, other in zip(requests, before.answers, again.answers, strict=False):
            if not one.same_as(other):
                words = (
                    f"{request}: a new machine answers ({other.in_words()}) after other "
                    f"machines were used; at first, one answered ({one.in_words()})"
                )
                yield requests, Fault("remembers", request.op, words)
                return


def check_memory_of_process(
    ground: Ground, untouched: UntouchedProcess, sequences: Sequence[list[Request]]
) -> Iterator[tuple[list[Request], Fault]]:
    """Compare answers with those of a process that was asked nothing else.

    Args:
        ground: the machine.
        untouched: the process.
        sequences: what was asked here, the shortest first.
    """
    chosen = list(sequences[:_COMPARED_MOST])
    begun = {tuple(it[:count]) for it in chosen for count in range(1, len(it))}
    compared = [it for it in chosen if tuple(it) not in begun]  # a longer one begins with those
    alone = untouched.answers(ground, [[it] for it in compared])
    for requests, there in zip(compared, alone, strict=False):
        here = [it.in_words() for it in run_steps(ground, requests, deep=False).answers]
        at = _first_difference(there, here)
        if there is None or at is None:
            continue

        shown, words = requests[: at + 1], f"({there[at]}), and this one ({here[at]})"
        if untouched.own_interpreter and _differ_by_themselves(ground, untouched, compared, alone):
            said = f"{shown[-1]}: another process answers {words}"
            yield shown, Fault("not-deterministic", shown[-1].op, said)
            return

        reason = _find_reason(ground, untouched, chosen, shown)
        asked = "this one after other machines were used"
        if reason is not None:
            asked = "after " + ", ".join(map(str, reason[0])) + " on another machine"
            words = f"({there[at]}), and then ({reason[1]})"

        said = f"{shown[-1]}: a driver that was asked nothing before answers {words}: {asked}"
        yield shown, Fault("remembers", shown[-1].op, said)
        return


def _differ_by_themselves(
    ground: Ground,
    untouched: UntouchedProcess,
    sequences: Sequence[list[Request]],
    alone: Sequence[list[str] | None],
) -> bool:
    """Whether yet another interpreter, that was asked nothing either, answers otherwise."""
    with UntouchedProcess(untouched.arch) as other:
        again = other.answers(ground, [[it] for it in sequences])

    return len(again) == len(alone) and again != list(alone)


def _find_reason(
    ground: Ground,
    untouched: UntouchedProcess,
    sequences: Sequence[list[Request]],
    shown: list[Request],
) -> tuple[list[Request], str] | None:
    """A sequence after which the answer is another one, and that answer."""
    reasons = list(sequences[:_REASONS_MOST])
    found = untouched.answers(ground, [[shown], *([it, shown] for it in reasons)])
    if not found or not found[0]:
        return None

    alone = found[0][-1]
    for reason, there in zip(reasons, found[1:], strict=False):
        if there and len(there) == len(shown) and there[-1] != alone:
            return reason, there[-1]

    return None


def _first_difference(one: list[str] | None, other: list[str]) -> int | None:
    pairs = enumerate(zip(one or (), other, strict=False))

    return next((at for at, (a, b) in pairs if a != b), None)
