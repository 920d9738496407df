"""The hooks. They are synchronous, and run at start-up only.

pluggy takes an un-awaited coroutine for a result, so an async hook would silently answer
nothing; the loader refuses one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.drivers.driver import Arch

#: pluggy's project name, and the entry-point group.
GROUP: Final = "memhub"

hookspec = pluggy.HookspecMarker(GROUP)
#: Marks the function that gives memhub the architectures of a module.
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def memhub_arches() -> Iterable[Arch]:  # type: ignore[empty-body]
    """Name the architectures that a plugin adds.

    Called once, when a registry is built.

    Returns:
        frozen Arch values; each name may be taken by one plugin only.
    """
