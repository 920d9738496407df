"""The conformance kit for architectures: what every range driver has to keep to.

finding   the rules by name, and what is found       check   `check_arch`
"""

from __future__ import annotations

from memhub.rig.arch_check.check import check_arch as check_arch
from memhub.rig.arch_check.finding import RULES as RULES
from memhub.rig.arch_check.finding import ArchReport as ArchReport
from memhub.rig.arch_check.finding import Finding as Finding
from memhub.rig.arch_check.finding import NotSound as NotSound
