"""The log's rows are the events: one mapping, both ways.

`row_of` makes the row of a fact, `event_of` the fact of a row. A row names a claim by its number
and does not repeat it, so `event_of` looks it up in the machine as it was before the fact.

held     machines as rows; held_read back; description their `config`
columns  what several rows have in common    files, memory, ranges, claims, service
write    facts to rows                          the rows of each room
read     rows to facts
"""

from __future__ import annotations

from memhub.audit.rows.claims import wait_words as wait_words
from memhub.audit.rows.held import held_rows as held_rows
from memhub.audit.rows.held import part_rows as part_rows
from memhub.audit.rows.held_read import holdings_in as holdings_in
from memhub.audit.rows.read import event_of as event_of
from memhub.audit.rows.read import machine_of as machine_of
from memhub.audit.rows.read import plan_of as plan_of
from memhub.audit.rows.write import WRITERS as WRITERS
from memhub.audit.rows.write import row_of as row_of
