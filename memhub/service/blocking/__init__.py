"""The blocking client, for scripts and one-shot commands: a socket, and nothing slow to load.

client  the hub's face    handle  an open device    line  requests in flight, and who reads
"""

from __future__ import annotations

from memhub.service.blocking.client import BlockingClient as BlockingClient
from memhub.service.blocking.handle import BlockingHandle as BlockingHandle
