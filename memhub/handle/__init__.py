"""The asynchronous face of an open device file.

Each method awaits a checkpoint first and then does its work in one go (`dispatch`), so that a
cancelled caller has either changed nothing or changed it whole, with its record. The `*_nowait`
methods are the same without the checkpoint.

base     open, closed, who          ranges   the ioctls, and what they say in Python's words
memory   read, write, seek          claims   claim, release, renew, wait
"""

from __future__ import annotations

from typing import final

from memhub.handle.claims import ClaimFace
from memhub.handle.memory import MemoryFace
from memhub.handle.ranges import RangeFace


@final
class Handle(MemoryFace, RangeFace, ClaimFace):
    """An open `/dev/mem` or `/dev/kmem`; made by `Hub.open` and `Process.open`.

    Close it, or use it in `async with` or `with`. A handle that is dropped unclosed is closed
    when it is collected, with a ResourceWarning.
    """
