"""Each sentence of the protocol's page that says a rule has its tests."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from service.page_rules import SECTIONS, rules_of

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "protocol.md"
LIST = TESTS / "data" / "protocol_rules.txt"


@cache
def listed() -> dict[tuple[str, str], list[str]]:
    """The tests of each sentence, by section and sentence."""
    found: dict[tuple[str, str], list[str]] = {}
    section, tests = "", list[str]()
    for line in LIST.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("    "):
            tests.append(line.strip())
        elif line and not line.startswith("# "):
            tests = found[section, line] = []

    return found


def test_each_rule_of_the_page_is_listed_and_no_other() -> None:
    """A sentence that is changed has to be looked up again: do its tests still show it?"""
    rules = list(rules_of(PAGE.read_text(encoding="utf-8")))

    assert {section for section, _ in rules} == set(SECTIONS)
    assert [rule for rule in rules if rule not in listed()] == []
    assert [rule for rule in listed() if rule not in rules] == []


def test_each_rule_has_tests_that_exist() -> None:
    defined = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8"))
    }
    lacking = {
        rule: tests
        for rule, tests in listed().items()
        if tests != ["-"] and not (tests and defined.issuperset(tests))
    }

    assert lacking == {}
