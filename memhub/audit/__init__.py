"""The audit log: written by `AuditLog`, checked by `verify`, read by `read_records`.

Writing
  log, opening    AuditLog, and where it writes      writer       records, chained and handed over
  own_records     the records about the log itself   keeping      when segments end and are sealed
  sink, place     the file, and where its path leads tail         the end of a file to be continued
  folder          segments, locked and compressed    sealing      the tree over a log, and its seals
Reading
  segments        the files of a log                 source       files and pipes, decompressed
  line, reader    what a line may hold; records      select       which records a question is about
  snapshots       where reading can begin
Checking
  verify          a verdict on a log                 chain_walk   one pass over its lines
  line_batch      many lines at once                 verify_jobs  on several cores
  line_shapes     what lines look like, so that most need not be parsed
  unfinished      lines out of blocks
  line_fault, damage, look_ahead                     what is wrong, and what was done
  sound           records, checked on the way        seal_check   whether seals hold
Seals
  merkle, merkle_check, signed_note, note_keys, checkpoint, tlog_proof, seal_text    the formats
  prove           that one record is in a log
Machines
  rows            facts to rows and back             rebuild      machines from records
  travel, states  the machines at a moment           blame, diff  why, and what differs
  restore         what a hub begins with that goes on where a log ended
schema, fields, chain, failure, new_file             what all of these share
"""

from __future__ import annotations

from memhub.audit.chain import Mark as Mark
from memhub.audit.damage import Break as Break
from memhub.audit.failure import AuditError as AuditError
from memhub.audit.keeping import Keeping as Keeping
from memhub.audit.log import AuditLog as AuditLog
from memhub.audit.reader import Summary as Summary
from memhub.audit.reader import read_lines as read_lines
from memhub.audit.reader import read_records as read_records
from memhub.audit.reader import summary as summary
from memhub.audit.schema import SCHEMA_VERSION as SCHEMA_VERSION
from memhub.audit.select import Selection as Selection
from memhub.audit.select import Window as Window
from memhub.audit.sink import Durability as Durability
from memhub.audit.sound import DamagedLog as DamagedLog
from memhub.audit.states import MachineState as MachineState
from memhub.audit.states import State as State
from memhub.audit.tail import EndedFile as EndedFile
from memhub.audit.tail import RecoveredTail as RecoveredTail
from memhub.audit.travel import state_at as state_at
from memhub.audit.verify import Verdict as Verdict
from memhub.audit.verify import verify as verify

__all__ = (
    "SCHEMA_VERSION",
    "AuditError",
    "AuditLog",
    "Break",
    "DamagedLog",
    "Durability",
    "EndedFile",
    "Keeping",
    "MachineState",
    "Mark",
    "RecoveredTail",
    "Selection",
    "State",
    "Summary",
    "Verdict",
    "Window",
    "read_lines",
    "read_records",
    "state_at",
    "summary",
    "verify",
)
