"""Machines without a file: an ordinary one of any architecture, and real ones with their faults.

`pc()` is a machine of which nothing needs to be said. `load("acer-aspire-one")` is one of the real
computers that come with memhub, exactly as its firmware left it; `describe` and `search` say what
is odd about each, as `memhub machines` does.
"""

from __future__ import annotations

from memhub.machines.library import KINDS as KINDS
from memhub.machines.library import Oddity as Oddity
from memhub.machines.library import RealMachine as RealMachine
from memhub.machines.library import describe as describe
from memhub.machines.library import load as load
from memhub.machines.library import names as names
from memhub.machines.library import search as search
from memhub.machines.ordinary import pc as pc
