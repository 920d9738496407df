"""Effective memory types, for plugins: what `RangeDriver.types` returns and how to make one.

A module of its own because an architecture without ranges does not need it.
"""

from __future__ import annotations

from memhub.core.effective.typemap import Segment as Segment
from memhub.core.effective.typemap import TypeAnswer as TypeAnswer
from memhub.core.effective.typemap import TypeMap as TypeMap
