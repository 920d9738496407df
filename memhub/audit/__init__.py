"""The audit log: written by `AuditLog`, checked by `verify`, read by `read_records`.

chain    how lines are hashed and linked       sink    the file: locked, appended to, cut back
logger   the structlog processors               tail    what a file to be continued ends in
log      AuditLog, the writer                   verify  where a chain breaks
schema   every field and event                  reader  records and counts
line     what a line may hold                   source  files, pipes and gzip, read once
place    whether the path leads to the file     select  which records a question is about
rebuild  machines from records                  sound   records, their chain checked on the way
travel   what the machines were at a moment     states  that as a value
"""

from __future__ import annotations

from memhub.audit.chain import Mark as Mark
from memhub.audit.damage import Break as Break
from memhub.audit.failure import AuditError as AuditError
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
