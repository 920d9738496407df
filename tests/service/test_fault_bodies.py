"""What FAULTS takes and gives: its JSON bodies, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from memhub import FaultRule
from memhub.service import wire
from service.service_rig import RawClient, lab

if TYPE_CHECKING:
    from pathlib import Path

EXACT = wire.FEATURE_FAULTS | wire.FEATURE_STRINGS


async def ask(client: RawClient, what: str, rule: str = "") -> Any:
    """The JSON of the answer, or the error's name and reason."""
    answer = await client.ask(wire.Faults(0, what, rule))
    if isinstance(answer, wire.Error):
        return answer.name, answer.reason

    assert isinstance(answer, wire.Data)

    return json.loads(answer.data)


@pytest.mark.parametrize("what", ["LIST", "", "lists", "add "])
async def test_an_unknown_word_is_refused_and_the_connection_goes_on(
    tmp_path: Path, what: str
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        name, reason = await ask(client, what)
        assert (name, repr(what) in reason) == ("EINVAL", True)
        assert await ask(client, "list") == []
        client.close()


@pytest.mark.parametrize("features", [wire.FEATURE_FAULTS, EXACT])
async def test_a_client_can_give_back_the_rule_that_it_got(tmp_path: Path, features: int) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=features)
        rule = FaultRule("short", "few", op="read", base=1 << 63, length=4096, moved=(1 << 64) - 1)
        it.hub.faults.add(rule)
        (shown,) = await ask(client, "list")
        assert shown["seen"] == shown["injected"] == 0
        assert isinstance(shown["base"], str) == (features == EXACT)
        (removed,) = await ask(client, "remove", "few")
        assert await ask(client, "add", json.dumps(removed)) == [shown]
        assert [active.rule for active in it.hub.faults] == [rule]
        client.close()


async def test_numbers_as_strings_need_their_feature(tmp_path: Path) -> None:
    text = '{"action":"drop","base":"4096","length":"1"}'
    async with lab(tmp_path) as it:
        for features, refused in ((EXACT, False), (wire.FEATURE_FAULTS, True)):
            client = await RawClient.dial(it.address, features=features)
            answer = await ask(client, "add", text)
            assert (answer[0] == "EINVAL") is refused
            client.close()


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('{"action":"drop","base":18446744073709551616,"length":1}', "base 0x10000000000000000 is"),
        ('{"action":"drop","base":"18446744073709551616","length":"1"}', "base 0x1000000000000000"),
        ('{"action":"drop","action":"cut"}', "has 'action' twice"),
        ('{"action":"delay","delay":NaN}', "NaN is not a number of JSON"),
        ('{"action":"errno","errno":"EPROTO"}', "errno 'EPROTO' is none of"),
        ('{"action":"errno","errno":"EAGAIN"}', "errno 'EAGAIN' is none of"),
        ("[" * 20000, "without others inside"),
        *(
            (f'{{"action":"cut",{member}:{"[" * deep}{"]" * deep}}}', "without others inside")
            for member in ('"op"', '"nth"', '"name"', '"bogus"')
            for deep in (100, 900)
        ),
        ("", "a fault rule is a JSON object, and '' is none: Expecting value: line 1"),
        (r'{"action":"acme.x","options":{"word":"\ud800"}}', "word '\\ud800' holds half of a"),
        (r'{"action":"acme.x","options":{"\ud800":1}}', "option '\\ud800' holds half of a"),
        (r'{"action":"acme.x","options":{"\ud800":[]}}', "option '\\ud800' holds half of a"),
        ('{"action":"acme.x","options":{"n":1e999}}', "option n inf is not a finite number"),
        ('{"action":"acme.x","options":{"n":18446744073709551616}}', "does not fit 64 bits"),
        (r'{"action":"cut","name":"\ud800"}', "name '\\ud800' holds half of a surrogate pair"),
        (r'{"action":"cut","process":"\ud800"}', "process '\\ud800' holds half of a"),
        (r'{"action":"cut","machine":"\ud800"}', "machine '\\ud800' holds half of a"),
        (r'{"action":"\ud800"}', "action '\\ud800' holds half of a surrogate pair"),
        (r'{"action":"cut","\ud800":1}', "\\ud800"),
        (r'{"action":"cut","op":["\ud800"]}', "\\ud800"),
        (r'{"action":"errno","errno":"\ud800"}', "\\ud800"),
        (r'{"action":"stuck_slot","slot":0,"name":"\ud800"}', "holds half of a surrogate pair"),
        (r'{"action":"stuck_slot","slot":"\ud800"}', "\\ud800"),
        (r'{"action":"stuck_slot","slot":0,"\ud800":1}', "\\ud800"),
        ('{"action":"cut","nth":true}', "nth is true, which no such member can be"),
        ('{"action":"cut","probability":true}', "probability is true, which no such"),
        ('{"action":"stuck_slot","slot":false}', "slot is false, which no such member can be"),
        ('{"action":"cut","base":18446744073709551615,"length":2}', "ends past 2^64"),
        (r'"\ud800"', "a fault rule is a JSON object"),
        ('{"action":', """and '{"action":' is none: Expecting value: line 1 column 11"""),
    ],
)
async def test_a_rule_that_is_wrong_is_refused_by_its_value(
    tmp_path: Path, rule: str, words: str
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=EXACT)
        name, reason = await ask(client, "add", rule)
        assert (name, words in reason, reason) == ("EINVAL", True, reason)
        assert len(it.hub.faults) == 0
        client.close()


async def test_a_list_takes_no_rule(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=EXACT)
        name, reason = await ask(client, "list", "fault-1")
        assert (name, "'fault-1' is given beside" in reason) == ("EINVAL", True)
        client.close()
