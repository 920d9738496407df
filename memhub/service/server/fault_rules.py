"""FAULTS: fault rules and sicknesses of the hub, and what becomes of the hardware of its machines.

They are listed, added, removed and so on by clients with the right to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.core.faults.fault_rules import rule_of_dict
from memhub.core.health.sickness import is_sickness, sickness_of_dict
from memhub.errors import InvalidArgument, NoSuchRange
from memhub.service.server.rights import INJECT_FAULTS
from memhub.service.server.rule_texts import read_rule_text
from memhub.service.server.session import DEFAULT_MACHINE
from memhub.service.wire.administration import FAULT_WORDS

if TYPE_CHECKING:
    from memhub.core.health.health import ActiveSickness
    from memhub.core.health.sickness import Sickness
    from memhub.service import wire
    from memhub.service.server.session import Session

    Answer = wire.Message | None
    Found = list[dict[str, Any]]

_EVERY: Final = "every machine"


def answer_faults(session: Session, it: wire.Faults) -> Answer:
    """FAULTS."""
    if it.what not in FAULT_WORDS:
        known = ", ".join(FAULT_WORDS)
        raise InvalidArgument(f"FAULTS asks to {it.what!r:.80}, not to {known}")

    if it.what == "list":
        if it.rule:
            raise InvalidArgument(f"FAULTS lists all rules, and {it.rule!r:.80} is given beside")

        found = _list_rules(session)
    elif it.what == "add":
        found = [_add_rule(session, it.rule)]
    elif it.what == "remove":
        found = [_remove_rule(session, it.rule)]
    else:
        found = _ask_hardware(session, it.what, it.rule)

    return session.tasks.send_text(it, session.tasks.to_json(found))


def _may_touch(session: Session, machine: str | None) -> bool:
    """Whether the client may inject faults there; None is every machine."""
    return bool(session.rights_on(machine or "") & INJECT_FAULTS)


def _require_right(session: Session, machine: str | None) -> None:
    session.check_rights("fault", INJECT_FAULTS, machine or "", machine or _EVERY)


def _require_hardware_right(session: Session, given: str) -> None:
    """As for a rule, but no name stands for the default machine."""
    name = given or session.hub.default
    session.check_rights("fault", INJECT_FAULTS, name, given or DEFAULT_MACHINE)


def _list_rules(session: Session) -> Found:
    hub = session.hub
    rules = [it.as_dict() for it in hub.faults if _may_touch(session, it.rule.machine)]
    sick = [it.as_dict() for it in hub.hardware if _may_touch(session, it.sickness.machine)]

    return [*rules, *sick]


def _add_rule(session: Session, text: str) -> dict[str, Any]:
    try:
        given = read_rule_text(text, strings=session.tasks.wants_strings)
        if is_sickness(given):
            return _sicken(session, sickness_of_dict(given))

        rule = rule_of_dict(given)
        _require_right(session, rule.machine)
        _refuse_hidden(session, rule.name)
        if session.hub.hardware.find(rule.name) is not None:
            raise ValueError(f"there is a sickness {rule.name!r} already")

        return session.hub.faults.add(rule).as_dict()
    except (ValueError, TypeError) as error:
        raise InvalidArgument(str(error)) from None


def _refuse_hidden(session: Session, name: str) -> None:
    """Refuse a name of what the client may not touch, without a word of what has it."""
    hub = session.hub
    machines = [it.rule.machine for it in hub.faults if it.rule.name == name]
    machines += [it.sickness.machine for it in hub.hardware if it.sickness.name == name]
    if not all(_may_touch(session, machine) for machine in machines):
        raise ValueError(f"the name {name!r} is in use")


def _sicken(session: Session, sickness: Sickness) -> dict[str, Any]:
    hub, who = session.hub, session.process.principal
    _require_hardware_right(session, sickness.machine or "")
    _refuse_hidden(session, sickness.name)
    if sickness.name in {it.rule.name for it in hub.faults}:
        raise ValueError(f"there is a fault rule {sickness.name!r} already")

    name = hub.hardware.add(sickness, by=who).sickness.name
    active = hub.hardware.find(name)
    assert active is not None

    return active.as_dict()


def _remove_rule(session: Session, name: str) -> dict[str, Any]:
    sick = session.hub.hardware.find(name)
    if sick is not None:
        return _cure(session, sick)

    found = next((rule for rule in session.hub.faults if rule.rule.name == name), None)
    if found is None or not _may_touch(session, found.rule.machine):
        _require_right(session, None)
        raise NoSuchRange(f"there is no fault rule {name!r}")

    found.remove()

    return found.as_dict()


def _cure(session: Session, active: ActiveSickness) -> dict[str, Any]:
    if not _may_touch(session, active.sickness.machine):
        session.raise_missing_right("fault", _EVERY, INJECT_FAULTS)

    removed = session.hub.hardware.remove(active.sickness.name, by=session.process.principal)

    return removed.as_dict()


def _ask_hardware(session: Session, what: str, machine: str) -> Found:
    hardware, who = session.hub.hardware, session.process.principal
    _require_hardware_right(session, machine)
    if what == "check":
        return [it.as_dict() for it in hardware.check_cpus(machine, by=who)]

    act = {"reinit": hardware.reinit, "suspend": hardware.suspend, "resume": hardware.resume}
    act[what](machine, by=who)

    return []
