"""The audit log: written by `AuditLog`, checked by `verify`, read by `read_records`.

writing/
  log, opening    AuditLog, and where it writes      writer       records, chained and handed over
  own_records     the records about the log itself   keeping      when segments end and are sealed
  sink, place     the file, and where its path leads tail         the end of a file to be continued
  folder          segments, locked and compressed    sealing      the tree over a log, and its seals
reading/
  segments        the files of a log                 source       files and pipes, decompressed
  reader          records                            select       which records a question is about
  snapshots       where reading can begin            asked        addresses in a record
  unfinished      lines out of blocks
  line_fault, damage                                 what is wrong, and what was done
verifying/
  verify          a verdict on a log                 chain_walk   one pass over its lines
  line_batch      many lines at once                 verify_jobs  on several cores
  line_shapes     what lines look like, so that most need not be parsed
  look_ahead      a record that is elsewhere         sound        records, checked on the way
seals/
  merkle, merkle_check, signed_note, note_keys, checkpoint, tlog_proof, seal_text    the formats
  prove           that one record is in a log        seal_check   whether seals hold
history/
  travel, states  the machines at a moment           blame, diff  why, and what differs
  rebuild         machines from records
  restore         what a hub begins with that goes on where a log ended
rows/             facts to rows and back
schema, fields, line, chain, failure                 what all of these share
"""

from __future__ import annotations

from memhub.audit.chain import Mark as Mark
from memhub.audit.failure import AuditError as AuditError
from memhub.audit.history.states import MachineState as MachineState
from memhub.audit.history.states import State as State
from memhub.audit.history.travel import state_at as state_at
from memhub.audit.reading.damage import Break as Break
from memhub.audit.reading.reader import Summary as Summary
from memhub.audit.reading.reader import read_lines as read_lines
from memhub.audit.reading.reader import read_records as read_records
from memhub.audit.reading.reader import summary as summary
from memhub.audit.reading.select import Selection as Selection
from memhub.audit.reading.select import Window as Window
from memhub.audit.schema import SCHEMA_VERSION as SCHEMA_VERSION
from memhub.audit.verifying.sound import DamagedLog as DamagedLog
from memhub.audit.verifying.verify import Verdict as Verdict
from memhub.audit.verifying.verify import verify as verify
from memhub.audit.writing.keeping import Keeping as Keeping
from memhub.audit.writing.log import AuditLog as AuditLog
from memhub.audit.writing.sink import Durability as Durability
from memhub.audit.writing.tail import EndedFile as EndedFile
from memhub.audit.writing.tail import RecoveredTail as RecoveredTail

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
