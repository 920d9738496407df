"""Find the fault kinds that are installed, and check the rules that use them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from memhub.core.faults.fault_options import is_added, take_options
from memhub.core.faults.fault_rules import OPERATION_WORDS
from memhub.core.spec_rules import suggest, type_name
from memhub.escape import say_error
from memhub.hook_values import refuse_value
from memhub.hooks import HookKind, PluginFailure, keep_single, load_hook
from memhub.plugin import faults
from memhub.plugin.faults import FaultKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memhub.core.faults.fault_rules import FaultRule

#: Fault kinds: a module with the hook `memhub_faults`.
FAULT_HOOK: Final = HookKind("fault kinds", faults.GROUP, faults, "memhub_faults", FaultKind)


@dataclass(frozen=True, slots=True)
class FaultBook:
    """The fault kinds by name, and the plugins that failed.

    Attributes:
        kinds: by name.
        failures: what could not be loaded.
    """

    kinds: Mapping[str, FaultKind]
    failures: tuple[PluginFailure, ...] = ()

    def kind_of(self, rule: FaultRule) -> tuple[FaultKind, Mapping[str, Any]]:
        """The kind of a rule whose action a plugin adds, and all its options.

        Raises:
            ValueError: the kind is not installed, or the rule does not fit it.
        """
        kind = self.kinds.get(rule.action)
        if kind is None:
            known = ", ".join(self.kinds) or "none"
            reason = f"action {rule.action!r:.80} is not installed (installed: {known})"
            raise ValueError(
                "; ".join([reason + suggest(rule.action, self.kinds), *map(str, self.failures)])
            )

        wrong = sorted(set(rule.op) - set(kind.operations))
        if kind.operations and (wrong or not rule.op):
            words = " and ".join(sorted(kind.operations))
            raise ValueError(f"action {kind.name} is for {words} only: the rule has to name which")

        return kind, {**kind.options, **_checked_options(rule, kind)}


def _checked_options(rule: FaultRule, kind: FaultKind) -> Mapping[str, Any]:
    for key, value in rule.options.items():
        if key not in kind.options:
            known = ", ".join(kind.options) or "none"
            hint = suggest(key, kind.options)
            raise ValueError(f"action {kind.name} has no option {key!r} (options: {known}){hint}")

        usual = kind.options[key]
        if type(value) is not type(usual):
            due = f"{type_name(usual)} is due, as {usual!r}"
            raise ValueError(f"option {key} of {kind.name} is {type_name(value)}, where {due}")

    return rule.options


def load_fault_kinds(
    *, plugins: Iterable[tuple[str, object]] = (), installed: bool = True
) -> FaultBook:
    """The fault kinds that are installed.

    Args:
        plugins: more plugins, as `(name, module or object)`, for tests and embedders.
        installed: also load the entry points of the group `memhub.faults`.

    Returns:
        the kinds; of two plugins that name one kind neither is used, since their order would be an
        accident.
    """
    loaded = load_hook(FAULT_HOOK, plugins=plugins, installed=installed)

    kept = keep_single((loaded,), "fault kind", refuse=_refuse_kind)
    sources = kept.sources()
    kinds = {
        name: replace(kind, source=sources[name]) for name, kind in sorted(kept.values.items())
    }

    return FaultBook(kinds, kept.failures)


def _refuse_kind(kind: FaultKind) -> str:
    if not is_added(str(kind.name)):
        reason = f"fault kind {kind.name!r:.80} is not words with dots between them"
        return f"ValueError: {reason}, as acme.flip"

    if reason := refuse_value(kind, "strike"):
        return reason

    words: object = kind.operations
    if isinstance(words, str) or not isinstance(words, Collection):
        return f"TypeError: operations of {kind.name} is {words!r:.80}, not several words"

    unknown = sorted(map(str, set(words) - set(OPERATION_WORDS)))
    if unknown:
        known = ", ".join(OPERATION_WORDS)
        return f"ValueError: operation {unknown[0]!r:.80} of {kind.name} is none of {known}"

    try:
        take_options(kind.options, kind.name)
    except (TypeError, ValueError) as error:
        return f"{say_error(error)} of {kind.name}"

    return ""
