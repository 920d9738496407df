"""An audit log's requests put to machines again: the same ones, or others, and fewer of them.

steps      what was asked, and what followed by itself       player  puts steps to machines
asking     requests of each kind of record                   going_back  returns to a snapshot
beginning  machines that hold something when they begin      devices  models that answer accesses
comparing  what a log says against what came of a replay     replaying  `replay_log`
ddmin      the fewest items that still fail                  shrinking  `shrink_log`
"""

from memhub.rig.log_replay.comparing import LogDifference as LogDifference
from memhub.rig.log_replay.replaying import LogReplay as LogReplay
from memhub.rig.log_replay.replaying import replay_log as replay_log
from memhub.rig.log_replay.shrinking import Shrunk as Shrunk
from memhub.rig.log_replay.shrinking import shrink_log as shrink_log
from memhub.rig.log_replay.steps import LogStep as LogStep
