"""The order in which the supervisor takes and serves calls, with a listener that is none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from memhub.exec.context import Context
from memhub.exec.devices import OpenDevices
from memhub.exec.filter import Window
from memhub.exec.host import HostDevices
from memhub.exec.kernel import Listener, Notification
from memhub.exec.lookup import Lookup
from memhub.exec.machine import X86_64
from memhub.exec.names import DeviceNames
from memhub.exec.resolve import Resolver
from memhub.exec.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from exec.exec_rig import FakeBackend

CALLS = 5


class FakeListener:
    """Has five calls waiting from the start; a sixth comes while the second is served."""

    def __init__(self) -> None:
        self.fd = os.eventfd(CALLS, os.EFD_SEMAPHORE | os.EFD_CLOEXEC)
        self.events: list[tuple[str, int]] = []
        self.after_last: Callable[[], object] = lambda: None
        self._taken = 0

    def receive(self) -> Notification:
        os.eventfd_read(self.fd)
        self._taken += 1
        self.events.append(("receive", self._taken))

        return Notification(
            self._taken, os.getpid(), X86_64.calls["dup"], X86_64.audit_arch, (0, 0, 0, 0, 0, 0)
        )

    def proceed(self, call: Notification) -> bool:
        self.events.append(("answer", call.id))
        if call.id == 2:
            os.eventfd_write(self.fd, 1)

        if call.id == CALLS + 1:
            self.after_last()

        return True


def test_calls_that_wait_are_received_before_any_is_served(backend: FakeBackend) -> None:
    """Until it is received, a signal makes a call fail with EINTR."""
    listener, lookup, names = FakeListener(), Lookup(), DeviceNames(["/dev/mem"])
    context = Context(
        abi=X86_64,
        listener=cast("Listener", listener),
        backend=backend,
        devices=OpenDevices(),
        names=names,
        window=Window(896, 1024),
        lookup=lookup,
        resolver=Resolver(lookup, names),
        hosts=HostDevices(),
        complain=print,
    )
    child = os.pidfd_open(os.getpid())
    supervisor = Supervisor(context, child, lambda: None)
    listener.after_last = supervisor.stop
    supervisor.run()
    os.close(child)
    os.close(listener.fd)

    first = [("receive", number) for number in range(1, CALLS + 1)]
    assert listener.events == [
        *first,
        ("answer", 1),
        ("answer", 2),
        ("receive", CALLS + 1),
        *(("answer", number) for number in range(3, CALLS + 2)),
    ]
