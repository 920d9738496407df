"""The check in a process of its own, which a driver may end without ending the caller's."""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Any, Final

from memhub.core.asking.asked_driver import AskedDriver, CallMark
from memhub.rig.arch_check.check import check_arch
from memhub.rig.arch_check.finding import RULES, ArchReport, Finding

if TYPE_CHECKING:
    from memhub.core.drivers.driver import Arch

_NAME_MOST: Final = 32
_INTERRUPTED: Final = 130
_FAILED: Final = 1


class SharedMark(CallMark):
    """Notes the method of the call under way where another process sees it."""

    __slots__ = ("_held", "_memory")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        super().__init__()

    @property
    def call(self) -> tuple[AskedDriver, str] | None:
        """As in CallMark."""
        return self._held

    @call.setter
    def call(self, call: tuple[AskedDriver, str] | None) -> None:
        self._held = call
        name = b"" if call is None else call[1].encode()
        self._memory[:_NAME_MOST] = name[:_NAME_MOST].ljust(_NAME_MOST, b"\0")

    @property
    def method(self) -> str:
        """The method of the call under way, in whichever process; empty between calls."""
        return self._memory[:_NAME_MOST].rstrip(b"\0").decode()


def check_in_child(arch: Arch, **asked: Any) -> ArchReport:  # noqa: ANN401 - those of check_arch
    """Run `check_arch` in a child process; what ends that is found like another fault.

    Whatever the driver writes to standard output goes to standard error.

    Args:
        arch: the architecture.
        asked: the other arguments of `check_arch`.
    """
    mark = SharedMark()
    read, write = os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings():
        # other threads of the process stay with the parent, and the child needs none of them
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()

    if child == 0:
        os.close(read)
        _check_and_exit(write, arch, {**asked, "mark": mark})

    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()

    _, status = os.waitpid(child, 0)
    with contextlib.suppress(pickle.UnpicklingError, EOFError):
        report = pickle.loads(told)  # noqa: S301 - our own child's
        if isinstance(report, ArchReport):
            return report

    code = os.waitstatus_to_exitcode(status)
    if code == _INTERRUPTED:
        raise KeyboardInterrupt

    method = mark.method
    ended = f"signal {-code}" if code < 0 else f"exit status {code}"
    where = f"{method} of architecture {arch.name}" if method else f"architecture {arch.name}"
    finding = Finding("raises", where, f"ended the process with {ended}", RULES["raises"])

    return ArchReport(arch.name, (finding,), 0, is_complete=False)


def _check_and_exit(pipe: int, arch: Arch, asked: dict[str, Any]) -> None:
    leave = os._exit
    status = _FAILED
    try:
        with contextlib.suppress(OSError):
            os.dup2(2, 1)

        report = check_arch(arch, **asked)
        with os.fdopen(pipe, "wb") as told:
            told.write(pickle.dumps(report))

        status = 0
    except KeyboardInterrupt:
        status = _INTERRUPTED
    except BaseException:  # noqa: BLE001 - nothing above is this process's
        traceback.print_exc()
    finally:
        leave(status)
