"""For test rigs: fixtures for pytest, virtual time, runs that can be repeated, recorded behaviour.

pytest_plugin   the fixtures                            log_view  assertions on the log
clients         processes of a rig                      service_process  a service of a rig
picture         table, map and records of a failing test
virtual_clock   time that passes when everybody waits
simulation      one seed, one run                       exploring  a test under many orders
traces          files of recorded answers, as values    replaying  a machine run against them
log_replay      audit logs replayed, and shrunk to the fewest requests that still fail
arch_check      what every architecture keeps to, and `check_arch`

The names below are loaded when they are first used: pytest imports this package in every run, also
for those who do not use it. A module is not named as one of them, since it would take its place.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from memhub.rig.arch_check import ArchReport as ArchReport
    from memhub.rig.arch_check import check_arch as check_arch
    from memhub.rig.awaiting_client import AsyncClient as AsyncClient
    from memhub.rig.clients import BlockingRigClient as BlockingRigClient
    from memhub.rig.clients import Clients as Clients
    from memhub.rig.exploring import Finding as Finding
    from memhub.rig.exploring import OrderFailed as OrderFailed
    from memhub.rig.exploring import explore as explore
    from memhub.rig.exploring import find_failure as find_failure
    from memhub.rig.hazard_view import HazardView as HazardView
    from memhub.rig.log_replay import LogDifference as LogDifference
    from memhub.rig.log_replay import LogReplay as LogReplay
    from memhub.rig.log_replay import Shrunk as Shrunk
    from memhub.rig.log_replay import replay_log as replay_log
    from memhub.rig.log_replay import shrink_log as shrink_log
    from memhub.rig.log_view import Found as Found
    from memhub.rig.log_view import LogView as LogView
    from memhub.rig.outcome import Mismatch as Mismatch
    from memhub.rig.outcome import Replay as Replay
    from memhub.rig.replaying import replay as replay
    from memhub.rig.service_process import ServiceProcess as ServiceProcess
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

_HOMES: Final = {
    "ArchReport": "arch_check",
    "AsyncClient": "awaiting_client",
    "BlockingRigClient": "clients",
    "Clients": "clients",
    "DriverTrace": "traces",
    "Finding": "exploring",
    "Found": "log_view",
    "LogDifference": "log_replay",
    "LogReplay": "log_replay",
    "HazardView": "hazard_view",
    "LogView": "log_view",
    "MachineTrace": "traces",
    "Mismatch": "outcome",
    "OrderFailed": "exploring",
    "Replay": "outcome",
    "ServiceProcess": "service_process",
    "Shrunk": "log_replay",
    "Simulation": "simulation",
    "SimulationError": "simulation",
    "Step": "simulation",
    "TraceError": "traces",
    "TypesTrace": "traces",
    "VirtualClock": "virtual_clock",
    "check_arch": "arch_check",
    "explore": "exploring",
    "find_failure": "exploring",
    "parse_trace": "traces",
    "replay": "replaying",
    "replay_log": "log_replay",
    "shrink_log": "log_replay",
    "trace_lines": "traces",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'memhub.rig' has no attribute {name!r}")

    from importlib import import_module

    value = getattr(import_module(f"memhub.rig.{home}"), name)
    globals()[name] = value

    return value
