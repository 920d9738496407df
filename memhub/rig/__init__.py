"""For test rigs: recorded behaviour is replayed and compared.

traces   files of recorded answers, as values       replay   a machine run against them
"""

from __future__ import annotations

from memhub.rig.outcome import Mismatch as Mismatch
from memhub.rig.outcome import Replay as Replay
from memhub.rig.replay import replay as replay
from memhub.rig.traces import DriverTrace as DriverTrace
from memhub.rig.traces import MachineTrace as MachineTrace
from memhub.rig.traces import TraceError as TraceError
from memhub.rig.traces import TypesTrace as TypesTrace
from memhub.rig.traces import parse_trace as parse_trace
from memhub.rig.traces import trace_lines as trace_lines
