"""Requests about the hub as a whole: SUBSCRIBE, UNSUBSCRIBE and REPORT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.engine.group_commit import settle_commits
from memhub.errors import InvalidArgument
from memhub.hub.report import view_machine
from memhub.maps.describe import view_map
from memhub.service import wire
from memhub.service.server.rights import READ_RANGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.service.server.session import Session

    Answer = wire.Message | None

#: The members of a machine that a part of a report has, beside its name, architecture, kernel and
#: that one's files.
_PARTS: Final = {
    "claims": ("claims", "commits"),
    "waits": ("waits", "waits_for"),
    "hazards": ("hazards",),
    "map": ("slots",),
}

#: Unread events that a subscription may hold if it does not say how many.
_QUEUE_DEFAULT: Final = 1024


def subscribe_events(session: Session, it: wire.Subscribe) -> Answer:
    """SUBSCRIBE."""
    if it.machine:
        session.check_machine(it.machine, "subscribe")

    if it.options is not None and not session.tasks.features & wire.FEATURE_REFUSALS:
        raise InvalidArgument("SUBSCRIBE has options, and the client did not ask for REFUSALS")

    whole, events = not it.length, session.tasks.events
    size = it.queue or min(_QUEUE_DEFAULT, session.limits.unread_events)
    session.check_limit("subscribe", "subscriptions", len(events), "subscriptions are open")
    session.check_limit(
        "subscribe", "unread_events", events.held, "unread events may be held", size
    )
    try:
        subscription = session.hub.subscribe(
            machine=it.machine or None,
            machines=_visible_machines(session),
            base=None if whole else it.base,
            length=None if whole else it.length,
            failures=bool(it.options),
            size=size,
        )
    except ValueError as error:
        raise InvalidArgument(str(error)) from None

    return wire.Done(it.request, events.add(subscription))


def end_subscription(session: Session, it: wire.Unsubscribe) -> Answer:
    """UNSUBSCRIBE."""
    session.tasks.events.stop(it.subscription)

    return wire.Done(it.request)


def report_hub(session: Session, it: wire.Report) -> Answer:
    """REPORT."""
    if it.machine:
        session.check_machine(it.machine, "report")

    wanted = set(it.what.split(",")) if it.what else set()
    unknown = sorted(wanted - {"machines", "claims", "waits", "rates", "hazards", "map"})
    if unknown:
        named = f"part {unknown[0]!r:.80}" if unknown[0] else "part without a name"
        raise InvalidArgument(f"REPORT has no {named} ({it.what!r:.80})")

    tasks = session.tasks
    session.check_limit("report", "reports", len(tasks.reporting), "reports are being made")
    settle_commits(session.engine.commit)
    now, visible = session.engine.now(), _visible_machines(session)
    views = [
        _wanted_part(machine, now, wanted)
        for name, machine in session.hub.machines.items()
        if it.machine in ("", name) and name in visible
    ]
    service = session.describe_service() if not wanted or "rates" in wanted else None

    return tasks.start_report(it.request, _report_text(now.wall_ns, views, service, tasks.to_json))


def _visible_machines(session: Session) -> set[str]:
    """The machines that the client may look at; it is told of these only."""
    return {name for name in session.hub.machines if session.rights_on(name) & READ_RANGES}


def _wanted_part(machine: Machine, now: Instant, wanted: set[str]) -> dict[str, Any]:
    row = view_machine(machine, now)
    if wanted and "machines" not in wanted:
        keys = {"machine", "arch", "kernel", "files"}.union(*(_PARTS.get(it, ()) for it in wanted))
        row = {key: value for key, value in row.items() if key in keys}

    return {**row, **view_map(machine)} if "map" in wanted else row


def _report_text(
    wall_ns: int,
    views: Iterable[dict[str, Any]],
    service: dict[str, Any] | None,
    encode: Callable[[Any], bytes],
) -> Iterator[bytes]:
    """The JSON text of a report, one row of a list in each step.

    Args:
        wall_ns: the moment, nanoseconds since 1970.
        views: the machines (`memhub.hub.report.view_machine`), with the parts that are wanted.
        service: what is said of the service, or None.
        encode: makes the text of an object.
    """
    yield b'{"wall":' + orjson.dumps(wall_ns / 1e9) + b',"machines":['
    for place, view in enumerate(views):
        yield b",{" if place else b"{"
        yield from _machine_text(view, encode)
        yield b"}"

    yield b"]}" if service is None else b'],"service":' + encode(service) + b"}"


def _machine_text(view: dict[str, Any], encode: Callable[[Any], bytes]) -> Iterator[bytes]:
    comma = b""
    for key, part in view.items():
        if isinstance(part, map):
            yield comma + orjson.dumps(key) + b":["
            for place, row in enumerate(part):
                yield (b"," if place else b"") + encode(row)

            yield b"]"
        else:
            yield comma + encode({key: part})[1:-1]

        comma = b","
