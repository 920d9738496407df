"""Whether the seals in a log hold: the tree over its records, and the signatures on its roots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.audit.line import show_value
from memhub.audit.reading.damage import Fault, count_text
from memhub.audit.seals.checkpoint import Checkpoint
from memhub.audit.seals.merkle import MerkleRange
from memhub.audit.seals.note_keys import MissingCryptography, VerifierKey
from memhub.audit.seals.seal_text import SealError
from memhub.audit.seals.signed_note import open_note, split_note

if TYPE_CHECKING:
    from collections.abc import Sequence


#: What a seal holds, beside its place in the chain.
_MEMBERS: Final = frozenset(
    {"v", "seq", "prev", "event", "wall_ns", "mono_ns", "count", "checkpoint", "hash"}
)


class SealFault(Exception):
    """Raised, or kept, where a seal does not hold."""

    def __init__(self, expected: str, found: str, reason: str) -> None:
        self.expected = expected
        self.found = found
        self.reason = reason
        super().__init__(f"{reason} (expected {expected}, found {found})")

    def as_fault(self) -> Fault:
        """The fault of a line."""
        return Fault("seal", self.expected, self.found, self.reason, "rewritten")


class SealCheck:
    """The seals of one log, as a pass over its records meets them.

    Args:
        tree: the tree over all records before the pass.
        keys: whose signature a seal has to have.
        trusted: whether the keys come from elsewhere, and not from the log itself.

    Attributes:
        tree: the tree over the records so far; each is appended after it was verified.
        seals: how many seals hold.
        size: records that the last seal covers.
        seal_seq: number of the record that holds it; 0 before the first.
        key_text: the keys, as text.
        fault: why the last seal does not hold.
        notes: what should be known.
    """

    def __init__(self, tree: MerkleRange, keys: Sequence[VerifierKey], *, trusted: bool) -> None:
        self.tree = tree
        self.seals = 0
        self.size = tree.size
        self.seal_seq = 0
        self.fault: SealFault | None = None
        self.notes: list[str] = []
        self.key_text = ", ".join(key.text() for key in keys)
        self._keys = tuple(keys)
        if not trusted:
            name = show_value(keys[0].text())
            self.notes.append(f"seals are checked with the log's own key, {name}: give --key")

    @classmethod
    def begin(cls, header: dict[str, Any], keys: Sequence[VerifierKey]) -> SealCheck:
        """Begin at the first record of a file.

        Args:
            header: the record.
            keys: whose signature a seal has to have; none takes the log's own key.

        Raises:
            SealFault: the log is not sealed by such a key, or the header's tree cannot be.
        """
        named = header.get("key")
        try:
            own = None if named is None else VerifierKey.parse(named)
            nodes = [bytes.fromhex(it) for it in header.get("tree", ())]
            tree = MerkleRange(header["seq"] - 1 if header["event"] == "log.segment" else 0, nodes)
        except (SealError, ValueError, TypeError, AttributeError) as error:
            text = show_value(str(error))
            raise SealFault("a key and a tree", text, "the header is no header of seals") from None

        if own is None or (keys and own not in keys):
            names = ", ".join(key.text() for key in keys)
            found = "no key" if own is None else own.text()
            raise SealFault(names, found, "the log is not sealed with that key")

        return cls(tree, keys or (own,), trusted=bool(keys))

    def find_end_fault(self, seq: int, *, in_use: bool) -> Fault | None:
        """What is wrong with the end of the log; what a log in use has there is noted.

        Args:
            seq: number of the last record.
            in_use: whether a writer has the log open, so that more is to come.
        """
        behind = count_text(seq - self.seal_seq, "record")
        if seq == self.seal_seq:
            return None

        if in_use:
            self.notes.append(f"{behind} behind the last seal; the log is in use")
            return None

        what = f"the log has {behind} behind its last seal"
        if not self.seal_seq:
            what = "the log should be sealed and has no seal"

        why = f"{what}: it was cut, or its writer was killed"

        return Fault("unsealed", "a seal at the end", f"{self.size} sealed records", why, "cut")

    def take(self, record: dict[str, Any], before: int) -> bool:
        """Check the seal in a record.

        Args:
            record: the `log.seal`.
            before: number of the record before it, up to which it has to cover all.

        Returns:
            whether it holds; `fault` says why not.
        """
        try:
            self._check_members(record)
            checkpoint = self._open(record.get("checkpoint"))
            self._check(checkpoint, before)
        except SealFault as fault:
            self.fault = fault
            return False

        self.seals += 1
        self.size, self.seal_seq = before, before + 1

        return True

    def _check_members(self, record: dict[str, Any]) -> None:
        """Refuse what nobody has signed beside the checkpoint; clocks are all that may be there."""
        others = sorted(record.keys() - _MEMBERS)
        if others:
            what = ", ".join(sorted(_MEMBERS))
            raise SealFault(what, show_value(others[0]), "the seal has a member that none has")

    def _open(self, note: object) -> Checkpoint:
        if not isinstance(note, str):
            raise SealFault("a signed checkpoint", show_value(note), "the seal is no checkpoint")

        try:
            return Checkpoint.parse(open_note(note, *self._keys).text)
        except MissingCryptography as error:
            if str(error) not in self.notes:
                self.notes.append(str(error))

            return self._parse_unsigned(note)
        except SealError as error:
            names = ", ".join(key.text() for key in self._keys)
            raise SealFault(f"signed by {names}", str(error), "the seal is not genuine") from None

    def _parse_unsigned(self, note: str) -> Checkpoint:
        try:
            return Checkpoint.parse(split_note(note).text)
        except SealError as error:
            what = "a signed checkpoint"
            raise SealFault(what, str(error), "the seal is no checkpoint") from None

    def _check(self, checkpoint: Checkpoint, before: int) -> None:
        names = [key.name for key in self._keys]
        if checkpoint.origin not in names:
            due, found = ", ".join(names), show_value(checkpoint.origin)
            raise SealFault(due, found, "the seal is of another log")

        if checkpoint.size != before:
            why = "the seal covers another number of records"
            raise SealFault(str(before), str(checkpoint.size), why)

        root = self.tree.root()
        if checkpoint.root != root:
            why = "the records before the seal are not those that were sealed"
            raise SealFault(checkpoint.root.hex(), root.hex(), why)
