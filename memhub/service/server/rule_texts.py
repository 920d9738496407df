"""The JSON text of a fault rule, as FAULTS brings it."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from memhub.arguments import is_deep
from memhub.service.wire.wide import narrow

#: What an answer says of a rule beside the rule itself; a client may send it back.
_COUNTS: Final = ("seen", "injected")
#: The members that are true or false; to Python, these are numbers too.
_TRUTHS: Final = ("misses_stores", "reinit")


def read_rule_text(text: str, *, strings: bool) -> dict[str, Any]:
    """Read a rule as a client gives it, also one that it got as an answer.

    Args:
        text: a JSON object.
        strings: the client asked for FEATURE_STRINGS, and may write 64-bit numbers as strings.

    Returns:
        the members of the rule; integers are exact, and the counts of an answer are left out.

    Raises:
        ValueError: it is no JSON object, has a member twice, or a truth value where none can be.
    """
    try:
        found: Any = json.loads(
            text, object_pairs_hook=_take_members, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise ValueError("a fault rule is a JSON object without others inside") from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"a fault rule is a JSON object, and {text!r:.80} is none: {error}"
        ) from None

    if is_deep(found):
        raise ValueError("a fault rule is a JSON object without others inside")

    if not isinstance(found, dict):
        raise ValueError("a fault rule is a JSON object")

    rule = {name: value for name, value in found.items() if name not in _COUNTS}
    for name, value in rule.items():
        if isinstance(value, bool) and name not in _TRUTHS:
            raise ValueError(f"{name} is {json.dumps(value)}, which no such member can be")

    return narrow(rule) if strings else rule


def _take_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"a fault rule has {name!r:.80} twice")

        found[name] = value

    return found


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number of JSON")
