"""Requests about the hub as a whole: SUBSCRIBE, UNSUBSCRIBE and REPORT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.errors import InvalidArgument
from memhub.service import wire
from memhub.service.server.rights import READ_RANGES

if TYPE_CHECKING:
    from memhub.service.server.session import Session

    Answer = wire.Message | None


def subscribe_events(session: Session, it: wire.Subscribe) -> Answer:
    """SUBSCRIBE."""
    if it.machine:
        session.check_machine(it.machine, "subscribe")

    if it.options is not None and not session.tasks.features & wire.FEATURE_REFUSALS:
        raise InvalidArgument("SUBSCRIBE has options, and the client did not ask for REFUSALS")

    whole = not it.length
    try:
        subscription = session.hub.subscribe(
            machine=it.machine or None,
            machines=_visible_machines(session),
            base=None if whole else it.base,
            length=None if whole else it.length,
            failures=bool(it.options),
            size=min(it.queue, 1 << 16) or 1024,
        )
    except ValueError as error:
        raise InvalidArgument(str(error)) from None

    return wire.Done(it.request, session.tasks.forward_events(subscription))


def end_subscription(session: Session, it: wire.Unsubscribe) -> Answer:
    """UNSUBSCRIBE."""
    session.tasks.stop_forwarding(it.subscription)

    return wire.Done(it.request)


def report_hub(session: Session, it: wire.Report) -> Answer:
    """REPORT."""
    if it.machine:
        session.check_machine(it.machine, "report")

    wanted = {word for word in it.what.split(",") if word}
    unknown = wanted - {"machines", "claims", "waits", "rates"}
    if unknown:
        raise InvalidArgument(f"REPORT has no part {', '.join(sorted(unknown))}")

    visible = _visible_machines(session)
    whole = session.hub.report()
    whole["machines"] = [
        _wanted_part(row, wanted)
        for row in whole["machines"]
        if it.machine in ("", row["machine"]) and row["machine"] in visible
    ]
    if not wanted or "rates" in wanted:
        whole["service"] = session.describe_service()

    return session.tasks.send_text(it, session.tasks.to_json(whole))


def _visible_machines(session: Session) -> set[str]:
    """The machines that the client may look at; it is told of these only."""
    return {name for name in session.hub.machines if session.rights_on(name) & READ_RANGES}


def _wanted_part(row: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    if not wanted or "machines" in wanted:
        return row

    keys = {"machine", "arch"}
    keys |= {"claims", "commits"} if "claims" in wanted else set()
    keys |= {"waits", "waits_for"} if "waits" in wanted else set()

    return {key: value for key, value in row.items() if key in keys}
