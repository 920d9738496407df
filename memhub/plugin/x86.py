"""MTRRs and PAT, for plugins: the range driver to build on, and effective types.

A module of its own because an architecture without ranges does not need it.
"""

from __future__ import annotations

from memhub.x86.mtrr_driver import MtrrDriver as MtrrDriver
from memhub.x86.mtrr_faults import why_fault as why_fault
from memhub.x86.mtrr_line import LINE_MAX as LINE_MAX
from memhub.x86.mtrr_line import LINE_TYPES as LINE_TYPES
from memhub.x86.mtrr_line import AddLine as AddLine
from memhub.x86.mtrr_line import BadLine as BadLine
from memhub.x86.mtrr_line import DisableLine as DisableLine
from memhub.x86.mtrr_line import read_line as read_line
from memhub.x86.mtrr_registers import compare_registers as compare_registers
from memhub.x86.mtrr_registers import power_on as power_on
from memhub.x86.mtrr_registers import registers_of_slot as registers_of_slot
from memhub.x86.mtrr_types import types_from_mtrrs as types_from_mtrrs
from memhub.x86.pat import PALETTES as PALETTES
from memhub.x86.pat import PAT_BYTES as PAT_BYTES
from memhub.x86.pat import Palette as Palette
from memhub.x86.pat import combine as combine
from memhub.x86.pat import types_from_pat as types_from_pat
from memhub.x86.registers import MSR_PAT as MSR_PAT
