"""Lint: each rule finds what it is for, in a log written by hand; plugins add rules."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from analysis.logs import (
    EMPTY,
    UC,
    WB,
    WC,
    attach,
    change,
    closed,
    opened,
    record,
    who,
    write_log,
)
from memhub.analysis import Analysis, lint
from memhub.analysis.lint import LintReport, Rule, RuleBook, hookimpl, load_rules, run_rules
from memhub.analysis.rules import OWN_RULES
from memhub.audit import AuditLog
from plugins.distribution import install

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clirun import Run

A, B = ("a", 1), ("b", 2)
HIGH = 0xFFFF_FFFF_0000_0000
WC_A = (HIGH, 0x1000, WC, "A")
UC_B = (HIGH, 0x1000, UC, "B")
BUSY = {"errno": "EBUSY", "reason": "claimed by b", "holder": "b", "holder_id": 2}


def refused(at: float, errno: str) -> dict[str, Any]:
    said = {"errno": errno, "reason": f"it is {errno}"}

    return record("request.set", at, **who(*A), op="update", base=HIGH, length=0x1000, **said)


def claim(event: str, at: float, by: tuple[str, int] = A, **members: Any) -> dict[str, Any]:
    made = {"fence": 7, "claim": 7, "base": HIGH, "length": 0x1000, "slots": [0]}

    return record(event, at, **who(*by), **{**made, **members})


def wait(cause: str, errno: str | None) -> list[dict[str, Any]]:
    members = {**who(*A), "op": "claim", "base": HIGH, "length": 0x1000, "wait": 1}
    by = {"holder": "b", "holder_id": 2}

    return [
        record("wait.begin", 1, **members, **by),
        record("wait.end", 3.5, **members, **by, cause=cause, errno=errno, duration_ns=2500000000),
    ]


def flaps() -> list[dict[str, Any]]:
    empty_to_wc = [change(at, A, 0, EMPTY, WC_A) for at in (1, 5)]
    wc_to_empty = [change(at, A, 0, WC_A, EMPTY) for at in (3, 61)]

    return sorted([*empty_to_wc, *wc_to_empty], key=lambda it: it["mono_ns"])


def two(one: Any, other: Any) -> list[dict[str, Any]]:
    return [attach(0, [one, other])]


#: What makes each rule find something, and the words of the finding.
CASES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "driver-failed": ([refused(1, "EIO")], "a: it is EIO"),
    "deadlock": ([refused(1, "EDEADLK")], "a: it is EDEADLK"),
    "foreign-change": (
        [opened(0, A), change(1, A, 0, EMPTY, WC_A), change(2, B, 0, WC_A, UC_B), opened(3, B)],
        "b: overwrite of 0xffffffff00000000/0x1000, set by a",
    ),
    "claim-broken": (
        [claim("claim.take", 1), claim("claim.break", 2, cause="break", reason="why not")],
        "the hub broke the claim of a on 0xffffffff00000000/0x1000: why not",
    ),
    "claim-lost": (
        [claim("claim.take", 1), claim("claim.release", 2, cause="disconnect")],
        "a lost its claim on 0xffffffff00000000/0x1000: disconnect",
    ),
    "lease-ran-out": (
        [claim("claim.take", 1), claim("claim.expire", 2, cause="expire")],
        "a lost its claim on 0xffffffff00000000/0x1000: expire",
    ),
    "wait-timed-out": (
        wait("timeout", "ETIMEDOUT"),
        "a waited 2.500 s for 0xffffffff00000000/0x1000, held by b",
    ),
    "range-flaps": (flaps(), "0xffffffff00000000/0x1000: 4 changes, 1 of them in bursts"),
    "table-full": ([refused(1, "ENOSPC")], "a: it is ENOSPC"),
    "slot-duplicate": (
        two(WC_A, (*WC_A[:3], "other")),
        "slot 1 0xffffffff00000000/0x1000 and slot 0 0xffffffff00000000/0x1000",
    ),
    "slot-shadowed": (
        two((HIGH, 0x4000, UC, ""), (HIGH + 0x1000, 0x1000, WB, "")),
        "slot 1 0xffffffff00001000/0x1000 and slot 0 0xffffffff00000000/0x4000",
    ),
    "slots-mergeable": (
        two((HIGH + 0x2000, 0x1000, WC, ""), (HIGH + 0x3000, 0x1000, WC, "")),
        "slot 0 0xffffffff00002000/0x1000 and slot 1 0xffffffff00003000/0x1000",
    ),
    "range-left": (
        [opened(0, A), change(1, A, 0, EMPTY, WC_A), closed(2, A)],
        "a left 0xffffffff00000000/0x1000 in slot 0",
    ),
    "claim-held": (
        [claim("claim.take", 1), record("device.detach", 61)],
        "a held 0xffffffff00000000/0x1000 for 60.000 s",
    ),
}

#: What is close to what a rule finds, and is in order.
FINE: dict[str, list[dict[str, Any]]] = {
    "linux-off": [{**opened(1, A), "device": "/proc/mtrr", "errno": "EIO", "reason": "off"}],
    "given-back": [claim("claim.take", 1), claim("claim.release", 2, cause="request")],
    "closed": [claim("claim.take", 1), claim("claim.release", 2, cause="close")],
    "granted": wait("granted", None),
    "busy": [record("request.set", 1, **who(*A), op="update", **BUSY)],
    "own": [opened(0, A), change(1, A, 0, EMPTY, WC_A), change(2, A, 0, WC_A, UC_B)],
    "restarted": [
        opened(0, ("a", 9)), change(1, A, 0, EMPTY, WC_A),
        change(2, ("a", 9), 0, WC_A, (*WC_A[:2], UC, "A")),
    ],
    "undone": [
        opened(0, B), change(1, A, 0, EMPTY, WC_A),
        {**change(2, B, 0, WC_A, EMPTY), "event": "undo", "cause": "undo"},
    ],
    "slowly": [
        change(1, A, 0, EMPTY, WC_A), change(90, A, 0, WC_A, EMPTY),
        change(180, A, 0, EMPTY, WC_A), change(270, A, 0, WC_A, EMPTY),
    ],
    "apart": two((HIGH + 0x1000, 0x1000, WC, ""), (HIGH + 0x2000, 0x1000, WC, "")),
    "other-type": two((HIGH, 0x1000, WC, ""), (HIGH + 0x1000, 0x1000, WB, "")),
    "inside-other-type": two((HIGH, 0x4000, WB, ""), (HIGH + 0x1000, 0x1000, WC, "")),
    "empty": two((HIGH, 0x1000, 2, ""), (HIGH, 0x1000, 2, "")),
    "top": two(((1 << 64) - 0x1000, 0x1000, WC, ""), (0, 0x1000, WC, "")),
}  # fmt: skip


def on(machine: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records on a machine of this name, which starts before them."""
    starts = [] if records[0]["event"] == "device.attach" else [attach(0, [EMPTY])]

    return [{**it, "machine": machine} for it in (*starts, *records)]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analysis]:
    path = tmp_path_factory.mktemp("lint") / "a.jsonl"
    records = [
        it
        for name, made in ({k: v[0] for k, v in CASES.items()} | FINE).items()
        for it in on(name, made)
    ]
    write_log(path, records)
    with Analysis([path]) as analysis:
        yield analysis


@pytest.fixture(scope="module")
def report(log: Analysis) -> LintReport:
    return run_rules(log, load_rules(installed=False))


@pytest.mark.parametrize("name", CASES)
def test_a_rule_finds_what_it_is_for(report: LintReport, name: str) -> None:
    found = [it for it in report.findings if it.machine == name]

    assert [(it.rule, it.message) for it in found] == [(name, CASES[name][1])]
    assert found[0].seq is not None


@pytest.mark.parametrize("name", FINE)
def test_what_is_in_order_is_not_found(report: LintReport, name: str) -> None:
    assert [it for it in report.findings if it.machine == name] == []


def test_every_rule_has_a_case() -> None:
    rules = {rule.name for rule in OWN_RULES}

    assert rules - CASES.keys() == {"log-cut", "log-unclosed"}


def test_what_became_of_the_log_itself_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    log = AuditLog.open(path, log_id="killed")
    log.record(opened(0, A))
    log.flush()
    log.writer.require_sink().close()  # as a kill does
    with path.open("ab") as file:
        file.write(b'{"v":1,"seq":3')

    write_log(path, [opened(1, A)])
    rules = {it.name: it for it in OWN_RULES if it.name.startswith("log-")}
    with Analysis([path]) as analysis:
        report = run_rules(analysis, RuleBook(rules))

    assert {it.rule: it.message for it in report.findings} == {
        "log-cut": "14 bytes were cut off",
        "log-unclosed": "the hub before was killed, or its log failed",
    }


def test_what_several_rules_ask_is_computed_once(log: Analysis) -> None:
    first = log.computed("leaks")

    assert log.computed("leaks") is first
    assert first.to_pyarrow().equals(log.leaks().to_pyarrow())


def test_a_rule_tells_as_many_findings_as_are_asked_for(log: Analysis) -> None:
    told = run_rules(
        log, only(load_rules(plugins=[("p", plugin(rule()))], installed=False)), most=2
    )

    assert len(told.findings) == 2
    assert told.counts["mine"] > 2


# Plugins


def never(_: Analysis) -> Any:
    raise RuntimeError("broken")


def starts(log: Analysis) -> Any:
    return log.views.records.filter(log.views.records.begins)


def only(book: RuleBook) -> RuleBook:
    """A plugin's rule, and one of memhub's that is quick."""
    return RuleBook({name: book.rules[name] for name in ("mine", "log-cut")}, book.failures)


def rule(name: str = "mine", level: Any = "warning", find: Any = starts) -> Rule:
    return Rule(name, level, "a test", find, lambda row: f"record {row['event']}")


def plugin(*rules: Any) -> Any:
    made = SimpleNamespace()
    made.memhub_lint_rules = hookimpl(specname="memhub_lint_rules")(lambda: list(rules))

    return made


def test_a_plugin_adds_a_rule(log: Analysis) -> None:
    book = load_rules(plugins=[("p", plugin(rule()))], installed=False)
    report = run_rules(log, only(book))

    assert book.rules["mine"].source == "p"
    assert {it.message for it in report.findings} == {"record device.attach"}


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (plugin(rule("deadlock")), "rule 'deadlock' is there already"),
        (plugin(3), "returned 3, which is not a Rule"),
        (SimpleNamespace(), "it has no memhub_lint_rules hook"),
    ],
)
def test_a_broken_plugin_is_named_and_costs_the_others_nothing(broken: Any, says: str) -> None:
    book = load_rules(plugins=[("bad", broken), ("good", plugin(rule()))], installed=False)

    assert [it.plugin for it in book.failures] == ["bad"]
    assert says in str(book.failures[0])
    assert len(book.rules) == len(OWN_RULES) + 1


def test_a_rule_that_fails_is_named_and_costs_the_others_nothing(log: Analysis) -> None:
    book = load_rules(plugins=[("bad", plugin(rule(find=never)))], installed=False)
    report = run_rules(log, only(book))

    assert "RuntimeError: broken" in str(report.failures[0])
    assert report.counts == {"log-cut": 0}


@pytest.mark.parametrize(("name", "level"), [("Big", "info"), ("ok", "fatal")])
def test_a_rule_has_a_plain_name_and_a_level(name: str, level: str) -> None:
    with pytest.raises(ValueError, match=name if name == "Big" else "fatal"):
        rule(name, level)


# The command


def test_a_rule_that_failed_is_no_success(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = load_rules(plugins=[("bad", plugin(rule(find=never)))], installed=False)
    monkeypatch.setattr(lint, "load_rules", lambda: book)
    path = write_log(tmp_path / "a.jsonl", [attach(0, [EMPTY])])
    assert run("audit", "lint", path, "--rule", "table-full").code == 0
    done = run("audit", "lint", path)
    assert (done.code, "RuntimeError: broken" in done.err) == (2, True)


def test_exit_codes_for_ci(run: Run, tmp_path: Path) -> None:
    path = write_log(tmp_path / "a.jsonl", [attach(0, [EMPTY]), refused(1, "ENOSPC")])
    codes = {
        level: run("audit", "lint", path, "--rule", "table-full", "--fail-on", level).code
        for level in ("info", "warning", "error", "never")
    }

    assert codes == {"info": 1, "warning": 1, "error": 0, "never": 0}
    assert run("audit", "lint", path, "--rule", "deadlock").code == 0
    unknown = run("audit", "lint", path, "--rule", "nonsense")
    assert (unknown.code, "there are driver-failed" in unknown.err) == (2, True)


def test_the_report_as_json(run: Run, tmp_path: Path) -> None:
    path = write_log(tmp_path / "a.jsonl", [attach(0, [EMPTY]), refused(1, "EIO")])
    facts = json.loads(run("audit", "lint", path, "--json", "--rule", "driver-failed").out)

    assert facts == {
        "findings": [
            {
                "rule": "driver-failed", "level": "error", "machine": "pc", "seq": 3,
                "log": "hand", "message": "a: it is EIO",
            }
        ],
        "counts": {"driver-failed": 1}, "failures": [],
    }  # fmt: skip


def test_an_installed_plugin_is_found(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "rules", "x", "raise ValueError('no')\n", group="memhub.lint")
    monkeypatch.syspath_prepend(tmp_path)
    done = run("audit", "lint", "--rules", tmp_path / "no-log-is-read")

    assert done.code == 0
    assert "plugin 'x' of rules: does not import: ValueError: no" in done.err
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == [it.name for it in OWN_RULES]
    sys.modules.pop("loader_rules", None)
