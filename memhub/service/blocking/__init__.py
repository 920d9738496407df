"""The blocking client, for scripts and one-shot commands; it imports nothing that is slow to load.

client  a connection    handle  an open device    line  requests in flight, and who reads
"""

from __future__ import annotations

from memhub.service.blocking.client import BlockingClient as BlockingClient
from memhub.service.blocking.handle import BlockingHandle as BlockingHandle
