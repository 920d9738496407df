"""One sequence of requests over several kernels: where they part.

script     requests of a text: memcontrol(8)'s, or lines for `/proc/mtrr`
log_script the same of an audit log                   log_calls  and of calls to other kernels in it
kernels    who is asked: architectures, and kernels of plugins, on machines of one description
running    the requests put to each, and what the answers come to
outcome    answers, maps, and where kernels part
table      the same for 80 columns             picture    and as a picture
"""

from __future__ import annotations

from memhub.compare.kernels import UnknownKernel as UnknownKernel
from memhub.compare.kernels import choose_kernels as choose_kernels
from memhub.compare.kernels import ordinary_machine as ordinary_machine
from memhub.compare.log_script import LogScript as LogScript
from memhub.compare.log_script import Omission as Omission
from memhub.compare.log_script import read_log as read_log
from memhub.compare.outcome import Outcome as Outcome
from memhub.compare.running import compare as compare
from memhub.compare.script import Request as Request
from memhub.compare.script import ScriptError as ScriptError
from memhub.compare.script import known_script as known_script
from memhub.compare.script import parse_script as parse_script
