"""What the conformance kit finds, and the rules that it looks for, by their stable names."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Each rule by its name: why it has to hold.
RULES: Final[Mapping[str, str]] = {
    # The architecture and its machines
    "arch-values": "clients, configuration and `memhub arches` show and check these values",
    "attach-fails": "a machine with this CPU, these options or these registers cannot be made",
    "no-slots": "the kit can check nothing: give `cpu`, `msrs` or `options` that make slots",
    "nothing-granted": "a driver that refuses every range is of no use, or `requests` has to name "
    "one that it takes",
    "attribute-refused": "clients take the attributes in `Arch.attributes` for what they can have",
    "options-fail": "a wrong option is the user's mistake, and has to be told as an OptionError",
    "not-picklable": "a machine is a value: snapshots and forks copy it",
    "copy-differs": "a copy of a machine has to go on as the machine would",
    "get-differs": "MEMRANGE_GET has to show what the requests before it have made",
    # Answers
    "raises": "only a DeviceError refuses a request; anything else is told to the client as EIO",
    "nonsense": "an answer that breaks a rule of `RangeDriver` is told to the client as EIO",
    "hangs": "a call runs on the event loop and holds up every client",
    "slow": "a call runs on the event loop and holds up every client",
    # Purity
    "remembers": "the answer has to follow from the state and the request alone: a refused request "
    "must change nothing, and two machines must not know of each other",
    "not-deterministic": "the same question has to get the same answer: waits and commits ask "
    "again, and a log is replayed",
    "changes-its-input": "the state before is what a refusal, an undo and the log go back to",
    "changes-its-answer": "an answer that has been given is in the log, and part of the state",
    "side-effects": "a driver only answers: what it changes elsewhere in the process stays",
    "settled-wrongly": "`settled` says that re-reading every register would change nothing",
    "owner-decides": "`mr_owner` is a label; who owns a range is the hub's to decide",
    "busy-changes-answer": "MDF_BUSY on a slot may lead to EBUSY, and to no other difference",
    # Granted requests
    "grants-nothing": "a request that was granted has written a slot, which the client then claims",
    "stores-other-range": "MEMRANGE_GET and REMOVE find a range by the base and length asked for",
    "stores-other-attribute": "MEMRANGE_GET has to show the attribute that was granted",
    "stores-other-owner": "`mr_owner` is the client's label for its range",
    "sets-odd-flags": "FIX*, FIRMWARE and BOGUS say what firmware or the hardware has done",
    "overwrites-range": "a range is lost, without a word to the client that set it",
    "claims-too-much": "a client claims the slots that `wrote` names: each has to be part of what "
    "it asked for",
    "changes-other-slots": "slots that a request does not name stay as they are",
    "undeclared-attribute": "clients take `Arch.attributes` for all that there is",
    "removes-other-range": "REMOVE is for the slot that holds exactly this range",
    "removal-leaves-range": "a range that was removed must be gone",
    "grants-empty": "a range of no bytes holds no memory: it takes a slot, and nothing shows it",
    "grants-beyond": "the CPU has no such addresses: what the hardware holds is another range",
    "grants-wrapping": "no address is above 2^64: the range would go on at 0, or end nowhere",
    "registers-not-written": "the next start reads the slots from registers: what is set in the "
    "table alone is lost then, and the hardware never knew of it",
    "registers-disagree": "the next start reads the registers: they have to say what the slots do",
    # Refusals
    "refuses-removal": "a range that is neither fixed nor busy can be removed",
    "refuses-last": "a range that ends at a limit is within it: the end is one past its last byte",
    "refuses-apart": "a range that touches no other one does not conflict with it",
    "refuses-order": "two ranges conflict or do not, whichever was first",
    "other-ranges-decide": "whether two ranges conflict cannot depend on ranges that touch neither",
    "refuses-some-overlaps": "whether two attributes may overlap cannot depend on how they overlap",
    "full-too-early": "ENOSPC says that no slot is free",
    "busy-without-claim": "EBUSY is for slots that are shown with MDF_BUSY",
    "refusal-errno": "mem(4) and its clients know what each errno means",
    "refusal-without-reason": "the reason is all that a person has to act on",
    "refusal-without-obstacles": "the client has to learn which slots stand in the way",
    "obstacle-wrong": "an obstacle has to be what the table holds",
    "duplicate-range": "one range in two slots cannot be removed by one REMOVE",
    # Effective types and undo
    "type-of-range": "the memory inside a range has to have the type that was granted",
    "type-of-overlap": "where ranges overlap, the type has to be that of one of them",
    "type-outside-ranges": "a range must not change the type of memory outside it",
    "type-undefined": "requests that were all granted must not leave a type undefined",
    "types-outside-extent": "a claim is protected only within what `extent` says",
    "extent-too-wide": "a claim would keep other clients from memory that its range has no say in",
    "undo-fails": "closing a file that was opened for undo puts back what it changed",
    "undo-leaves": "undo has to leave what was there before: slots, registers and types",
}


#: Rules that an architecture may name in `Arch.quirks`, since the kernel that it is of breaks them.
QUIRKS: Final = frozenset(
    {
        *("grants-empty", "grants-beyond", "grants-wrapping", "registers-not-written"),
        *("registers-disagree", "type-outside-ranges", "refuses-last"),
    }
)


class NotSound(AssertionError):
    """Raised for an architecture in which the kit found something; the message is the report."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule that does not hold.

    Attributes:
        rule: its name, one of `RULES`.
        method: the driver's method, or empty for the architecture as a whole.
        words: what is wrong, with the values.
    """

    rule: str
    method: str
    words: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that does not hold, and how to see it.

    Attributes:
        rule: its stable name, one of `RULES`.
        where: the plugin, the driver's method and the architecture, in words.
        message: what is wrong, with the values.
        why: why the rule has to hold.
        machine: the CPU, options and registers of the machine, in words.
        steps: the shortest sequence of requests that was found to show it, in words.
    """

    rule: str
    where: str
    message: str
    why: str
    machine: str = ""
    steps: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.rule}: {self.message}", f"  in {self.where}", f"  why: {self.why}"]
        if self.machine:
            lines.append(f"  machine: {self.machine}")

        if self.steps:
            lines.append("  to see it, from a new machine:")
            lines += [f"    {number}. {it}" for number, it in enumerate(self.steps, 1)]

        return "\n".join(map(escape_controls, lines))


@dataclass(frozen=True, slots=True)
class ArchReport:
    """What the kit came to.

    Attributes:
        arch: the architecture's name.
        findings: the rules that do not hold, each once for each method.
        requests: how many requests the driver was asked.
        is_complete: whether all was asked that there is; not, if the time was over before.
        quirks: rules that do not hold either, as `Arch.quirks` says.
    """

    arch: str
    findings: tuple[Finding, ...]
    requests: int
    is_complete: bool = True
    quirks: tuple[str, ...] = ()

    @property
    def rules(self) -> frozenset[str]:
        """The names of the rules that do not hold."""
        return frozenset(it.rule for it in self.findings)

    @property
    def is_sound(self) -> bool:
        """Whether all was asked, and nothing found."""
        return self.is_complete and not self.findings

    def require_sound(self) -> None:
        """Raise what was found.

        Raises:
            NotSound: something was, or the check did not end.
        """
        if not self.is_sound:
            raise NotSound(str(self))

    def __str__(self) -> str:
        asked = f"by {self.requests} requests"
        if self.quirks:
            asked += f", with its quirks: {', '.join(self.quirks)}"

        if not self.is_complete:
            asked += "; the check did not end: the time was over (`seconds`)"

        if not self.findings:
            words = "sound" if self.is_complete else "nothing found"
            return f"{self.arch}: {words}, {asked}"

        lines = [f"{self.arch}: {len(self.findings)} found, {asked}"]
        lines += [textwrap.indent(str(it), "  ") for it in self.findings]
        if "remembers" in self.rules and len(self.rules) > 1:
            lines.append("  mend `remembers` first: what else is found may follow from it")

        return "\n".join(lines)
