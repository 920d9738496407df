"""Writes batches of OpenTelemetry logs to a file, one request a line: OTLP's JSON file format."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, Final

from memhub.shipping.failure import ShippingFailed
from memhub.shipping.otlp import encode_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memhub.shipping.follow import Found

_BLOCK: Final = 1 << 16


class OtlpFile:
    """A file that takes logs.

    Args:
        path: the file, or a pipe or device.
        host: name of the host that the records are from.
        goes_on: whether a file that has something is continued; otherwise it is refused.
        wall: wall clock, nanoseconds.

    Attributes:
        refused: always 0.

    Raises:
        OSError: the file cannot be opened.
        ShippingFailed: it has something and is not to be continued.
    """

    def __init__(
        self, path: str, *, host: str, goes_on: bool, wall: Callable[[], int] = time.time_ns
    ) -> None:
        self.refused = 0
        self._path = path
        self._host = host
        self._wall = wall
        self._fd = _open_for_append(path)
        state = os.fstat(self._fd)
        self._regular = stat.S_ISREG(state.st_mode)
        self._size = state.st_size
        if self._regular and self._size and not goes_on:
            self.close()
            raise ShippingFailed(
                f"{path} has something: give another name, or --state to go on in it", 2
            )

        if self._regular:
            self._cut_unfinished()

    def send(self, batch: Sequence[Found]) -> None:
        """Write a batch as one line, and wait until a file has it on the disk.

        Raises:
            OSError: it cannot be written; a file is cut back to what it had.
        """
        data = encode_batch(batch, self._host, self._wall()) + b"\n"
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]

            if self._regular:
                os.fsync(self._fd)
        except BrokenPipeError:
            raise
        except OSError as error:
            self._cut_back()
            raise OSError(error.errno, error.strerror, self._path) from error
        except BaseException:
            self._cut_back()
            raise

        self._size += len(data)

    def _cut_back(self) -> None:
        if self._regular:
            os.ftruncate(self._fd, self._size)

    def _cut_unfinished(self) -> None:
        """Cut off a last line that is not whole: its writer was killed, and sends it again."""
        end = self._size
        while end:
            start = max(0, end - _BLOCK)
            found = os.pread(self._fd, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break

            end = start

        if end != self._size:
            self._size = end
            self._cut_back()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_for_append(path: str) -> int:
    """Open a file for writing at its end, and for reading; a pipe or device for writing alone."""
    flags = os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    other = os.path.exists(path) and not os.path.isfile(path)  # noqa: PTH110, PTH113 - one call each

    return os.open(path, flags | (os.O_WRONLY if other else os.O_RDWR), 0o640)
