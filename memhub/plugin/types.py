"""Effective memory types, for plugins: what `RangeDriver.types` returns and how to make one.

A module of its own because it loads numpy, which an architecture without ranges does not need.
"""

from __future__ import annotations

from memhub.core.effective.mtrrtypes import types_from_mtrrs as types_from_mtrrs
from memhub.core.effective.pat import PALETTES as PALETTES
from memhub.core.effective.pat import PAT_BYTES as PAT_BYTES
from memhub.core.effective.pat import Palette as Palette
from memhub.core.effective.pat import combine as combine
from memhub.core.effective.pat import types_from_pat as types_from_pat
from memhub.core.effective.typemap import Segment as Segment
from memhub.core.effective.typemap import TypeAnswer as TypeAnswer
from memhub.core.effective.typemap import TypeMap as TypeMap
