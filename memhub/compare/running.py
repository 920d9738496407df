"""Put each request to each kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.compare.kernels import chosen_names, describe_machine
from memhub.compare.outcome import Answer, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memhub.compare.kernels import Asked, Chosen
    from memhub.compare.script import Request
    from memhub.core.spec import MachineSpec


def compare(
    requests: Sequence[Request],
    kernels: Sequence[Chosen],
    spec: MachineSpec,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Put a sequence of requests to several kernels, each on a machine of its own.

    Args:
        requests: the requests.
        kernels: the kernels; where others part from the first is told.
        spec: the machine, whose registers all that have MTRRs start from. An architecture without
            them has its own machine, without ranges.
        progress: is called with the kernels done and those in all.

    Raises:
        DeviceError: the driver of an architecture failed.
        OptionError, ValueError: a kernel does not run on such a machine.
    """
    starts, answers = [], []
    for number, it in enumerate(kernels, 1):
        asked = it.start(spec)
        starts.append(asked.types())
        answers.append(_ask_all(asked, requests))
        if progress is not None:
            progress(number, len(kernels))

    machine = f"{spec.name}: {describe_machine(spec, spec.msrs)}"

    return Outcome(machine, chosen_names(kernels), tuple(requests), tuple(starts), tuple(answers))


def _ask_all(asked: Asked, requests: Sequence[Request]) -> tuple[Answer, ...]:
    found = []
    for it in requests:
        told = asked.ask(it)
        found.append(Answer(told.errno, told.said, asked.types()))

    return tuple(found)
