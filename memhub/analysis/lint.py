"""Lint: rules that look through a log for what somebody should look into.

A rule is a question whose rows are findings. Other distributions add rules with a plugin::

    from memhub.analysis.lint import Rule, hookimpl

    @hookimpl
    def memhub_lint_rules():
        return [Rule("long-claim", "info", "a claim of an hour", find=..., say=...)]

and, in its pyproject.toml, `[project.entry-points."memhub.lint"]`. A plugin that does not work is
named and costs the other rules nothing.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import pluggy

from memhub.analysis.rule import LEVELS as LEVELS
from memhub.analysis.rule import Level as Level
from memhub.analysis.rule import Rule as Rule
from memhub.analysis.rules import OWN_RULES
from memhub.escape import say_error
from memhub.hook_values import refuse_value
from memhub.hooks import HookKind, PluginFailure, keep_single, load_hook

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memhub.analysis.analysis import Analysis

#: pluggy's project name, and the entry-point group.
GROUP: Final = "memhub.lint"

#: Marks the hook itself.
hookspec = pluggy.HookspecMarker(GROUP)
#: Marks the function that gives `memhub audit lint` the rules of a module.
hookimpl = pluggy.HookimplMarker(GROUP)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found.

    Attributes:
        rule: the rule's name.
        level: its level.
        machine: the machine, or None.
        seq: the record.
        log: identity of the log.
        message: what it is, in words.
    """

    rule: str
    level: Level
    machine: str | None
    seq: int | None
    log: str | None
    message: str


@dataclass(frozen=True, slots=True)
class LintReport:
    """What all rules found.

    Attributes:
        findings: in the order of the rules; of each rule as many as were asked for.
        counts: how many each rule found in all, by its name.
        failures: plugins and rules that did not work.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    failures: tuple[PluginFailure, ...]

    def reaches(self, level: Level, rules: Mapping[str, Rule]) -> bool:
        """Whether a rule of this level or a worse one found something."""
        least = LEVELS.index(level)

        return any(
            count and LEVELS.index(rules[name].level) >= least
            for name, count in self.counts.items()
        )


@hookspec
def memhub_lint_rules() -> Iterable[Rule]:  # type: ignore[empty-body]
    """Name the rules that a plugin adds.

    Returns:
        rules; a name may be taken by one plugin only.
    """


#: Lint rules: a module with the hook `memhub_lint_rules`.
LINT_HOOK: Final = HookKind("lint rules", GROUP, sys.modules[__name__], "memhub_lint_rules", Rule)


@dataclass(frozen=True, slots=True)
class RuleBook:
    """The rules by name, and the plugins that failed.

    Attributes:
        rules: memhub's own first.
        failures: what could not be loaded.
    """

    rules: Mapping[str, Rule]
    failures: tuple[PluginFailure, ...] = ()


def load_rules(*, plugins: Iterable[tuple[str, object]] = (), installed: bool = True) -> RuleBook:
    """The rules that memhub has and those of plugins.

    Args:
        plugins: more plugins, as `(name, module or object)`, for tests and embedders.
        installed: also load the entry points of the group `memhub.lint`.

    Returns:
        the rules; of two plugins that name one rule neither is used, since their order would be an
        accident.
    """
    loaded = load_hook(LINT_HOOK, plugins=plugins, installed=installed)
    found: dict[str, Rule] = {rule.name: rule for rule in OWN_RULES}
    kept = keep_single(
        (loaded,),
        "rule",
        own=tuple(found),
        refuse=lambda it: refuse_value(it, "find", "say"),
    )
    for name, rule in kept.values.items():
        found[name] = replace(rule, source=kept.givers[name].plugin)

    return RuleBook(found, kept.failures)


def run_rules(analysis: Analysis, book: RuleBook, *, most: int = 100) -> LintReport:
    """Look through a log.

    Args:
        analysis: the log.
        book: the rules.
        most: how many findings of each rule are told; the rest is counted.

    Returns:
        the findings; a rule of a plugin that fails is among the failures.
    """
    findings: list[Finding] = []
    counts: dict[str, int] = {}
    failures = [*book.failures]
    for rule in book.rules.values():
        try:
            table = rule.find(analysis)
            rows = table.limit(most).to_pyarrow().to_pylist()
            counts[rule.name] = len(rows) if len(rows) < most else _count(table)
            findings += [_finding(rule, row) for row in rows]
        except Exception as error:
            if not rule.source:
                raise

            reason = f"rule {rule.name}: {say_error(error)}"
            failures.append(PluginFailure(rule.source, "its rules", reason.split("\n")[0]))

    return LintReport(tuple(findings), counts, tuple(failures))


def _count(table: Any) -> int:  # noqa: ANN401 - an Ibis table
    (row,) = table.aggregate(rows=table.count()).to_pyarrow().to_pylist()

    return int(row["rows"])


def _finding(rule: Rule, row: Mapping[str, Any]) -> Finding:
    seq = row["seq"]

    return Finding(
        rule.name,
        rule.level,
        row["machine"],
        None if seq is None else int(seq),
        row["log"],
        rule.say(row),
    )
