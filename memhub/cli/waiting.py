"""How a command waits that goes on until it is stopped."""

from __future__ import annotations

import select
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from memhub.cli.terminal import output

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How often files are looked at, seconds. A poll works on every file system, also on those whose
#: files are written by another computer, and four looks a second cost nothing that can be measured.
LOOK_EVERY: Final = 0.25


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command in order, with exit code 0; SIGINT ends it with 130."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def wait_for_more() -> None:
    """Flush standard output, and wait until files are to be looked at again.

    Raises:
        BrokenPipeError: nobody reads standard output any more.
    """
    with output():
        sys.stdout.flush()

    try:
        fd = sys.stdout.fileno()
    except (OSError, ValueError):
        time.sleep(LOOK_EVERY)
        return

    # without events asked for, only the end of the reader is told
    poll = select.poll()
    poll.register(fd, 0)
    if poll.poll(LOOK_EVERY * 1000):
        raise BrokenPipeError
