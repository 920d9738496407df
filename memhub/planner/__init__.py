"""The fewest variable MTRRs for a wanted map of memory types, or what loses least.

wanted      a wanted map: ranges and the type that each is to have
block_tree  the map as a tree of aligned blocks, equal blocks once
fewest      the fewest registers            least_loss   what at most so many registers lose
kept        a map to keep with fewer of some registers
check       the map that registers give, computed without the planner
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.planner.check import find_difference as find_difference
from memhub.planner.fewest import NoPlan as NoPlan
from memhub.planner.fewest import Plan as Plan
from memhub.planner.fewest import Register as Register
from memhub.planner.fewest import plan_registers as plan_registers
from memhub.planner.mixing import TYPES as TYPES
from memhub.planner.wanted import ANY as ANY
from memhub.planner.wanted import FIXED as FIXED
from memhub.planner.wanted import Stretch as Stretch
from memhub.planner.wanted import Want as Want
from memhub.planner.wanted import WantedMap as WantedMap

if TYPE_CHECKING:
    from memhub.planner.least_loss import LossyPlan as LossyPlan
    from memhub.planner.least_loss import plan_least_loss as plan_least_loss


def __getattr__(name: str) -> object:
    # What loses least needs numpy, which is slow to load.
    if name not in ("LossyPlan", "plan_least_loss"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    from memhub.planner import least_loss

    return getattr(least_loss, name)
