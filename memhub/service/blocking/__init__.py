"""The blocking client, for scripts and one-shot commands: a socket, and nothing slow to load.

client  the hub's face, and who reads the socket for whom    handle  an open device
"""

from __future__ import annotations

from memhub.service.blocking.client import BlockingClient as BlockingClient
from memhub.service.blocking.handle import BlockingHandle as BlockingHandle
