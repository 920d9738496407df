"""FAULTS: the hub's fault rules, listed, added and removed by clients with the right to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from memhub.core.fault_rules import rule_of_dict
from memhub.errors import InvalidArgument, NoSuchRange
from memhub.service.server.rights import INJECT_FAULTS

if TYPE_CHECKING:
    from memhub.faults import ActiveRule
    from memhub.service import wire
    from memhub.service.server.session import Session

    Answer = wire.Message | None


def answer_faults(session: Session, it: wire.Faults) -> Answer:
    """FAULTS."""
    if it.what == "list":
        found = [rule for rule in session.hub.faults if _may_touch(session, rule.rule.machine)]
    elif it.what == "add":
        found = [_add_rule(session, it.rule)]
    else:
        found = [_remove_rule(session, it.rule)]

    text = session.tasks.to_json([rule.as_dict() for rule in found])

    return session.tasks.send_text(it, text)


def _may_touch(session: Session, machine: str | None) -> bool:
    """Whether the client may inject faults there; None is every machine."""
    return bool(session.rights_on(machine or "") & INJECT_FAULTS)


def _require_right(session: Session, machine: str | None) -> None:
    if not _may_touch(session, machine):
        session.raise_missing_right("fault", machine or "every machine", INJECT_FAULTS)


def _add_rule(session: Session, text: str) -> ActiveRule:
    try:
        found: Any = orjson.loads(text)
        if not isinstance(found, dict):
            raise ValueError("a fault rule is a JSON object")

        rule = rule_of_dict(found)
        _require_right(session, rule.machine)

        return session.hub.faults.add(rule)
    except (ValueError, TypeError) as error:
        raise InvalidArgument(str(error)) from None


def _remove_rule(session: Session, name: str) -> ActiveRule:
    found = next((rule for rule in session.hub.faults if rule.rule.name == name), None)
    if found is None or not _may_touch(session, found.rule.machine):
        _require_right(session, None if found is None else found.rule.machine)
        raise NoSuchRange(f"there is no fault rule {name!r}")

    found.remove()

    return found
