"""Calls to the kernel of a hub's machine that come from no process: those of its drivers.

What each kernel is called for is said by its `ServedKernel`: Linux's `add`, `del`, `lookup` and so
on are in `memhub_linux.served`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from memhub.arguments import take_text
from memhub.core.deciding.failing import refusing_error
from memhub.core.deciding.kernel_requests import answer_call, refuse_call
from memhub.core.drivers.served_kernel import KernelCall
from memhub.core.health.failure import is_refusing
from memhub.errors import InvalidArgument, NotSupported

if TYPE_CHECKING:
    from memhub.core.served import Served
    from memhub.engine.engine import Engine


@final
class KernelCalls:
    """The other kernels than FreeBSD of one hub's machines, as their drivers call them.

    Each call is a record of the log; LogFailed (EIO) where it cannot be, and nothing has changed.

    Args:
        engine: the hub's synchronous half.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of(self, machine: str | None = None) -> Served:
        """The kernel of a machine (the default one if None): its state, and its lines at boot.

        Raises:
            NoSuchDevice: ENOENT; there is no such machine.
            NotSupported: EOPNOTSUPP; its kernel is FreeBSD.
        """
        found = self._engine.machine("" if machine is None else take_text("machine", machine))
        if found.served is None:
            raise NotSupported(f"the kernel of {found.name} is FreeBSD, which has no such calls")

        return found.served

    def call(self, op: str, /, *, machine: str | None = None, **args: Any) -> Any:  # noqa: ANN401
        """Call a machine's kernel, as a driver does; no claim of a process stops it.

        Args:
            op: the call.
            machine: the machine's name, or None for the default one.
            args: the call's arguments.

        Returns:
            what the kernel answers.

        Raises:
            DeviceError: the kernel's error; its lines are the reason. EAGAIN where the machine is
                suspended.
            InvalidArgument: EINVAL; the kernel has no such call for drivers, or an argument is
                missing or out of range.
            NotSupported: EOPNOTSUPP; the machine's kernel is FreeBSD.
            NoSuchDevice: ENOENT; there is no such machine.
        """
        served = self.of(machine)
        if op not in served.kernel.driver_ops:
            known = ", ".join(sorted(served.kernel.driver_ops))
            raise InvalidArgument(f"{op!r} is no call of a driver (calls: {known})")

        engine = self._engine
        now, target = engine.catch_up(), engine.machine(machine or "")
        call = KernelCall(op, args)
        if is_refusing(target):
            decision = refuse_call(target, None, call, now, refusing_error(target))
        else:
            decision = answer_call(target, None, call, now)

        engine.perform(target, decision)

        return decision.reply
