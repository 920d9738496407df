"""What each thing that happens says in the log: core values in, flat records out.

Pure functions; the fields are those of `schema.py`. `facts` is what an open file says of itself
in every record (machine, architecture, device, process, pid, uid, handle).
"""

from __future__ import annotations

from memhub.audit.records.claims import claim as claim
from memhub.audit.records.claims import effect as effect
from memhub.audit.records.claims import waited as waited
from memhub.audit.records.claims import waiting as waiting
from memhub.audit.records.machines import attach as attach
from memhub.audit.records.machines import detach as detach
from memhub.audit.records.parts import who as who
from memhub.audit.records.requests import closed as closed
from memhub.audit.records.requests import got as got
from memhub.audit.records.requests import malformed as malformed
from memhub.audit.records.requests import moved as moved
from memhub.audit.records.requests import opened as opened
from memhub.audit.records.requests import was_set as was_set
