"""Effective memory types, for plugins: what `RangeDriver.types` returns and how to make one.

A module of its own because it loads numpy, which an architecture without ranges does not need.
"""

from __future__ import annotations

from memhub.core.memtypes import Segment as Segment
from memhub.core.memtypes import TypeAnswer as TypeAnswer
from memhub.core.memtypes import TypeMap as TypeMap
from memhub.core.mtrrtypes import types_from_mtrrs as types_from_mtrrs
