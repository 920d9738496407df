"""The blocking client's face on machines in this process.

client  the machines, made fresh    handle     an open device
passing_time  how they block        snapshots  machines taken, restored and reset
"""

from __future__ import annotations

from memhub.service.local.client import LocalClient as LocalClient
from memhub.service.local.handle import LocalHandle as LocalHandle
from memhub.service.local.passing_time import NeverAnswered as NeverAnswered
