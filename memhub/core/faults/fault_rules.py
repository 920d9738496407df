"""Fault rules: which requests a rule is for, and what it does to them. Plain values.

`memhub.faults.hub_rules` counts, draws and injects; here is what a rule says.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

from memhub.abi import U64_MAX, Errno
from memhub.arguments import (
    check_keys,
    refuse_truths,
    show_integer,
    take_integer,
    take_names,
    take_seconds,
    take_text,
)
from memhub.core import requests
from memhub.core.caches.requests import Fence, FlushLines
from memhub.core.deciding.explain_many import ExplainMany
from memhub.core.deciding.extract_address import ExtractAddress
from memhub.core.deciding.kernel_requests import CallKernel
from memhub.core.faults.fault_options import is_added, take_options
from memhub.core.files import KERNEL_FILES
from memhub.core.health.sickness import SICK_ACTIONS
from memhub.core.spec_rules import suggest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from memhub.core.files import Caller
    from memhub.core.instant import Instant
    from memhub.errors import DeviceError

Action = Literal["errno", "delay", "drop", "short", "cut", "hang"]

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

#: The operation that each request is, for rules.
OPERATIONS: Final[Mapping[type, str]] = {
    requests.Read: "read",
    requests.Pread: "read",
    requests.Write: "write",
    requests.Pwrite: "write",
    requests.Seek: "seek",
    requests.GetRanges: "get",
    requests.SetRange: "set",
    requests.RefuseIoctl: "ioctl",
    ExtractAddress: "ioctl",
    requests.ClaimRange: "claim",
    requests.AwaitFree: "wait",
    requests.ReleaseRange: "release",
    requests.RenewClaim: "renew",
    requests.Explain: "explain",
    ExplainMany: "explain",
    FlushLines: "flush",
    Fence: "fence",
}
#: The kinds of requests that rules meet; a call through another kernel's file has its own word.
MET: Final = (*OPERATIONS, CallKernel)
#: What is not a request to an open file: opening one, and mapping its memory over a service.
OTHER_OPERATIONS: Final = ("open", "map")
OPERATION_WORDS: Final = (*dict.fromkeys(OPERATIONS.values()), "writeback", *OTHER_OPERATIONS)

#: The operations that an action can be done to, where it is not all of them.
_ONLY: Final[Mapping[str, frozenset[str]]] = {
    "short": frozenset({"read", "write"}),
    "hang": frozenset({"set"}),
}

#: The operations that name no address.
_WITHOUT_ADDRESS: Final = frozenset({"get", "seek", "ioctl", "fence", *OTHER_OPERATIONS})

#: The field that an action needs, and that no other may have.
_NEEDS: Final[Mapping[str, str]] = {"delay": "delay", "short": "moved"}

#: The least and the most that a number may be; counts fit every reader of JSON.
_BOUNDS: Final = (
    ("base", 0, U64_MAX),
    ("length", 1, U64_MAX),
    ("nth", 1, 1 << 53),
    ("times", 1, 1 << 53),
    ("seed", 0, 1 << 53),
    ("moved", 0, U64_MAX),
)

#: What no device answers: the service refuses connections with EAGAIN, and EPROTO is what a client
#: makes of a malformed answer.
NO_ANSWERS: Final = frozenset({Errno.EAGAIN, Errno.EPROTO})

#: Seconds that a delay may take: half of what the clocks of a log can say.
_LONGEST: Final = (1 << 62) / 1e9


@dataclass(frozen=True, slots=True)
class FaultRule:
    """What happens to which requests. A field that is None, or empty, restricts nothing.

    Attributes:
        action: `errno` refuses the request; `delay` lets it take effect later; `drop` gives it
            neither effect nor answer; `short` lets a transfer move fewer bytes; `cut` ends the
            caller's connection in place of an answer; `hang` begins the commit of a SET, which
            then never ends.
        name: what the rule is called in the log; numbered when it is added if empty.
        machine: a machine's name.
        op: `read`, `write`, `seek`, `get`, `set`, `ioctl` (a malformed one, and those of
            `/proc/mtrr`), `claim`, `wait`, `release`, `renew`, `explain`, `flush`, `writeback`,
            `fence`; one or several. `open`
            and `map` are met by the rules that name them.
        base: first byte of a window; requests that touch a byte of it, on the addresses that they
            name themselves. A request without an address is in no window.
        length: bytes of the window.
        process: the name of a process.
        nth: only the nth request that matches all of the above, from 1, of those that no earlier
            rule decided.
        times: at most so many faults.
        probability: of a fault for each request that matches, above 0 and up to 1.
        seed: decides which; one seed gives one sequence.
        errno: for `errno`: which, by FreeBSD's name; EIO if None.
        delay: for `delay`: seconds on the hub's clock.
        moved: for `short`: the most bytes that move.
        options: for an action of a plugin, which has a dot in its name: its options.

    Raises:
        ValueError: a field is out of its bounds, does not fit the action, or is missing.
        TypeError: a field has the wrong type.
    """

    action: Action | str
    name: str = ""
    machine: str | None = None
    op: Collection[str] = frozenset()
    base: int | None = None
    length: int | None = None
    process: str | None = None
    nth: int | None = None
    times: int | None = None
    probability: float = 1.0
    seed: int = 0
    errno: Errno | str | None = None
    delay: float | None = None
    moved: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if take_text("action", self.action) not in ACTIONS and not is_added(self.action):
            hint = suggest(self.action, (*ACTIONS, *SICK_ACTIONS))
            raise ValueError(
                f"action {self.action!r:.80} is none of {', '.join(ACTIONS)}, of sick hardware "
                f"({', '.join(SICK_ACTIONS)}) or of a plugin, which has a dot{hint}"
            )

        take_text("name", self.name)
        for name in ("machine", "process"):
            if getattr(self, name) is not None:
                take_text(name, getattr(self, name))

        object.__setattr__(self, "options", take_options(self.options, self.action))
        object.__setattr__(self, "op", self._take_operations())
        self._take_numbers()
        if (self.base is None) != (self.length is None):
            raise ValueError("base and length go together")

        if self.base is not None and self.length is not None and self.base + self.length > 1 << 64:
            raise ValueError(f"the window {self.base:#x}+{self.length:#x} ends past 2^64")

        object.__setattr__(self, "errno", _take_errno(self.errno, self.action))
        for action, name in _NEEDS.items():
            given = getattr(self, name) is not None
            if given and self.action != action:
                raise ValueError(
                    f"action {self.action} has no {name}: only action {action} needs {name}"
                )

            if not given and self.action == action:
                raise ValueError(f"action {action} needs {name}")

        if self.base is not None and self.op and not frozenset(self.op) - _WITHOUT_ADDRESS:
            words = ", ".join(sorted(self.op))
            raise ValueError(f"op {words} names no address: no window of base and length fits it")

    def _take_operations(self) -> frozenset[str]:
        words = frozenset({self.op}) if isinstance(self.op, str) else take_names("op", self.op)
        unknown = sorted(words.difference(OPERATION_WORDS))
        if unknown:
            raise ValueError(f"op {unknown[0]!r:.80} is none of {', '.join(OPERATION_WORDS)}")

        only = _ONLY.get(self.action)
        if only is not None and not words <= only:
            raise ValueError(f"action {self.action} is for {' and '.join(sorted(only))} only")

        return words or only or frozenset()

    def _take_numbers(self) -> None:
        refuse_truths(self, [*(name for name, _, _ in _BOUNDS), "probability", "delay"])
        for name, least, most in _BOUNDS:
            value = getattr(self, name)
            if value is not None:
                number = take_integer(name, value)
                object.__setattr__(self, name, number)
                if not least <= number <= most:
                    shown = f"{number:#x}", f"{most:#x}"
                    if name not in ("base", "length"):
                        shown = show_integer(number), str(most)

                    raise ValueError(f"{name} {shown[0]} is not between {least} and {shown[1]}")

        probability = take_seconds("probability", self.probability, "a number")
        object.__setattr__(self, "probability", probability)
        if not 0 < probability <= 1:
            raise ValueError(f"probability {probability} is not above 0 and up to 1")

        if self.delay is not None:
            delay = take_seconds("delay", self.delay)
            object.__setattr__(self, "delay", delay)
            if not 0 < delay <= _LONGEST:
                raise ValueError(f"delay {delay} is not above 0 and up to {_LONGEST:.0f} seconds")

    @property
    def error_code(self) -> Errno:
        """The errno of what it refuses."""
        return self.errno if isinstance(self.errno, Errno) else Errno.EIO

    def matches(self, caller: Caller, op: str, span: tuple[int, int] | None) -> bool:
        """Whether the rule is for a request; without its count and its probability.

        Args:
            caller: who asks.
            op: the operation.
            span: first byte and length of what the request names, or None.
        """
        if (
            ((self.op or op in OTHER_OPERATIONS) and op not in self.op)
            or (self.machine is not None and self.machine != caller.machine)
            or (self.process is not None and self.process != caller.process.name)
            or (self.base is not None and caller.device in KERNEL_FILES)
        ):
            return False

        if self.moved is not None and (span is None or span[1] <= self.moved):
            return False  # it moves no fewer bytes

        if self.base is None or self.length is None:
            return True

        return (
            span is not None and span[0] < self.base + self.length and self.base < span[0] + span[1]
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields that say something, for JSON and TOML."""
        found: dict[str, Any] = {}
        for it in fields(self):
            value = getattr(self, it.name)
            if value != it.default and value != {}:
                found[it.name] = value

        if self.op:
            found["op"] = sorted(self.op)

        if isinstance(self.errno, Errno):
            found["errno"] = self.errno.name

        return found


def rule_of_dict(found: Mapping[str, Any]) -> FaultRule:
    """The rule of what `FaultRule.as_dict` gives.

    Raises:
        ValueError: a key is unknown, or `action` is missing; and as `FaultRule`.
        TypeError: a value has the wrong type.
    """
    check_keys("a fault rule", found, [it.name for it in fields(FaultRule)], "action")

    return FaultRule(**found)


def _take_errno(errno: object, action: str) -> Errno | None:
    if errno is None:
        return Errno.EIO if action == "errno" else None

    if action != "errno":
        raise ValueError(f"action {action} has no errno")

    name = errno.name if isinstance(errno, Errno) else take_text("errno", errno)
    names = [it.name for it in Errno if it not in NO_ANSWERS]
    if name not in names:
        raise ValueError(f"errno {name!r:.80} is none of {', '.join(names)}")

    return Errno[name]


class FaultInjected(NamedTuple):
    """A rule met a request; it changes no machine.

    Attributes:
        caller: who asked.
        at: when.
        rule: the rule.
        number: which fault of the rule it is, from 1.
        op: the operation.
        span: first byte and length of what the request names, or None.
        error: with what the request is refused, or None.
        does: of an action of a plugin, the rule that would do the same, if one would.
    """

    caller: Caller
    at: Instant
    rule: FaultRule
    number: int
    op: str
    span: tuple[int, int] | None
    error: DeviceError | None
    does: FaultRule | None = None
