"""What the machines were at a moment: a log is read up to it and its facts are applied.

The log is read once, from front to back, so that it may be a pipe; its chain is checked on the
way. Memory is bounded by what the machines hold.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memhub.audit.failure import AuditError
from memhub.audit.history.states import State, state_of, time_text
from memhub.audit.reading.reader import read_records
from memhub.audit.reading.segments import is_folder
from memhub.audit.reading.snapshots import find_start
from memhub.audit.reading.source import STANDARD_INPUT
from memhub.audit.verifying.sound import SoundLog
from memhub.core.instant import Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from memhub.audit.history.rebuild import Rebuilder
    from memhub.audit.reading.snapshots import Start
    from memhub.audit.seals.note_keys import VerifierKey
    from memhub.core.drivers.driver import Arch

    Record = Mapping[str, Any]
    #: A record's `seq`, a time (UTC without a zone), or None for the end of the log.
    At = int | datetime | None

_EPOCH: Final = datetime.fromtimestamp(0, UTC)

#: Up to how many moments each is reached by its own shortest way.
_FEW: Final = 2

#: How many machines without a beginning are named.
_NAMED_MAX: Final = 16


class _Moment(NamedTuple):
    """Up to which record a log is read."""

    last_seq: int | None = None
    until_ns: int | None = None

    @classmethod
    def of(cls, at: At) -> _Moment:
        if not isinstance(at, datetime):
            return cls(at)

        when = at if at.tzinfo is not None else at.replace(tzinfo=UTC)

        # a time is as exact as it is shown: to the microsecond
        return cls(None, (when - _EPOCH) // timedelta(microseconds=1) * 1000 + 999)

    def is_before(self, record: Record) -> bool:
        if self.last_seq is not None:
            return bool(record["seq"] > self.last_seq)

        if self.until_ns is None or _is_own(record):
            return False

        return bool(record["wall_ns"] > self.until_ns)

    def is_at(self, record: Record) -> bool:
        """Whether no later record need be read, which may be damaged, or not there yet."""
        return self.last_seq is not None and bool(record["seq"] >= self.last_seq)

    def check_end(self, name: str, last: Record | None) -> None:
        """Refuse a record behind the last one."""
        if last is None or (self.last_seq is not None and last["seq"] < self.last_seq):
            ends = "is empty" if last is None else f"ends with record {last['seq']}"
            wanted = f"record {self.last_seq}" if self.last_seq is not None else "a record"
            raise AuditError(name, f"{wanted} is not in the log, which {ends}")


@dataclass(slots=True)
class Travel:
    """One reading of a log.

    Attributes:
        path: a file, a pipe, or `-` for standard input; it may be compressed.
        arches: architectures by name; None loads those that are installed.
        verified: whether the chain is checked. Without that, what a log says is taken as it is.
        progress: called with the bytes done and the bytes in all; not for a pipe.
        start: where reading begins; None for the beginning.
        keys: the records up to a moment have to be sealed with one of these. The log is read from
            its start, or that of the segment, up to the seal behind the moment.
    """

    path: str | os.PathLike[str]
    arches: Mapping[str, Arch] | None = None
    verified: bool = True
    progress: Callable[[int, int], None] | None = None
    start: Start | None = None
    keys: Sequence[VerifierKey] = ()
    _last: Record | None = None
    _at: Instant | None = None
    _orphans: dict[str, int] | None = None
    _ended: dict[str, int] = field(default_factory=dict)
    _sound: SoundLog | None = None
    _unsealed: str | None = None
    _sealed: bool = False

    @property
    def name(self) -> str:
        """What the log is called in messages."""
        given = os.fspath(self.path)

        return "standard input" if given == STANDARD_INPUT else given

    def states(self, moments: Sequence[At]) -> list[State]:
        """The machines at some moments, in the order in which these are given.

        One or two moments are reached from the last snapshot before each, and the chain is
        checked from there on. For more, the log is read once from its start.

        Raises:
            DamagedLog: the chain breaks before a moment.
            AuditError: the log cannot be read up to there, or does not reach there.
        """
        if len(moments) <= _FEW and _can_be_read_again(self.path):
            return [self._travel_to(_Moment.of(at)) for at in moments]

        return self._pass([_Moment.of(at) for at in moments])

    def _travel_to(self, moment: _Moment) -> State:
        """The machines at a moment, by the shortest way."""
        start = self._find_start(moment)
        near = Travel(self.path, self.arches, self.verified, self.progress, start, self.keys)

        return near._pass([moment])[0]

    def _find_start(self, moment: _Moment) -> Start | None:
        start = find_start(self.path, moment.is_before)
        if start is None or not self.keys:
            return start

        # the first record of a segment holds the tree that a seal in it covers; a file has no such
        return start._replace(offset=0) if is_folder(self.path) else None

    def _pass(self, moments: Sequence[_Moment]) -> list[State]:
        pending = dict(enumerate(moments))
        found: dict[int, State] = {}
        with self.rebuilder() as rebuilder:
            records = self._records()
            while pending:
                record = next(records, None)
                for index, moment in [*pending.items()]:
                    if record is None or moment.is_before(record):
                        self._check(moment, record)
                        found[index] = self.state(rebuilder)
                        del pending[index]
                if record is None or not pending:
                    self._read_to_seal(records, record)
                    break

                self.apply(rebuilder, record)
                for index in [it for it, moment in pending.items() if moment.is_at(record)]:
                    found[index] = self.state(rebuilder)
                    del pending[index]

                if not pending:
                    self._read_to_seal(records, record)

        states = [found[index] for index in range(len(moments))]
        if not self.keys:
            return states

        return [replace(it, notes=tuple(dict.fromkeys((*it.notes, *self.notes)))) for it in states]

    def records_until(self, at: At, *, shortly: bool = False) -> Iterator[Record]:
        """The records up to a moment; each is to be given to `apply`.

        Args:
            at: the moment.
            shortly: whether to begin at the last snapshot before it, where there is one.

        Raises:
            DamagedLog: as for `states`.
            AuditError: likewise.
        """
        moment = _Moment.of(at)
        if shortly and self.start is None and _can_be_read_again(self.path):
            self.start = self._find_start(moment)

        records = self._records()
        for record in records:
            if moment.is_before(record):
                self._check(moment, record)
                self._read_to_seal(records, record)
                return

            yield record
            if moment.is_at(record):
                self._read_to_seal(records, record)
                return

        self._check(moment, None)
        self._read_to_seal(records, None)

    def _read_to_seal(self, records: Iterator[Record], record: Record | None) -> None:
        """Go on to the seal that covers the moment, or note that there is none.

        Args:
            records: those that follow.
            record: the one that was read last; None at the end of the log.
        """
        if not self.keys:
            return

        while record is not None and record["event"] != "log.seal":
            self._sealed = False
            record = next(records, None)

        if record is None and not self._sealed:
            seq = 0 if self._last is None else self._last["seq"]
            self._unsealed = f"record {seq} is behind the last seal: nobody has signed it"

    @contextmanager
    def rebuilder(self) -> Iterator[Rebuilder]:
        """What `apply` fills; its machines give their memory back at the end."""
        from memhub.arches import load_arches
        from memhub.audit.history.rebuild import Rebuilder

        made = Rebuilder(load_arches() if self.arches is None else self.arches)
        try:
            yield made
        finally:
            for machine in made.machines.values():
                machine.close()

    def apply(self, rebuilder: Rebuilder, record: Record) -> None:
        """Make the fact of a record true.

        Raises:
            AuditError: it cannot follow from the records before it, or its architecture is not
                installed.
        """
        try:
            rebuilder.read(record)
        except Exception as error:
            raise self.misfit_of(record, error) from error

        name = record.get("machine")
        if "generation" in record and name is not None and name not in rebuilder.machines:
            self._note_orphan(name, record)

        if record["event"] == "device.detach" and name is not None:
            self._ended[name] = record["seq"]

        self._last = record
        self._sealed = record["event"] == "log.seal"
        if not _is_own(record):
            self._at = Instant(record["wall_ns"], record["mono_ns"])

    def misfit_of(self, record: Record, error: Exception) -> AuditError:
        """The error of a record that cannot follow from those before it."""
        what = f"{type(error).__name__}: {error}"

        return AuditError(
            self.name, f"record {record['seq']} cannot follow those before it: {what}"
        )

    def state(self, rebuilder: Rebuilder) -> State:
        """The machines as they are after the records so far."""
        assert self._last is not None
        orphans = (
            f"machine {name}: record {seq} is the first about it, and its device.attach is not "
            f"in the log: nothing of it is known"
            for name, seq in (self._orphans or {}).items()
        )

        ended = {name: seq for name, seq in self._ended.items() if name not in rebuilder.machines}

        return state_of(rebuilder, self._last, self._at, (*orphans, *self.notes), ended)

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be known of the log itself, as far as it was read."""
        sound = self._sound
        found = [] if sound is None else [sound.torn, *sound.seal_notes]

        return tuple(it for it in (*found, self._unsealed) if it)

    def _note_orphan(self, name: str, record: Record) -> None:
        self._orphans = {} if self._orphans is None else self._orphans
        if record["event"] != "device.detach" and len(self._orphans) < _NAMED_MAX:
            self._orphans.setdefault(name, record["seq"])

    def _check(self, moment: _Moment, following: Record | None) -> None:
        """Refuse a moment before the first record, and a record after the last one."""
        if following is None:
            moment.check_end(self.name, self._last)
        elif self._last is None or (self._at is None and moment.until_ns is not None):
            began = f"record {following['seq']} at {time_text(following['wall_ns'])}"
            raise AuditError(self.name, f"the log begins later, with {began}")

    def _records(self) -> Iterator[Record]:
        if not self.verified:
            return read_records(self.path, typed=True, start=self.start)

        self._sound = SoundLog(self.path, self.progress, self.start, self.keys)

        return self._sound.records()


def _can_be_read_again(path: str | os.PathLike[str]) -> bool:
    """Whether it is a file or folder, and not a pipe."""
    return os.fspath(path) != STANDARD_INPUT and (Path(path).is_file() or Path(path).is_dir())


def _is_own(record: Record) -> bool:
    """Whether a record is of the log itself, whose clock need not be the hub's."""
    return bool(record["event"].startswith("log."))


def state_at(
    path: str | os.PathLike[str],
    at: At = None,
    *,
    arches: Mapping[str, Arch] | None = None,
    verified: bool = True,
    keys: Sequence[VerifierKey] = (),
) -> State:
    """What every machine of a log was at a moment: slots, registers, claims, waits, commits.

    Args:
        path: a file, which may be in use, a pipe, or `-`; it may be compressed.
        at: after the record with this `seq`; or a time (UTC without a zone), to the microsecond:
            before the first record of the hub that is later. None is the end of the log.
        arches: architectures by name; None loads those that are installed.
        verified: whether the chain is checked up to the moment.
        keys: as of `Travel`.

    Returns:
        the state. A lease that had run out while no record said so is still there.

    Raises:
        DamagedLog: the chain breaks before the moment; it names the line and the damage.
        AuditError: the log cannot be read up to there, does not reach there, or needs an
            architecture that is not installed.
    """
    return Travel(path=path, arches=arches, verified=verified, keys=keys).states([at])[0]
