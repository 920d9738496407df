"""Machines whose memory is not coherent: no snapshot, and no fork, has what their caches hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from memhub import AuditLog, Hub, Snapshot
from memhub.errors import NotSupported
from shell.kit import ARCHES, PAT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Call = Callable[[Hub, Snapshot], Any]

RULE = "pat has memory that is not coherent; a snapshot or fork does not keep what its caches hold"
CALLS: dict[str, Call] = {
    "snapshot": lambda hub, _: hub.snapshot(),
    "snapshot of it": lambda hub, _: hub.snapshot("pat"),
    "fork": lambda hub, _: hub.fork(),
    "restore": lambda hub, then: hub.restore(then),
    "restore of it": lambda hub, then: hub.restore(then, "pat"),
    "reset": lambda hub, _: hub.reset(),
    "reset of it": lambda hub, _: hub.reset("pat"),
}


def coherent() -> Snapshot:
    """A snapshot of the same machines with coherent memory."""
    hub = Hub([replace(PAT, name="other"), PAT], arches=ARCHES)
    hub.begin()
    then = hub.snapshot()
    hub.end()

    return then


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_each_call_is_refused_and_nothing_changes(tmp_path: Path, call: Call) -> None:
    log = tmp_path / "log"
    specs = [replace(PAT, name="other"), replace(PAT, coherent=False)]
    hub = Hub(specs, arches=ARCHES, log=AuditLog.open(log))
    hub.begin()
    before = log.read_bytes()
    with pytest.raises(NotSupported) as refused:
        call(hub, coherent())

    assert RULE in str(refused.value)
    assert log.read_bytes() == before
    hub.end()


def test_a_coherent_machine_beside_it_is_taken_and_goes_back() -> None:
    specs = [replace(PAT, name="other"), replace(PAT, coherent=False)]
    hub = Hub(specs, arches=ARCHES)
    hub.begin()
    then = hub.snapshot("other")
    hub.restore(then)
    hub.reset("other")
    assert hub.snapshot("other") == then
    hub.end()
