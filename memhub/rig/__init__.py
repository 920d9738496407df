"""For test rigs: virtual time, runs that can be repeated, recorded behaviour replayed.

virtual_clock   time that passes when everybody waits
simulation      one seed, one run                       explore   a test under many orders
traces          files of recorded answers, as values    replay    a machine run against them
arch_check      what every architecture keeps to, and `check_arch`
"""

from __future__ import annotations

from memhub.rig.arch_check import ArchReport as ArchReport
from memhub.rig.arch_check import check_arch as check_arch
from memhub.rig.explore import Finding as Finding
from memhub.rig.explore import OrderFailed as OrderFailed
from memhub.rig.explore import explore as explore
from memhub.rig.explore import find_failure as find_failure
from memhub.rig.outcome import Mismatch as Mismatch
from memhub.rig.outcome import Replay as Replay
from memhub.rig.replay import replay as replay
from memhub.rig.simulation import Simulation as Simulation
from memhub.rig.simulation import SimulationError as SimulationError
from memhub.rig.simulation import Step as Step
from memhub.rig.traces import DriverTrace as DriverTrace
from memhub.rig.traces import MachineTrace as MachineTrace
from memhub.rig.traces import TraceError as TraceError
from memhub.rig.traces import TypesTrace as TypesTrace
from memhub.rig.traces import parse_trace as parse_trace
from memhub.rig.traces import trace_lines as trace_lines
from memhub.rig.virtual_clock import VirtualClock as VirtualClock
