"""Random walks by their seeds, and how one that fails is made short."""

from __future__ import annotations

from random import Random

from ownership.walk import Action, Walk

#: One step: its kind, and a seed for its arguments.
Step = tuple[int, int]

ACTIONS: tuple[Action, ...] = (
    *[Walk.open] * 3,
    *[Walk.close] * 3,
    *[Walk.update] * 10,
    *[Walk.remove] * 5,
    *[Walk.claim] * 5,
    *[Walk.wait_free] * 1,
    *[Walk.release] * 3,
    *[Walk.renew] * 1,
    *[Walk.break_claim] * 1,
    *[Walk.advance] * 2,
    *[Walk.finish] * 4,
    *[Walk.forsake] * 1,
)


def steps(seed: int, count: int) -> list[Step]:
    """A random walk, by its seed."""
    rng = Random(seed)

    return [(rng.randrange(len(ACTIONS)), rng.getrandbits(32)) for _ in range(count)]


def run(arch: str, walk: list[Step], *, latency: bool) -> dict[str, int]:
    """Take a walk; how often each answer was given."""
    machine = Walk(arch, latency=latency)
    for step in walk:
        take(machine, step)

    return machine.answers


def take(machine: Walk, step: Step) -> None:
    """Take one step of a walk."""
    number, seed = step
    machine.do(ACTIONS[number % len(ACTIONS)], Random(seed))


def failure(arch: str, walk: list[Step], *, latency: bool) -> str | None:
    """What a walk shows to be wrong, or None."""
    try:
        run(arch, walk, latency=latency)
    except Exception as error:  # noqa: BLE001 - whatever ends a walk is what was looked for
        return f"{type(error).__name__}: {error}"

    return None


def shortest(arch: str, walk: list[Step], *, latency: bool) -> list[Step]:
    """A short walk that fails too: pieces are left out as long as it does."""
    size = len(walk) // 2
    while size:
        at = 0
        while at < len(walk):
            less = walk[:at] + walk[at + size :]
            if failure(arch, less, latency=latency) is not None:
                walk = less
            else:
                at += size

        size //= 2

    return walk
