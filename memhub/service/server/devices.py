"""SHOW: the devices of a machine, and what one of them shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.devices.shown import describe_devices, find_shown, read_shown
from memhub.errors import InvalidArgument
from memhub.service.server.rights import READ_MEMORY
from memhub.service.wire.devices import SHOW_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.service import wire
    from memhub.service.server.session import Session

    Answer = wire.Message | None

_PIECE: Final = 1 << 16


def answer_show(session: Session, it: wire.Show) -> Answer:
    """SHOW."""
    if it.what not in SHOW_WORDS:
        known = ", ".join(SHOW_WORDS)
        raise InvalidArgument(f"SHOW asks for {it.what!r:.80}, not for {known}")

    session.check_machine(it.machine, "show")
    machine = session.engine.machine(it.machine)
    name = machine.name
    if it.what == "list":
        if it.device:
            raise InvalidArgument(f"SHOW lists all devices, and {it.device!r:.80} is given beside")

        return session.tasks.send_text(it, session.tasks.to_json(describe_devices(machine)))

    missing = READ_MEMORY & ~session.rights_on(name)
    if missing:
        session.raise_missing_right("show", name, missing)

    tasks = session.tasks
    session.check_limit("show", "reports", len(tasks.reporting), "reports are being made")
    device = find_shown(machine, it.device or None)

    return tasks.start_report(it.request, _pieces(read_shown(session.engine, machine, device)))


def _pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), _PIECE):
        yield data[at : at + _PIECE]
