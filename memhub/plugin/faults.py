"""What a plugin of fault kinds imports.

A fault kind is an action of fault rules that memhub does not have. A plugin is a module with one
hook, found through the `memhub.faults` entry-point group::

    from memhub.plugin.faults import Alter, FaultKind, hookimpl

    def flip(hit):
        def change(data):
            return bytes([data[0] ^ 1 << hit.options["bit"]]) + data[1:]

        return Alter(change)

    @hookimpl
    def memhub_faults():
        return [
            FaultKind(
                name="acme.flip",
                summary="flips a bit of the first byte",
                operations={"read", "write"},
                options={"bit": 0},
                strike=flip,
            )
        ]

A rule then has `action = "acme.flip"` and `options = { bit = 3 }`. A plugin that does not work is
named and costs the others nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from random import Random

#: pluggy's project name, and the entry-point group.
GROUP: Final = "memhub.faults"

#: Marks the hook itself.
hookspec = pluggy.HookspecMarker(GROUP)
#: Marks the function that gives memhub the fault kinds of a module.
hookimpl = pluggy.HookimplMarker(GROUP)


class FaultHit(NamedTuple):
    """A request that a rule meets.

    Attributes:
        op: the operation: `read`, `write`, `set` and so on.
        machine: the machine's name.
        process: the name of the process that asks.
        base: first byte of what the request names; None where it names nothing.
        length: bytes of that, or None.
        number: which fault of the rule it would be, from 1.
        options: the options of the rule, all of them.
        random: the rule's own generator: one seed gives one sequence.
    """

    op: str
    machine: str
    process: str
    base: int | None
    length: int | None
    number: int
    options: Mapping[str, Any]
    random: Random


class Refuse(NamedTuple):
    """The request changes nothing, and is refused.

    Attributes:
        errno: FreeBSD's name of the error.
        reason: why; the rule is named beside it.
    """

    errno: str = "EIO"
    reason: str = ""


class Delay(NamedTuple):
    """The request takes effect so many seconds later, on the hub's clock."""

    seconds: float


class Drop(NamedTuple):
    """The request changes nothing and is never answered."""


class Short(NamedTuple):
    """A read or write moves at most so many bytes; one of no more passes, and is no fault."""

    moved: int


class Alter(NamedTuple):
    """A read answers, or a write stores, other bytes; as many of them.

    Attributes:
        change: makes them of the bytes that were read, or are to be written.
    """

    change: Callable[[bytes], bytes]


#: What `strike` may answer, beside None.
Effect = Refuse | Delay | Drop | Short | Alter


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One action of fault rules.

    Attributes:
        name: what rules have as `action`: words with dots between them, as `acme.flip`, of which
            the first says whose it is.
        summary: one line about it.
        strike: says what becomes of a request that a rule meets; None lets it pass, and is no
            fault. It does not wait.
        operations: the operations that it can be done to; empty is all.
        options: the options of a rule, with the values of those that are not said. A value that
            is said has the type of that.
        source: the plugin that ships it; memhub fills it in.
    """

    name: str
    summary: str
    strike: Callable[[FaultHit], Effect | None]
    operations: Collection[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = "the caller"


@hookspec
def memhub_faults() -> Iterable[FaultKind]:  # type: ignore[empty-body]
    """Name the fault kinds that a plugin adds.

    Returns:
        kinds; of two plugins that name one kind, neither is used for it.
    """
